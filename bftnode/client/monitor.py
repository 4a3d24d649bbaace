"""The monitor: follows a cluster's log from the outside and raises an alarm when it is not the log that it was.

It believes members' words on nothing: each checkpoint is verified against the policy, proved to extend the member's
last one, and compared with what the other members show; old entries are read again and proved against it. What it has
verified it remembers across its lives (growth.py). docs/receipts.md, "The monitor", says what each alarm means.
"""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

import trio

from bftnode.client.growth import Growth, SignedCheckpoint
from bftnode.protocol.client_messages import Entry
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion


class AlarmKind(StrEnum):
    FORK = "fork"  # two checkpoints, each cosigned by a quorum, of which neither extends the other
    REWRITE = "rewrite"  # one member's log is not the one whose checkpoints it shows
    INVALID = "invalid"  # a member shows a checkpoint that the policy does not call valid
    STALE = "stale"  # a member's newest checkpoint is behind the others', or the members' behind their log, for long


class Alarm(NamedTuple):
    """`member` is None where it is about the cluster. `notes` are the checkpoints that show it, for keeping."""

    kind: AlarmKind
    member: int | None
    detail: str
    notes: tuple[bytes, ...] = ()


class Members(Protocol):
    """What the monitor asks of members, one at a time. All raise Refused; NOT_READY: it is not there now."""

    async def checkpoint_of(self, member: int, size: int | None, wait_s: float) -> bytes: ...

    async def consistency_of(self, member: int, old: int, new: int) -> tuple[bytes, ...]: ...

    async def entry_of(self, member: int, index: int, size: int) -> tuple[Entry, tuple[bytes, ...]]: ...

    async def log_size_of(self, member: int) -> int: ...


class _At(NamedTuple):
    """Where a member's log was proved to be last."""

    size: int
    root: bytes
    note: bytes


class Monitor:
    """`run` it once. Every alarm goes to `alarm`; `saw` is told each checkpoint that was verified, and of whom."""

    def __init__(
        self,
        members: Members,
        following: Sequence[int],
        growth: Growth,
        alarm: Callable[[Alarm], Awaitable[None]],
        saw: Callable[[int, SignedCheckpoint], None],
        *,
        stale_s: float,
        wait_s: float = 1.0,
        audit: int = 10,
    ) -> None:
        self._members = members
        self._following = list(following)
        self._growth = growth
        self._alarm = alarm
        self._saw = saw
        self._stale_s = stale_s
        self._wait_s = wait_s
        self._audit = audit
        known = growth.largest
        start = (
            _At(0, EMPTY_ROOT, b"") if known is None else _At(known.checkpoint.size, known.checkpoint.root, known.note)
        )
        self._at = dict.fromkeys(following, start)
        self._next_entry = dict.fromkeys(following, 0)
        # Since when a member (None: the checkpoints of all, behind the log) stands still at this size.
        self._still: dict[int | None, tuple[int, float]] = {}
        self._told: set[tuple[AlarmKind, int | None]] = set()  # of what lasts: said once until it ends

    async def run(self) -> None:
        """For ever, all members at once."""
        async with trio.open_nursery() as nursery:
            for member in self._following:
                nursery.start_soon(self._follow, member)
            nursery.start_soon(self._watch)

    async def once(self) -> int:
        """Every member's checkpoints up to its newest, and `audit` entries; how many members answered."""
        answered = 0
        for member in self._following:
            while await self._step(member, 0.0):
                pass
            answered += await self._audit_entries(member)
        return answered

    async def _follow(self, member: int) -> None:
        """One member: each new checkpoint as it comes; in between, old entries."""
        audited = -self._wait_s
        while True:
            began = trio.current_time()
            moved = await self._step(member, self._wait_s)
            if trio.current_time() - audited >= self._wait_s:
                audited = trio.current_time()
                await self._audit_entries(member)
            if not moved:
                await trio.sleep(max(0.0, began + self._wait_s - trio.current_time()))

    async def _step(self, member: int, wait_s: float) -> bool:
        """The member's next checkpoint, verified; False: there is none now."""
        at = self._at[member]
        try:
            note = await self._members.checkpoint_of(member, at.size + 1, wait_s)
        except Refused:
            return False  # none yet, or the member is not there: `_watch` tells when that lasts
        try:
            signed = self._growth.open(note)
            if signed.checkpoint.size <= at.size:
                raise Refused(Reason.UNEXPECTED, "the checkpoint is older than the one that was asked for")
        except Refused as refused:
            await self._say(Alarm(AlarmKind.INVALID, member, refused.detail, (note,)))
            return False
        size, root = signed.checkpoint.size, signed.checkpoint.root
        try:
            path = await self._members.consistency_of(member, at.size, size)
        except Refused as refused:
            if refused.reason is not Reason.NOT_FOUND:
                return False
            path = ()
        if not verify_consistency(at.size, size, at.root, root, path):
            detail = f"it cannot prove that its log of {size} entries extends the one of {at.size}"
            await self._say(Alarm(AlarmKind.REWRITE, member, detail, (at.note, note)))
            # Whether the checkpoint is of the log that the others have is looked at all the same.
        if await self._compare(member, signed):
            self._at[member] = _At(size, root, note)
            self._saw(member, signed)
            return True
        return False

    async def _compare(self, member: int, signed: SignedCheckpoint) -> bool:
        """The checkpoint is of the one log of all that was verified so far, as any one member can prove."""
        known = self._growth.largest
        size, root = signed.checkpoint.size, signed.checkpoint.root
        try:
            sizes = self._growth.needs_proof(size, root)
            if sizes is not None and not await self._proved(member, signed, sizes):
                return False
        except Refused as refused:
            notes = (signed.note,) if known is None else (known.note, signed.note)
            await self._say(Alarm(AlarmKind.FORK, None, refused.detail, notes))
            return False
        self._growth.remember(signed)
        return True

    async def _proved(self, member: int, signed: SignedCheckpoint, sizes: tuple[int, int]) -> bool:
        """False: nobody was there to prove it. Raises Refused(INTEGRITY) where those who were cannot."""
        failed: Refused | None = None
        for one in (member, *(other for other in self._following if other != member)):
            try:
                path = await self._members.consistency_of(one, *sizes)
                # The largest may have grown meanwhile; the proof is between the sizes that were asked for.
                if self._growth.needs_proof(signed.checkpoint.size, signed.checkpoint.root) != sizes:
                    return False
                self._growth.check(signed.checkpoint.size, signed.checkpoint.root, path)
            except Refused as refused:
                if refused.reason is Reason.INTEGRITY:
                    failed = refused
            else:
                return True
        if failed is not None:
            raise failed
        return False

    async def _audit_entries(self, member: int) -> bool:
        """Some old entries, in order and round the log again and again: what they were cannot change."""
        at = self._at[member]
        if not at.size:
            return False
        for _ in range(min(self._audit, at.size)):
            index = self._next_entry[member] % at.size
            try:
                entry, path = await self._members.entry_of(member, index, at.size)
            except Refused as refused:
                if refused.reason is not Reason.NOT_FOUND:
                    return False
                detail = f"it does not show entry {index} of its log of {at.size}"
                await self._say(Alarm(AlarmKind.REWRITE, member, detail, (at.note,)))
                return True
            if entry.index != index or not verify_inclusion(leaf_hash(entry.envelope), index, at.size, path, at.root):
                # Which entry was changed this does not say: where the tree was mended after it, none is proved.
                what = f"entry {index}, as it shows it"
                detail = f"it cannot prove {what}, in the log of {at.size} entries that a quorum cosigned"
                await self._say(Alarm(AlarmKind.REWRITE, member, detail, (at.note,)))
            self._next_entry[member] = index + 1
        return True

    # Stale views

    async def _watch(self) -> None:
        while True:
            await trio.sleep(self._wait_s)
            sizes = {member: at.size for member, at in self._at.items()}
            newest = max(sizes.values())
            for member, size in sizes.items():
                detail = f"its newest checkpoint of {size} entries is behind the others' of {newest}"
                await self._behind(member, size, size < newest, detail)
            log_size = await self._log_size()
            detail = f"the log has {log_size} entries, its newest checkpoint is of {newest}"
            await self._behind(None, newest, log_size > newest, detail)

    async def _log_size(self) -> int:
        """What at least one correct member's log has: the (f+1)-th largest claim, or the smallest of fewer."""
        sizes: list[int] = []
        for member in self._following:
            try:
                sizes.append(await self._members.log_size_of(member))
            except Refused:
                continue
        some_correct = (len(self._at) - 1) // 3 + 1
        return sorted(sizes, reverse=True)[min(some_correct, len(sizes)) - 1] if sizes else 0

    async def _behind(self, member: int | None, size: int, behind: bool, detail: str) -> None:
        """Alarm when it lasts at one size, and again only after it ended."""
        now = trio.current_time()
        if not behind or self._still.get(member, (size, now))[0] != size:
            self._still.pop(member, None)
            self._told.discard((AlarmKind.STALE, member))
        if behind and now - self._still.setdefault(member, (size, now))[1] > self._stale_s:
            await self._say(Alarm(AlarmKind.STALE, member, f"{detail}, since more than {self._stale_s:g} s"))

    async def _say(self, alarm: Alarm) -> None:
        """Once a kind and member: a rewritten log fails every proof from then on, and nobody mends it unseen."""
        if (alarm.kind, alarm.member) not in self._told:
            self._told.add((alarm.kind, alarm.member))
            await self._alarm(alarm)
