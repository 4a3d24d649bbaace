"""What a block and a view change cost as the cluster grows: `python -m simulations growth [--write FILE]`.

Counted is what the replicas do in a fair world, one block after the other: frames and bytes that leave, signatures
made, signatures verified; and beside it what the protocol says (`Formula`). Votes are counted in full and verified up
to a quorum. Real Ed25519 is used for the view change, whose cost is this process's CPU in `Replica.step`, so of
everything but the network and the disk.
"""

import resource
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bftnode.apps.execution import application_operation
from bftnode.apps.log import append
from bftnode.protocol import quorums
from bftnode.protocol.ed25519 import Signer, Verifier
from bftnode.protocol.envelope import SIGNING_DOMAIN
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.core import Replica
from bftnode.replica.effects import Effect
from bftnode.replica.events import Event, Now, Received, Tick
from simulations.judges import kind_of
from simulations.network import Weather
from simulations.node import Node
from simulations.scenarios.stage import Stage
from simulations.simulation import CHAIN
from simulations.workload import FAR_AHEAD

SIZES = (4, 7, 13, 31, 64)
BLOCKS = 10
OPERATIONS, VALUE_BYTES = 100, 128
"""In each block, in one envelope; what is said of larger blocks follows from it."""
BEFORE = 2
"""Blocks before those that are counted: replicas that start say more."""
AGREEMENT = (Kind.PRE_PREPARE, Kind.PREPARE, Kind.COMMIT)
CHANGE = (Kind.VIEW_CHANGE, Kind.NEW_VIEW)
EVEN = Weather(delay_min_ms=1, delay_max_ms=1)
"""Where a block is counted. Else a member that hears of a commit before it has prepared casts no COMMIT of its own: a
few votes less than the formula says, now and then, with four members."""
KIND_AT = len(SIGNING_DOMAIN) + len(CHAIN)
"""Where in what a member signs its kind is (envelope.signing_bytes)."""
LARGE = 1000
"""Operations of a large block, for the last column."""


@dataclass(frozen=True, slots=True)
class Formula:
    """What the protocol says of one block, or of one view change with a dead primary, with n members."""

    n: int

    @property
    def quorum(self) -> int:
        return quorums.quorum(self.n)

    @property
    def block_messages(self) -> int:
        """A proposal to each other member; a PREPARE and a COMMIT from everybody, the primary too, to each other."""
        return (self.n - 1) + 2 * self.n * (self.n - 1)

    @property
    def block_signatures(self) -> int:
        """The proposal, and two votes of each."""
        return 1 + 2 * self.n

    @property
    def block_verifications(self) -> int:
        """The proposal by each backup; of the votes of each phase one's own is there, so q - 1 make a quorum."""
        return (self.n - 1) + 2 * self.n * (self.quorum - 1)

    @property
    def change_messages(self) -> int:
        """VIEW-CHANGE from each of the living to each other member, and the new primary's NEW-VIEW."""
        return (self.n - 1) * (self.n - 1) + (self.n - 1)

    @property
    def change_signatures(self) -> int:
        return (self.n - 1) + 1

    @property
    def change_verifications(self) -> int:
        """Each of the living: the others' VIEW-CHANGEs, the votes of the block that they report (each once, whoever's
        certificate it is in; all n, where all report the same phase), and the NEW-VIEW."""
        others = self.n - 2
        return (self.n - 1) * (others + self.n) + others


class Counted(Stage):
    """A stage that counts what its replicas say, sign and verify, by kind, and what each spends in which event."""

    def __init__(self, n: int, *, real_signatures: bool = False) -> None:
        self.messages: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()
        self.signed: Counter[int] = Counter()
        self.verified: Counter[int] = Counter()
        super().__init__(n, seed="growth", parameters=Parameters(), real_signatures=real_signatures)
        self.network.rule = self._count

    def signer_of(self, member: int) -> Signer:
        sign = super().signer_of(member)

        def counting(message: bytes) -> bytes:
            self.signed[message[KIND_AT]] += 1
            return sign(message)

        return counting

    def verifier_of(self, member: int) -> Verifier:
        verify = super().verifier_of(member)

        def counting(key: bytes, message: bytes, signature: bytes) -> bool:
            self.verified[message[KIND_AT]] += 1
            return verify(key, message, signature)

        return counting

    def _count(self, _place: int, _to: int, frame: bytes) -> bool:
        self.messages[kind_of(frame)] += 1
        self.bytes[kind_of(frame)] += len(frame)
        return True

    def forget(self) -> None:
        """Count from here on."""
        for counter in (self.messages, self.bytes, self.signed, self.verified):
            counter.clear()

    def envelope(self) -> Transaction:
        """Of many operations."""
        self._nonces[0] += 1
        operation = application_operation(append(bytes(VALUE_BYTES)))
        body = TransactionBody(CHAIN, self.keyring.clients[0], self._nonces[0], FAR_AHEAD, (operation,) * OPERATIONS)
        return sign_transaction(body, self.keyring.client_signer(0))

    def decide(self) -> Transaction:
        """One block with one envelope, everywhere, and what is still on its way arrives."""
        height, transaction = self.height(1), self.envelope()
        for node in self.nodes:
            node.submit(transaction)
        self.expect_height(height + 1, *(node.place for node in self.nodes if node.up))
        self.run(20)
        return transaction


@dataclass(frozen=True, slots=True)
class Block:
    """One of the normal case."""

    n: int
    messages: float
    bytes: float
    payload: int  # bytes of its envelopes
    signatures: float
    verifications: float


def block(n: int) -> Block:
    """The mean of some. Raises Violation."""
    stage = Counted(n)
    stage.network.weather = EVEN
    for _ in range(BEFORE):
        stage.decide()
    stage.forget()
    for _ in range(BLOCKS):
        transaction = stage.decide()

    def each(counter: Counter[int]) -> float:
        return sum(counter[kind] for kind in AGREEMENT) / BLOCKS

    return Block(
        n, each(stage.messages), each(stage.bytes), len(transaction.raw), each(stage.signed), each(stage.verified)
    )


@dataclass(frozen=True, slots=True)
class Change:
    """One view change, because the primary is dead."""

    n: int
    messages: int
    bytes: int
    signatures: int
    verifications: int
    busiest_ms: float  # CPU of the replica that spends most
    median_ms: float
    together_ms: float


class Spending(Node):
    """Knows its CPU in the events of a view change."""

    spent_s: float = 0.0

    def _step(self, replica: Replica, event: Event, now: Now) -> list[Effect]:
        if not (isinstance(event, Tick) or (isinstance(event, Received) and kind_of(event.frame) in CHANGE)):
            return super()._step(replica, event, now)
        before = _cpu_s()
        effects = super()._step(replica, event, now)
        self.spent_s += _cpu_s() - before
        return effects


class Spent(Counted):
    """A stage whose nodes know what they spend."""

    honest = Spending


def change(n: int) -> Change:
    """From the death of the first primary until everybody else is active in the next view. Raises Violation."""
    stage = Spent(n, real_signatures=True)
    for _ in range(BEFORE):
        stage.decide()
    stage.nodes[0].crash()
    alive = stage.nodes[1:]
    stage.forget()
    before = [_spent(node) for node in alive]
    transaction = stage.envelope()
    for node in alive:
        node.submit(transaction)
    stage.run(60_000, lambda: all(node.replica.position.view == 1 and node.replica.position.active for node in alive))
    spent = sorted(1000 * (_spent(node) - was) for node, was in zip(alive, before, strict=True))
    votes = (Kind.PREPARE, Kind.COMMIT)
    verified = sum(stage.verified[kind] for kind in (*CHANGE, *votes))
    stage.expect_height(BEFORE + 1, *(node.place for node in alive))
    return Change(
        n,
        sum(stage.messages[kind] for kind in CHANGE),
        sum(stage.bytes[kind] for kind in CHANGE),
        sum(stage.signed[kind] for kind in CHANGE),
        verified,
        spent[-1],
        spent[len(spent) // 2],
        sum(spent),
    )


def _spent(node: Node) -> float:
    assert isinstance(node, Spending), "made so"
    return node.spent_s


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def verify_us(times: int = 500) -> float:
    """What one real verification takes in this minute, for comparison."""
    stage = Counted(4, real_signatures=True)
    sign, key = stage.keyring.member_signer(0), stage.keyring.members[0]
    signature = sign(bytes(200))
    before = _cpu_s()
    for _ in range(times):
        assert stage.keyring.verify(key, bytes(200), signature), "ours"
    return 1e6 * (_cpu_s() - before) / times


# ---- words


def report(sizes: Sequence[int], tell: Callable[[str], None]) -> str:
    """The page. Raises Violation."""
    blocks, changes = [], []
    for n in sizes:
        blocks.append(block(n))
        changes.append(change(n))
        tell(f"n = {n}: {blocks[-1].messages:.0f} messages a block, {changes[-1].busiest_ms:.0f} ms a view change")
    return "\n".join([*_head(sizes), *_blocks(blocks), *_changes(changes, verify_us())]) + "\n"


def _head(sizes: Sequence[int]) -> list[str]:
    given = "" if tuple(sizes) == SIZES else f" --n {','.join(map(str, sizes))}"
    return [
        "# Growth with the number of members",
        "",
        f"Written by `./scripts/simulate growth{given} --write docs/growth.md`: counted in the simulator, whose "
        "replicas are the daemon's. Real processes with 4, 7 and 10 members: `./scripts/compare --only T9`.",
        "",
    ]


def _blocks(blocks: Sequence[Block]) -> list[str]:
    heads = ["n", "quorum", "messages", "formula", "signatures", "formula", "verifications", "formula"]
    heads += ["bytes", "of them votes", f"a block of {LARGE:,}: messages, signatures, verifications an operation"]
    rows = []
    for one in blocks:
        said = Formula(one.n)
        votes = one.bytes - (one.n - 1) * one.payload
        large = ", ".join(f"{value / LARGE:.3f}" for value in (one.messages, one.signatures, one.verifications))
        rows.append(
            [
                f"{one.n}",
                f"{said.quorum}",
                f"{one.messages:,.1f}",
                f"{said.block_messages:,}",
                f"{one.signatures:,.1f}",
                f"{said.block_signatures:,}",
                f"{one.verifications:,.1f}",
                f"{said.block_verifications:,}",
                f"{one.bytes:,.0f}",
                f"{votes:,.0f}",
                large,
            ]
        )
    return [
        "## A block",
        "",
        f"Of {OPERATIONS} operations of {VALUE_BYTES} bytes in one envelope; the mean of {BLOCKS}.",
        "",
        *_grid(heads, rows),
        "",
        "- Messages: n - 1 proposals and 2 n (n - 1) votes; the primary votes like everybody. Signatures: 1 + 2 n.",
        "- In a world where all messages take equally long. Else a member that hears of a commit before it has "
        "prepared casts no COMMIT: some votes less.",
        "- Verifications: n - 1 proposals, and in each phase q - 1 of the others' votes at each member: what is beyond "
        "the quorum is not looked at. n more are of the client's envelope, which the simulator opens once for all.",
        "- Bytes: the envelopes n - 1 times, and the votes; 'votes' is what is left, with the proposals' heads. A "
        "block of more operations grows by its envelopes alone: what an operation pays for agreement falls.",
        "- Not counted: STATUS, two a second and pair of members, whatever is decided, and CHECKPOINT, n (n - 1) in "
        "128 blocks.",
        "",
    ]


def _changes(changes: Sequence[Change], verification_us: float) -> list[str]:
    heads = ["n", "messages", "formula", "bytes", "signatures", "formula", "verifications", "formula"]
    heads += ["CPU of the busiest replica, ms", "of the median one", "of all together"]
    rows = []
    for one in changes:
        said = Formula(one.n)
        rows.append(
            [
                f"{one.n}",
                f"{one.messages:,}",
                f"{said.change_messages:,}",
                f"{one.bytes:,}",
                f"{one.signatures:,}",
                f"{said.change_signatures:,}",
                f"{one.verifications:,}",
                f"{said.change_verifications:,}",
                f"{one.busiest_ms:.1f}",
                f"{one.median_ms:.1f}",
                f"{one.together_ms:.0f}",
            ]
        )
    return [
        "## A view change",
        "",
        f"The primary is dead. Real Ed25519, {verification_us:.0f} us a verification in that minute; CPU in the steps "
        "of ticks, VIEW-CHANGE and NEW-VIEW, without network and disk.",
        "",
        *_grid(heads, rows),
        "",
        "- Each replica makes its own certificate, of the q votes that it saw first, so most of those that are "
        "reported differ although they certify one block. Their votes are the same: each is verified once at each "
        "replica.",
        "- Measured and formula: VIEW-CHANGEs that are repeated before the NEW-VIEW comes are signed and verified "
        "again. Where certificates of two phases are reported, there are the votes of both; one's own certificate is "
        "not verified, nor votes that nobody's certificate has.",
    ]


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *rows]]


def run(sizes: Sequence[int], write: Path | None) -> int:
    """The command."""
    text = report(sizes, lambda line: print(line, file=sys.stderr, flush=True))
    if write is None:
        print(text, end="")
    else:
        write.write_text(text, encoding="utf-8")
    return 0
