"""Recordings of real members (bftnode/replica/recording.py), read and re-executed: one life after the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bftnode import protocol
from bftnode.apps.execution import Executor
from bftnode.apps.registry import load_application
from bftnode.protocol import ed25519
from bftnode.protocol.cosigning import CheckpointSigner
from bftnode.protocol.errors import Refused
from bftnode.protocol.genesis import parse_genesis
from bftnode.protocol.transactions import Transaction
from bftnode.replica.core import Replica
from bftnode.replica.effects import Effect
from bftnode.replica.position import Timing
from bftnode.replica.recording import (
    DIGEST_BYTES,
    EFFECTS,
    PREFIX_BYTES,
    RAISED,
    ROOMS,
    RecordedTurn,
    Signatures,
    Step,
    Unreadable,
    checked,
    code_digest,
    open_start,
    open_turn,
    open_woke,
    seal_of,
    size_of,
)
from simulations.node import Envelopes

ENVELOPES_KEPT_TURNS = 10_000
"""After so many turns the envelopes that were opened are forgotten, and opened again where they are asked for."""


class Replayed(NamedTuple):
    """A step that was taken again. `difference` is empty where everything is as it was recorded."""

    step: Step
    effects: list[Effect]
    difference: str


class Life:
    """One recording. `note` says, once it is read, what is not as it should be at its end."""

    def __init__(self, path: Path, *, any_code: bool = False) -> None:
        """Raises Unreadable, with what to do about it, and OSError."""
        self.path = path
        self.note = ""
        self.turns = 0
        self.events = 0
        with open(path, "rb") as file:
            first, second = self._next(file), self._next(file)
            self._first_turn = file.tell()
        if first is None or second is None:
            raise Unreadable(f"{path}: it ends before its first turn")
        self.start = open_start(first)
        if self.start.code != code_here() and not any_code:
            raise Unreadable(
                f"{path}: recorded by bftnode {self.start.version} with other code in {', '.join(ROOMS)} than is here: "
                "replay it in a checkout of that code, or see with --any-code where this code parts from it"
            )
        try:
            genesis = parse_genesis(self.start.genesis)
            application = load_application(genesis.application)
        except Refused as refused:
            raise Unreadable(f"{path}: {refused.detail}") from None
        self.members = genesis.membership()
        self.member = self.start.member
        if self.member >= self.members.n:
            raise Unreadable(f"{path}: there is no member {self.member}")
        self.names = [item.name for item in genesis.members]
        self._keys = genesis.checkpoint_keys()
        self._executor = Executor(application, genesis.administrator_keys(), self.members.parameters.clients_max)
        self._woke = second
        self._envelopes = Envelopes(self.members, self._executor, ed25519.verify)

    def _next(self, file: BinaryIO) -> bytes | None:
        """The next record; None at the end. Raises Unreadable."""
        prefix = file.read(PREFIX_BYTES)
        body = file.read(size_of(prefix)) if len(prefix) == PREFIX_BYTES else b""
        if len(prefix) == PREFIX_BYTES and len(body) == size_of(prefix):
            try:
                return checked(prefix, body)
            except Unreadable as bad:
                at = file.tell() - PREFIX_BYTES - len(body)
                raise Unreadable(f"{self.path}: damaged at byte {at}, turn {self.turns}: {bad}") from None
        if prefix:
            self.note = f"its last record broke off: {len(prefix) + len(body)} bytes are dropped"
        return None

    def read(self) -> Iterator[RecordedTurn]:
        """Its turns. Raises Unreadable at what is damaged, and OSError."""
        with open(self.path, "rb") as file:
            file.seek(self._first_turn)
            while (record := self._next(file)) is not None:
                yield open_turn(record, self.members.chain_id)
                self.turns += 1

    def replay(self) -> Iterator[tuple[RecordedTurn, list[Replayed]]]:
        """Each turn and what its steps came to here, up to the first difference, which is the last. Raises Unreadable
        and OSError."""
        signatures = Signatures()
        replica: Replica | None = None
        for turn in self.read():
            signatures.expect(turn.signatures)
            if replica is None:
                replica = self._wake_up(signatures)
            if self.turns % ENVELOPES_KEPT_TURNS == ENVELOPES_KEPT_TURNS - 1:
                self._envelopes = Envelopes(self.members, self._executor, ed25519.verify)
            done: list[Replayed] = []
            for step in turn.steps:
                done.append(_again(replica, turn, step))
                self.events += 1
                if done[-1].difference:
                    break
            if not done[-1].difference and signatures.left:
                done[-1] = done[-1]._replace(difference=f"{signatures.left} signatures fewer than were recorded")
            yield turn, done
            if done[-1].difference or done[-1].step.seal == RAISED:
                return

    def _open(self, raw: bytes) -> Transaction:
        return self._envelopes.open(raw)

    def _wake_up(self, signatures: Signatures) -> Replica:
        recovered, now = open_woke(self._woke, self.members.chain_id)
        kinds = len(self._keys.cosigning_keys[self.member])
        return Replica(
            self.members,
            self.member,
            signatures.sign,
            ed25519.verify,
            self._open,
            recovered,
            now,
            Timing(**self.start.timing),
            CheckpointSigner(self._keys, self.member, signatures.sign, (signatures.sign,) * kinds),
        )


def _again(replica: Replica, turn: RecordedTurn, step: Step) -> Replayed:
    try:
        effects = replica.step(step.event, turn.now)
    except Exception as error:  # what a replica raises is its finding, whatever it is
        raised = f"it raises {type(error).__name__}: {error}"
        return Replayed(step, [], "" if step.seal == RAISED else f"expected {kinds_in_words(step.seal)}; {raised}")
    if step.seal == RAISED:
        return Replayed(step, effects, f"expected that it raises; got {kinds_in_words(seal_of(effects))}")
    got = seal_of(effects)
    if got == step.seal:
        return Replayed(step, effects, "")
    return Replayed(step, effects, f"expected {kinds_in_words(step.seal)}; got {kinds_in_words(got)}")


def kinds_in_words(seal: bytes) -> str:
    """What a seal says of the effects: their kinds, in order, and the digest's beginning."""
    if not seal:
        return "nothing"
    kinds = [EFFECTS[kind].__name__ if kind < len(EFFECTS) else f"kind {kind}" for kind in seal[DIGEST_BYTES:]]
    return f"{' '.join(kinds)} ({seal[:4].hex()})"


def code_here() -> bytes:
    """The digest of the code that would re-execute."""
    root = Path(protocol.__file__).parent.parent
    files = (path for room in ROOMS for path in (root / room).rglob("*.py"))
    return code_digest((path.relative_to(root).as_posix(), path.read_bytes()) for path in files)


def lives_in(folder: Path) -> list[Path]:
    """The recordings of a member, oldest first: of its home, its data directory, or the directory that holds them.

    Raises Unreadable where there is none."""
    for place in (folder, folder / "recording", folder / "data" / "recording"):
        found = sorted(place.glob("*.recording"))
        if found:
            return found
    raise Unreadable(f"{folder}: no recording; `bftnode run --record` makes one in a member's data/recording")
