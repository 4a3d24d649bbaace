"""Reading without trusting: how many members must say the same before it is believed, for each kind of read.

What is proven by itself (an entry with its receipt) is taken from any member; what is not is compared.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar

import trio

from bftnode.client.growth import Growth, SignedCheckpoint
from bftnode.client.link import Link
from bftnode.client.options import Options
from bftnode.client.session import Session
from bftnode.protocol import client_messages as cm
from bftnode.protocol import ed25519
from bftnode.protocol.blocks import open_header
from bftnode.protocol.commitments import commitment_of
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import leaf_hash
from bftnode.protocol.receipts import Receipt, check_receipt
from bftnode.protocol.tlog.proofs import Proof, check_included, write_proof

Answer = TypeVar("Answer")
T = TypeVar("T")

COSIGNED_AGAIN_S = 3.0
"""Members that were all killed at once sign their head again half a second after they start: for so long a log without
the checkpoint that a client remembers is not called another one."""

_PASSING = frozenset((Reason.NOT_READY, Reason.BUSY, Reason.CONN_LOST))
"""A member that refuses a read for one of these may answer it later."""


class QueryAnswer(NamedTuple):
    """`value` is the application's answer in the state of a block: see `Reads.matching` on which."""

    height: int
    value: bytes


class ProvenEntry(NamedTuple):
    """An entry of the log with the proof that it is one; the receipt was checked."""

    entry: cm.Entry
    receipt: Receipt


class LogPage(NamedTuple):
    """Consecutive entries that f+1 members sent alike, and the size that a correct member's log has at least."""

    log_size: int
    entries: tuple[cm.Entry, ...]


class Reads:
    """Questions to members over their links."""

    def __init__(self, links: Sequence[Link], session: Session, options: Options, growth: Growth) -> None:
        self._links = links
        self.growth = growth
        self._session = session
        self._options = options
        self._members = session.members

    def connected(self) -> list[Link]:
        return [link for link in self._links if link.connected]

    async def local(self, query: bytes, member: int | None) -> QueryAnswer:
        """One member's word. Raises Refused."""
        links = self.connected()
        if member is not None:
            links = [self._links[member]]
        if not links:
            raise Refused(Reason.NOT_READY, "no member is connected")
        answer = await self._ask(links[0], lambda number: cm.Query(number, 0, 0, query), cm.QueryValue)
        return QueryAnswer(answer.height, answer.value)

    async def matching(self, query: bytes, min_height: int, need: int) -> QueryAnswer:
        """A value that `need` members (f+1 or more) sent alike, each from a state of at least `min_height`.

        One of them is correct, so the value is the answer of a state that a correct member had reached while we
        asked. Members' heights differ while the log moves, so values are compared and heights only bounded; where
        values differ too, members are asked again for a height just ahead, at which all of them can answer. The
        height returned is one that a correct member had reached: the (f+1)-th highest among those who agree, so that
        a later read from that height on never sees an older state. Raises Refused(NOT_READY) when they do not agree
        in `read_rounds` rounds, or what f+1 of them refuse it for.
        """
        for _ in range(self._options.read_rounds):
            asked = await self._round(query, min_height, need)
            if isinstance(asked, QueryAnswer):
                return asked
            min_height = max(min_height, asked)
        raise Refused(Reason.NOT_READY, f"no {need} members gave the same answer")

    async def _round(self, query: bytes, min_height: int, need: int) -> QueryAnswer | int:
        """The value that enough members agree on, or the height from which to ask next."""
        f, some_correct = self._members.f, self._members.some_correct
        heights: dict[bytes, list[int]] = {}
        refusals: dict[Reason, int] = {}
        found: list[QueryAnswer] = []
        wait_ms = int(self._options.read_wait_s * 500)  # half of it for the height, half for the way

        async def ask(link: Link, scope: trio.CancelScope) -> None:
            try:
                answer = await self._ask(
                    link, lambda number: cm.Query(number, min_height, wait_ms, query), cm.QueryValue
                )
            except Refused as refused:
                refusals[refused.reason] = refusals.get(refused.reason, 0) + 1
                if refused.reason not in _PASSING and refusals[refused.reason] >= some_correct:
                    scope.cancel()
                return
            if answer.height < min_height:
                return  # not what was asked for: as good as silence
            same = heights.setdefault(answer.value, [])
            same.append(answer.height)
            if len(same) >= need and not found:
                found.append(QueryAnswer(sorted(same, reverse=True)[f], answer.value))
                scope.cancel()

        with trio.move_on_after(self._options.read_wait_s):
            async with trio.open_nursery() as nursery:
                for link in self.connected():
                    nursery.start_soon(ask, link, nursery.cancel_scope)
        if found:
            # Reached by a correct member, and not claimed by liars alone.
            self._session.floor = max(self._session.floor, found[0].height)
            return found[0]
        for reason, count in refusals.items():
            if reason not in _PASSING and count >= some_correct:
                raise Refused(reason, f"{count} members refuse the query")
        if not heights:
            await trio.sleep(self._options.read_wait_s / 10)  # nobody there, or nobody ready
            return min_height
        # A liar names any height; what some correct member claims at least is the (f+1)-th highest.
        claimed = sorted((height for same in heights.values() for height in same), reverse=True)
        return claimed[f] + 1 if len(claimed) > f else min_height

    async def entries(self, first: int, limit: int) -> LogPage:
        """Raises Refused(NOT_READY) when fewer than f+1 members agree on the first entry there is."""
        pages: list[cm.Entries] = []
        need = self._members.some_correct
        links = self.connected()

        async def ask(link: Link) -> None:
            try:
                pages.append(await self._ask(link, lambda number: cm.GetEntries(number, first, limit), cm.Entries))
            except Refused:
                return

        # f+1 members first; the others only if those do not agree.
        for asked in (links[:need], links[need:]):
            with trio.move_on_after(self._options.read_wait_s * 5):
                async with trio.open_nursery() as nursery:
                    for link in asked:
                        nursery.start_soon(ask, link)
            page = _agreed(pages, first, need)
            if page is not None and (page.entries or page.log_size <= first):
                return page
        raise Refused(Reason.NOT_READY, f"fewer than {need} members agree on the log from {first} on")

    async def receipt(self, log_index: int) -> ProvenEntry:
        """From the first member whose proof holds, in a log that extends, or is extended by, what was verified before.

        Raises Refused(NOT_FOUND | NOT_READY | INTEGRITY).
        """

        async def work(link: Link) -> ProvenEntry:
            entry = await self._entry(link, log_index)
            answer = await self._ask(link, lambda number: cm.GetReceipt(number, log_index), cm.ReceiptValue)
            if answer.receipt.index != log_index:
                raise Refused(Reason.NOT_FOUND, f"no entry {log_index}")
            check_receipt(answer.receipt, entry.envelope, self._members, ed25519.verify)
            header = open_header(answer.receipt.header)
            await self._grown(header.log_size, header.log_root)
            return ProvenEntry(entry, answer.receipt)

        return await self._first(work)

    async def checkpoint(self, size: int | None, wait_s: float) -> SignedCheckpoint:
        """The smallest cosigned checkpoint of at least `size` entries, or the largest, of the first member whose holds.

        It is remembered if it is the largest so far. Raises Refused(NOT_FOUND | NOT_READY | INTEGRITY | NOTE_*).
        """
        return await self._first(lambda link: self._checkpoint(link, size, wait_s), wait_s)

    async def standard_receipt(self, log_index: int, wait_s: float) -> bytes:
        """A .tlog-proof with the entry in it, once a checkpoint covers it. Raises as `checkpoint`."""

        async def work(link: Link) -> bytes:
            signed = await self._checkpoint(link, log_index + 1, wait_s)
            entry = await self._entry(link, log_index)
            size = signed.checkpoint.size
            answer = await self._ask(link, lambda number: cm.GetInclusion(number, log_index, size), cm.ProofValue)
            proof = Proof(log_index, answer.path, signed.note, entry.envelope)
            check_included(proof, leaf_hash(entry.envelope), signed.checkpoint)
            return write_proof(proof)

        return await self._first(work, wait_s)

    async def _checkpoint(self, link: Link, size: int | None, wait_s: float) -> SignedCheckpoint:
        wait_ms = min(int(wait_s * 1000), cm.QUERY_WAIT_MS_MAX)
        answer = await self._ask(link, lambda number: cm.GetCheckpoint(number, size, wait_ms), cm.CheckpointValue)
        signed = self.growth.open(answer.note)
        if size is not None and signed.checkpoint.size < size:
            raise Refused(
                Reason.NOT_FOUND, f"a checkpoint of {signed.checkpoint.size} entries where {size} were asked for"
            )
        await self._grown(signed.checkpoint.size, signed.checkpoint.root)
        self.growth.remember(signed)
        return signed

    async def checkpoint_of(self, member: int, size: int | None, wait_s: float) -> bytes:
        wait_ms = min(int(wait_s * 1000), cm.QUERY_WAIT_MS_MAX)
        with self._patience(wait_s):
            answer = await self._ask(
                self._links[member], lambda number: cm.GetCheckpoint(number, size, wait_ms), cm.CheckpointValue
            )
        return answer.note

    async def consistency_of(self, member: int, old: int, new: int) -> tuple[bytes, ...]:
        with self._patience():
            link = self._links[member]
            return (await self._ask(link, lambda number: cm.GetConsistency(number, old, new), cm.ProofValue)).path

    async def entry_of(self, member: int, index: int, size: int) -> tuple[cm.Entry, tuple[bytes, ...]]:
        with self._patience():
            link = self._links[member]
            entry = await self._entry(link, index)
            return entry, (
                await self._ask(link, lambda number: cm.GetInclusion(number, index, size), cm.ProofValue)
            ).path

    async def log_size_of(self, member: int) -> int:
        with self._patience():
            return (await self._ask(self._links[member], cm.GetStatus, cm.StatusValue)).status.log_size

    @contextmanager
    def _patience(self, wait_s: float = 0.0) -> Iterator[None]:
        """Raises Refused(NOT_READY) for a member that does not answer in time."""
        try:
            with trio.fail_after(self._options.read_wait_s + wait_s):
                yield
        except trio.TooSlowError:
            raise Refused(Reason.NOT_READY, "the member does not answer in time") from None

    async def _grown(self, size: int, root: bytes) -> None:
        """A head that a quorum signed is of the log that was verified before: any one member can prove it.

        Raises Refused(INTEGRITY) where none does.
        """
        sizes = self.growth.needs_proof(size, root)
        if sizes is None:
            return

        async def work(link: Link) -> None:
            answer = await self._ask(link, lambda number: cm.GetConsistency(number, *sizes), cm.ProofValue)
            self.growth.check(size, root, answer.path)

        refusals: list[Refused] = []
        try:
            await self._first(work, refusals=refusals)
        except Refused as refused:
            detail = f"the log that is shown ({size} entries) is not proved to be the one that was verified before"
            raise self._verdict(refusals, f"{detail}: {refused.detail}") from None

    def _verdict(self, refusals: Sequence[Refused], detail: str) -> Refused:
        """INTEGRITY where what members cannot show is not there: a correct one is among f+1 whose proofs fail, and of a
        quorum that cosigned, one is among any quorum that has nothing to show. Else they may only be slow."""
        failed = sum(refused.reason is Reason.INTEGRITY for refused in refusals)
        lacking = sum(refused.reason not in _PASSING for refused in refusals)
        if failed >= self._members.some_correct or lacking >= self._members.quorum:
            return Refused(Reason.INTEGRITY, detail)
        return Refused(Reason.NOT_READY, detail)

    async def check_growth(self) -> None:
        """What the members show now extends what was verified in an earlier life. Raises Refused(INTEGRITY)."""
        known = self.growth.largest
        if known is None:
            with suppress(Refused):  # there is none yet
                await self.checkpoint(None, 0.0)
            return
        size, refusals = known.checkpoint.size, list[Refused]()
        try:
            await self._first(
                lambda link: self._checkpoint(link, size, COSIGNED_AGAIN_S), COSIGNED_AGAIN_S, refusals=refusals
            )
        except Refused as refused:
            detail = f"the log of {size} entries that was verified before is not shown: {refused.detail}"
            raise self._verdict(refusals, detail) from None
        await self.checkpoint(None, 0.0)  # and what is newest extends it

    async def _entry(self, link: Link, log_index: int) -> cm.Entry:
        page = await self._ask(link, lambda number: cm.GetEntries(number, log_index, 1), cm.Entries)
        if len(page.entries) != 1 or page.entries[0].index != log_index:
            raise Refused(Reason.NOT_FOUND, f"no entry {log_index}")
        return page.entries[0]

    async def _first(
        self, work: Callable[[Link], Awaitable[T]], wait_s: float = 0.0, refusals: list[Refused] | None = None
    ) -> T:
        """What the first member gives for which `work` succeeds. Raises why the last one failed; `refusals` has all."""
        last = Refused(Reason.NOT_READY, "no member is connected")
        for link in self.connected():
            try:
                with trio.fail_after(self._options.read_wait_s + wait_s):
                    return await work(link)
            except Refused as refused:
                last = refused
            except trio.TooSlowError:
                last = Refused(Reason.NOT_READY, f"member {link.number} does not answer")
            if refusals is not None:
                refusals.append(last)
        raise last

    async def keep_payload(
        self, record: int, salt: bytes, payload: bytes, min_height: int
    ) -> dict[int, Refused | None]:
        """What each member says to keeping it; None: it is kept there."""
        said: dict[int, Refused | None] = {
            link.number: link.refused or Refused(Reason.NOT_READY, "no connection") for link in self._links
        }

        async def ask(link: Link) -> None:
            said[link.number] = Refused(Reason.NOT_READY, "no answer in time")
            try:
                await self._ask(
                    link, lambda number: cm.KeepPayload(number, min_height, record, salt, payload), cm.PayloadKept
                )
            except Refused as refused:
                said[link.number] = refused
            else:
                said[link.number] = None

        with trio.move_on_after(self._options.read_wait_s * 5):
            async with trio.open_nursery() as nursery:
                for link in self.connected():
                    nursery.start_soon(ask, link)
        return said

    async def payload(self, record: int, client: bytes, commitment: bytes) -> tuple[bytes, bytes]:
        """(salt, payload), from the first member that has what opens the commitment. Raises Refused."""

        async def work(link: Link) -> tuple[bytes, bytes]:
            answer = await self._ask(link, lambda number: cm.GetPayload(number, record), cm.PayloadValue)
            if commitment_of(client, answer.salt, answer.payload) != commitment:
                raise Refused(Reason.INTEGRITY, f"member {link.number} shows another payload than was committed to")
            return answer.salt, answer.payload

        return await self._first(work)

    async def block(self, seq: int, member: int | None) -> cm.BlockValue:
        """One member's word; where it has a certificate, the caller can check it. Raises Refused."""
        links = self.connected() if member is None else [self._links[member]]
        if not links:
            raise Refused(Reason.NOT_READY, "no member is connected")
        return await self._ask(links[0], lambda number: cm.GetBlock(number, seq), cm.BlockValue)

    async def status_all(self, timeout_s: float) -> dict[int, cm.NodeStatus | str]:
        """Every member's own word about itself, or why there is none."""
        found: dict[int, cm.NodeStatus | str] = {
            link.number: str(link.refused or "no connection yet") for link in self._links
        }

        async def ask(link: Link) -> None:
            found[link.number] = "no answer in time"
            try:
                found[link.number] = (await self._ask(link, cm.GetStatus, cm.StatusValue)).status
            except Refused as refused:
                found[link.number] = str(refused)

        with trio.move_on_after(timeout_s):
            async with trio.open_nursery() as nursery:
                for link in self.connected():
                    nursery.start_soon(ask, link)
        return found

    @staticmethod
    async def _ask(link: Link, make: Callable[[int], cm.Request], kind: type[Answer]) -> Answer:
        answer = await link.ask(make)
        if not isinstance(answer, kind):
            raise Refused(Reason.UNEXPECTED, f"member {link.number} answered something else")
        return answer


def _agreed(pages: Sequence[cm.Entries], first: int, need: int) -> LogPage | None:
    """The longest run from `first` on of entries that `need` pages have alike, and the log size that `need` claim."""
    if len(pages) < need:
        return None
    entries: list[cm.Entry] = []
    for place in range(cm.ENTRIES_MAX):
        at_place = [page.entries[place] for page in pages if place < len(page.entries)]
        agreed = next((entry for entry in at_place if at_place.count(entry) >= need), None)
        if agreed is None or agreed.index != first + place:
            break
        entries.append(agreed)
    return LogPage(sorted((page.log_size for page in pages), reverse=True)[need - 1], tuple(entries))
