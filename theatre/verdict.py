"""What must hold when the play is over: judged on what stands on the members' disks, when all of them are stopped."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bftnode.apps.execution import Executor
from bftnode.apps.registry import load_application
from bftnode.protocol.blocks import hash_header
from bftnode.protocol.codec import decode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Refused
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.limits import BODY_BYTES_MAX
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Accusation
from bftnode.protocol.transactions import open_transaction
from bftnode.storage.directory import LMDB_NAME
from bftnode.storage.environment import opened_read_only
from bftnode.storage.log import LogReader
from bftnode.storage.records import items
from bftnode.storage.verify import verify_log
from theatre.troupe import Failed


@dataclass(frozen=True, slots=True)
class Log:
    """One member's log. `blocks`: hashes by height; `entries`: ids of envelopes, in order; `executed`: those of them
    that were not rejected; `accused`: of whom it keeps a proof that holds."""

    member: int
    blocks: tuple[bytes, ...]
    entries: tuple[bytes, ...]
    executed: tuple[bytes, ...] = ()
    accused: tuple[int, ...] = ()


def read_log(member: int, data: Path, genesis: Genesis) -> Log:
    """Verified as `bftnode log verify` does, by execution too, its accusations as by a stranger. Raises Failed."""
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
        kept = [raw for name, raw in items(txn, databases.journal) if name.startswith(b"evidence.")]
    executed = tuple(name for name, place in placed if place is not None and not place.code)
    accused = tuple(convict(member, raw, membership) for raw in kept)
    return Log(member, tuple(blocks), tuple(entries), executed, accused)


def convict(member: int, raw: bytes, membership: Membership) -> int:
    """Whom the accusation that `member` keeps proves guilty. Raises Failed."""
    try:
        culprit, _ = check_accusation(decode(raw, Accusation, BODY_BYTES_MAX), membership, verify)
    except Refused as refused:
        raise Failed(f"n{member} keeps an accusation that does not hold: {refused}") from None
    return culprit


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
    logs: Iterable[Log],
    culpable: Iterable[int],
    expected: tuple[int, ...] | None,
) -> None:
    """Whom correct members have proved guilty: none but `culpable`, and exactly `expected` if asked. Raises Failed."""
    culprits = sorted(dict.fromkeys(culprit for log in logs for culprit in log.accused))
    framed = [culprit for culprit in culprits if culprit not in dict.fromkeys(culpable)]
    if framed:
        raise Failed(f"framed: correct members {framed} are accused")
    if expected is not None and culprits != sorted(expected):
        raise Failed(f"accused are {culprits}, not {sorted(expected)}")
