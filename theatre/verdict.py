"""What must hold when the play is over: judged on what stands on the members' disks, when all of them are stopped."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bftnode.apps.execution import Executor
from bftnode.apps.registry import load_application
from bftnode.protocol.blocks import hash_header
from bftnode.protocol.errors import Refused
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.transactions import open_transaction
from bftnode.storage.directory import LMDB_NAME
from bftnode.storage.environment import opened_read_only
from bftnode.storage.log import LogReader
from bftnode.storage.verify import verify_log
from theatre.troupe import Failed


@dataclass(frozen=True, slots=True)
class Log:
    """One member's log. `blocks`: hashes by height; `entries`: ids of envelopes, in order; `executed`: those of them
    that were not rejected."""

    member: int
    blocks: tuple[bytes, ...]
    entries: tuple[bytes, ...]
    executed: tuple[bytes, ...] = ()


def read_log(member: int, data: Path, genesis: Genesis) -> Log:
    """Verified as `bftnode log verify` does, by execution too. Raises Failed."""
    membership = genesis.membership()
    executor = Executor(
        load_application(genesis.application), genesis.administrator_keys(), membership.parameters.clients_max
    )
    try:
        report = verify_log(data, membership, executor=executor)
    except Refused as refused:
        raise Failed(f"n{member}: its log cannot be verified: {refused}") from None
    if report.fault is not None:
        raise Failed(f"n{member}: its log does not verify: {report.fault.detail} (height {report.fault.height})")
    blocks, entries = [], []
    with opened_read_only(data / LMDB_NAME, lock=False) as (env, databases), env.begin() as txn:
        log = LogReader(txn, databases)
        for seq in range(report.height + 1):
            blocks.append(hash_header(log.header_raw(seq)))
            entries += [open_transaction(raw, membership.chain_id).id for raw in log.block(seq).transactions]
        placed = [(name, log.placed(name)) for name in dict.fromkeys(entries)]
    executed = tuple(name for name, place in placed if place is not None and not place.code)
    return Log(member, tuple(blocks), tuple(entries), executed)


def judge(logs: Iterable[Log], acknowledged: Iterable[bytes], *, equal: bool) -> None:
    """Agreement (`equal`: all at one height, too), and each acknowledged envelope once. Raises Failed."""
    found = sorted(logs, key=lambda log: len(log.blocks))
    longest = found[-1]
    for log in found:
        if log.blocks != longest.blocks[: len(log.blocks)]:
            raise Failed(f"agreement: n{log.member} and n{longest.member} have different logs")
        if equal and len(log.blocks) != len(longest.blocks):
            heights = ", ".join(f"n{one.member} {len(one.blocks) - 1}" for one in found)
            raise Failed(f"logs of different height: {heights}")
    times = Counter(longest.entries)
    for transaction in acknowledged:
        if times[transaction] != 1:
            raise Failed(f"acknowledged {transaction.hex()[:16]} is in the log {times[transaction]} times")


def judge_lies(logs: Iterable[Log], never: Iterable[bytes], rivals: Iterable[tuple[bytes, bytes]]) -> None:
    """What lying clients signed: nothing of `never`, and at most one of each pair of `rivals`. Raises Failed.

    What execution rejected stands in the log too: both envelopes of one nonce may be ordered, each in a block that is
    under way with the other's, and the second of them does nothing.
    """
    refused, pairs = tuple(never), tuple(rivals)
    for log in logs:
        executed = dict.fromkeys(log.executed)
        for transaction in refused:
            if transaction in executed:
                raise Failed(f"n{log.member} has executed {transaction.hex()[:16]}, which is a lie")
        for one, other in pairs:
            if one in executed and other in executed:
                raise Failed(f"n{log.member} has executed {one.hex()[:16]} and {other.hex()[:16]}, of one nonce")


def judge_accusations(
    accused: Iterable[tuple[int, int]],
    culpable: Iterable[int],
    expected: tuple[int, ...] | None,
    correct: Iterable[int],
) -> None:
    """What correct members say: (by, culprit). None but `culpable`, and exactly `expected` if asked. Raises Failed."""
    judges = dict.fromkeys(correct)
    culprits = sorted(dict.fromkeys(culprit for by, culprit in accused if by in judges))
    framed = [culprit for culprit in culprits if culprit not in dict.fromkeys(culpable)]
    if framed:
        raise Failed(f"framed: correct members {framed} are accused")
    if expected is not None and culprits != sorted(expected):
        raise Failed(f"accused are {culprits}, not {sorted(expected)}")
