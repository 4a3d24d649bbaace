"""status and why, from statuses as members would send them: what is missing, from whom, and who contradicts whom."""

import json
from pathlib import Path

import msgspec
import pytest

from bftnode.cli.errors import CommandFailed
from bftnode.cli.status import Statuses, contradictions, need_quorum, status_json
from bftnode.cli.why import explain
from bftnode.protocol.client_messages import BlockStatus, NodeStatus, PeerStatus, PendingStatus
from bftnode.protocol.genesis import Genesis, parse_genesis

GENESIS: Genesis = parse_genesis(
    (Path(__file__).parent.parent / "vectors" / "genesis.toml").read_text(encoding="utf-8")
)
NAMES = [member.name for member in GENESIS.members]
TRANSACTION = bytes(range(32))
HEAD = bytes(32)


def member(index: int, **changes: object) -> NodeStatus:
    """A member that is well, at height 9 of view 0, linked with all."""
    peers = tuple(PeerStatus(other, True, 0, 9) for other in range(4) if other != index)
    well = NodeStatus(index, "1", "ok", 0, True, 0, 9, 9, 9, 0, 20, HEAD, 0, None, (), peers)
    return msgspec.structs.replace(well, **changes)


def pending(index: int, **changes: object) -> NodeStatus:
    return member(index, pending=1, oldest=PendingStatus(TRANSACTION, 2500), **changes)


def voted(prepares: tuple[int, ...], commits: tuple[int, ...]) -> tuple[BlockStatus, ...]:
    return (BlockStatus(10, bytes(32), prepares, commits),)


def verdict(found: Statuses) -> str:
    return explain(GENESIS, found).verdict


def test_nothing_pending_is_no_trouble() -> None:
    """All is executed."""
    assert "nothing is pending" in verdict({i: member(i) for i in range(4)})


def test_without_a_quorum_that_is_the_reason() -> None:
    """Who cannot be reached, and why."""
    explanation = explain(GENESIS, {0: pending(0), 1: member(1), 2: "conn.unreachable", 3: "conn.deadline"})
    assert explanation.verdict == "no quorum: 2 of 4 members take part, 3 must"
    assert f"{NAMES[2]} cannot be reached: conn.unreachable" in explanation.facts
    assert explanation.facts[0] == f"transaction {TRANSACTION.hex()} waits for 2.5 s; pending at {NAMES[0]}"
    assert (explanation.oldest, explanation.oldest_age_ms) == (TRANSACTION.hex(), 2500)


@pytest.mark.parametrize("state", ["quarantined", "diverged", "disk_full"])
def test_members_that_do_not_take_part_do_not_count(state: str) -> None:
    """They answer, but they do not vote."""
    found: Statuses = {0: pending(0), 1: pending(1), 2: member(2, state=state), 3: "gone"}
    assert verdict(found).startswith("no quorum: 2 of 4")
    assert f"{NAMES[2]} does not take part: {state}" in explain(GENESIS, found).facts
    with pytest.raises(CommandFailed) as caught:
        need_quorum(GENESIS, found)
    assert caught.value.complaint.exit_code == 3


def test_a_view_change_under_way() -> None:
    """Who is where."""
    waiting = [pending(i, view=3, active=False) for i in (1, 2)]
    explanation = explain(GENESIS, {0: pending(0), 1: waiting[0], 2: waiting[1], 3: pending(3, view=2)})
    assert explanation.verdict.startswith("a view change is under way: 1 of 4")
    assert f"view 3, waiting for its NEW-VIEW: {NAMES[1]}, {NAMES[2]}" in explanation.facts


def test_a_silent_primary() -> None:
    """Pending, and no block in flight: the primary of the common view has proposed none."""
    found: Statuses = {0: "conn.unreachable", **{i: pending(i) for i in (1, 2, 3)}}
    assert f"{NAMES[0]} is the primary of view 0 and has proposed no block; it does not answer us" in verdict(found)


def test_missing_prepares() -> None:
    """What anybody holds counts as cast."""
    found = {i: pending(i, in_flight=voted((0, i), ())) for i in (0, 1, 2)} | {3: pending(3)}
    assert "about to commit" not in verdict({**found, 2: pending(2)})
    assert verdict({**found, 2: pending(2)}) == (
        f"block 10 has 2 of 3 PREPAREs in view 0; missing are those of {NAMES[2]}, {NAMES[3]}"
    )


def test_missing_commits() -> None:
    """Prepared, so COMMITs are what it waits for."""
    found = {i: pending(i, in_flight=voted((0, 1, 2), (1,))) for i in range(3)} | {3: pending(3)}
    assert verdict(found) == (
        f"block 10 has 1 of 3 COMMITs in view 0; missing are those of {NAMES[0]}, {NAMES[2]}, {NAMES[3]}"
    )


def test_enough_votes_are_about_to_commit() -> None:
    """A moment of the normal case."""
    found = {i: pending(i, in_flight=voted((0, 1, 2), (0, 1, 2))) for i in range(4)}
    assert verdict(found) == "block 10 has its votes and is about to commit"


def test_lost_links_are_named() -> None:
    """Between members that both answer us."""
    peers = (PeerStatus(0, True, 0, 9), PeerStatus(2, False, 0, 9), PeerStatus(3, True, 0, 9))
    facts = explain(GENESIS, {0: member(0), 1: member(1, peers=peers), 2: member(2), 3: "gone"}).facts
    assert f"{NAMES[1]} has no link to {NAMES[2]}" in facts


def test_a_lying_member_breaks_nothing() -> None:
    """Statuses are one member's word: numbers that fit nobody are no crash."""
    huge = 2**63 - 1
    block = BlockStatus(huge, bytes(32), (200, 255), (200, 255))
    peers = (PeerStatus(255, False, huge, huge),)
    liar = pending(3, view=huge, committed=huge, primary=255, in_flight=(block,), peers=peers)
    found = {i: pending(i) for i in range(3)} | {3: liar}
    assert explain(GENESIS, found).verdict
    assert status_json(GENESIS, 3, liar)["primary"] == 255


def test_heads_that_differ_at_one_height_are_said() -> None:
    """Different heights are no contradiction."""
    found: Statuses = {
        0: member(0),
        1: member(1, head=b"\x01" * 32),
        2: member(2, executed=8, head=b"\x02" * 32),
        3: "x",
    }
    assert contradictions(GENESIS, found) == [f"at height 9 {NAMES[0]} and {NAMES[1]} name different blocks"]
    assert contradictions(GENESIS, {i: member(i) for i in range(4)}) == []


def test_status_as_json_is_stable() -> None:
    """Field names are the message's; bytes are digits; the unreachable have a reason."""
    fields = status_json(GENESIS, 1, pending(1, in_flight=voted((0,), ())))
    assert json.loads(json.dumps(fields)) == fields
    assert {"member", "name", "address", "reachable", *NodeStatus.__struct_fields__} == set(fields)
    assert fields["oldest"] == {"transaction": TRANSACTION.hex(), "age_ms": 2500}
    assert fields["in_flight"] == [{"seq": 10, "block": "00" * 32, "prepares": [0], "commits": []}]
    assert fields["peers"][0] == {"member": 0, "connected": True, "view": 0, "committed": 9}
    assert status_json(GENESIS, 2, "gone") == {
        "member": 2, "name": NAMES[2], "address": GENESIS.members[2].client_address, "reachable": False,
        "reason": "gone",
    }  # fmt: skip
