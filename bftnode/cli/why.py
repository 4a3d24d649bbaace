"""`why`: what keeps the oldest transaction from committing, from what all members say about themselves.

A block commits with a quorum of COMMITs in one view; those need a quorum of PREPAREs there; those need an active
primary's proposal. So the answer is the first of these that is missing, and who it is missing from
(docs/protocol.md, "Normal case").
"""

from dataclasses import dataclass

import click

from bftnode.cli.cluster import Access, access_options
from bftnode.cli.options import example
from bftnode.cli.output import print_json, print_line
from bftnode.cli.status import STATUS_TIMEOUT_S, Statuses, need_quorum
from bftnode.protocol.client_messages import BlockStatus, NodeStatus
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.quorums import primary_of


@dataclass(frozen=True, slots=True)
class Explanation:
    """`verdict` is the first thing that is missing; `facts` are what it rests on, most important first."""

    verdict: str
    facts: list[str]
    oldest: str | None  # transaction id
    oldest_age_ms: int | None


@click.command(epilog=example("bftnode why --home demo/client"))
@access_options
def why(access: Access, as_json: bool) -> None:
    """Say why the oldest transaction has not committed.

    Which votes are missing, who is in which view, who cannot be reached. Exit code 3 without a quorum.
    """
    genesis = access.genesis()
    found = access.run(lambda client: client.status_all(min(STATUS_TIMEOUT_S, access.timeout_s)))
    explanation = explain(genesis, found)
    if as_json:
        print_json(
            {
                "verdict": explanation.verdict,
                "facts": explanation.facts,
                "oldest": explanation.oldest,
                "oldest_age_ms": explanation.oldest_age_ms,
            }
        )
    else:
        print_line(explanation.verdict)
        for fact in explanation.facts:
            print_line(f"  {fact}")
    need_quorum(genesis, found)


def explain(genesis: Genesis, found: Statuses) -> Explanation:
    """Pure: the statuses in, the reason out."""
    n, quorum = len(genesis.members), genesis.membership().quorum
    answers = {member: answer for member, answer in sorted(found.items()) if isinstance(answer, NodeStatus)}
    facts = [
        f"{_name(genesis, member)} cannot be reached: {answer}"
        for member, answer in sorted(found.items())
        if isinstance(answer, str)
    ]
    troubled = [member for member, answer in answers.items() if answer.state != "ok"]
    facts += [f"{_name(genesis, member)} does not take part: {answers[member].state}" for member in troubled]
    facts += _links(genesis, answers)
    taking_part = {member: answer for member, answer in answers.items() if member not in troubled}
    waiting = [(answer.oldest.age_ms, answer.oldest.transaction.hex()) for answer in answers.values() if answer.oldest]
    age_ms, oldest = max(waiting) if waiting else (None, None)
    if oldest is not None:
        holders = [member for member, answer in answers.items() if answer.pending]
        facts.insert(
            0, f"transaction {oldest} waits for {(age_ms or 0) / 1000:.1f} s; pending at {_names(genesis, holders)}"
        )
    verdict, reasons = _verdict(genesis, taking_part, n, quorum, oldest is not None)
    return Explanation(verdict, [*reasons, *facts], oldest, age_ms)


def _verdict(
    genesis: Genesis, taking_part: dict[int, NodeStatus], n: int, quorum: int, pending: bool
) -> tuple[str, list[str]]:
    if len(taking_part) < quorum:
        return f"no quorum: {len(taking_part)} of {n} members take part, {quorum} must", []
    views = {member: answer.view for member, answer in taking_part.items() if answer.active}
    view, active = _largest_group(views)
    by_view = _views(genesis, taking_part)
    if len(active) < quorum:
        verdict = f"a view change is under way: {len(active)} of {n} members are active in one view, {quorum} must"
        return verdict if pending else f"{verdict}; nothing is pending", by_view
    blocks = _blocks(taking_part, active)
    if not blocks:
        if not pending:
            return "nothing is pending: every transaction that the members know is executed", []
        primary = primary_of(view, n)
        reason = f"{_name(genesis, primary)} is the primary of view {view} and has proposed no block"
        if primary not in taking_part:
            reason += "; it does not answer us"
        return f"{reason}; without progress the others change the view", by_view
    seq, votes = next(iter(sorted(blocks.items())))
    prepares = sorted({member for block in votes for member in block.prepares})
    commits = sorted({member for block in votes for member in block.commits})
    phase, cast = ("COMMIT", commits) if len(prepares) >= quorum else ("PREPARE", prepares)
    missing = [member for member in range(n) if member not in cast]
    if len(cast) >= quorum:
        return f"block {seq} has its votes and is about to commit", by_view
    lacking = _names(genesis, missing)
    return f"block {seq} has {len(cast)} of {quorum} {phase}s in view {view}; missing are those of {lacking}", by_view


def _blocks(taking_part: dict[int, NodeStatus], active: list[int]) -> dict[int, list[BlockStatus]]:
    """Blocks in flight in the common view that nobody has committed: height -> what each member holds of it."""
    committed = max(taking_part[member].committed for member in active)
    blocks: dict[int, list[BlockStatus]] = {}
    for member in active:
        for block in taking_part[member].in_flight:
            if block.seq > committed:
                blocks.setdefault(block.seq, []).append(block)
    return blocks


def _largest_group(views: dict[int, int]) -> tuple[int, list[int]]:
    """The view in which most members are, the higher one among equals, and who they are."""
    groups: dict[int, list[int]] = {}
    for member, view in views.items():
        groups.setdefault(view, []).append(member)
    return max(groups.items(), key=lambda item: (len(item[1]), item[0]), default=(0, []))


def _views(genesis: Genesis, taking_part: dict[int, NodeStatus]) -> list[str]:
    """Who is where. One line where all are together."""
    places: dict[tuple[int, bool], list[int]] = {}
    for member, answer in taking_part.items():
        places.setdefault((answer.view, answer.active), []).append(member)
    return [
        f"view {view}, {'active' if active else 'waiting for its NEW-VIEW'}: {_names(genesis, members)}"
        for (view, active), members in sorted(places.items())
    ]


def _links(genesis: Genesis, answers: dict[int, NodeStatus]) -> list[str]:
    """Members that have lost each other, as either side says."""
    lost = []
    for member, answer in answers.items():
        gone = [peer.member for peer in answer.peers if not peer.connected and peer.member in answers]
        if gone:
            lost.append(f"{_name(genesis, member)} has no link to {_names(genesis, gone)}")
    return lost


def _name(genesis: Genesis, member: int) -> str:
    return genesis.members[member].name if member < len(genesis.members) else f"member {member}"


def _names(genesis: Genesis, members: list[int]) -> str:
    return ", ".join(_name(genesis, member) for member in members) or "nobody"
