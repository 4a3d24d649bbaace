"""Forensics: who lied, where two honest parties hold things that contradict each other (faults.md X02 to X07).

Pure. Everything that a party holds is taken apart into signed statements: the votes inside certificates, the
VIEW-CHANGEs inside NEW-VIEWs with the certificates that they report, the NEW-VIEWs themselves. What is not signed by
a member is left out. Two statements of one member that `evidence.contradiction` knows no correct member makes both of
name it, each member once; so a culprit is named only with a proof that `evidence.check_accusation` accepts, and whoever
hands in forged or foreign bytes names nobody.

Why that is enough (docs/decisions/010-what-forensics-needs.md): a commit certificate (v, n, h) shares f+1 signers with
every certificate of v for another branch at or above n, of either phase. Where the second branch stands on a later
NEW-VIEW, and that on a certificate of v or before, the NEW-VIEW shares f+1 members with (v, n, h) as well: either they
hid their COMMITs, or that certificate is one of v at or above n.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from bftnode.protocol.blocks import hash_header, open_header
from bftnode.protocol.certificates import COMMIT, Certificate, check_certificate, rank_of, vote_body
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.envelope import Frame, encode_frame, open_frame, signing_bytes
from bftnode.protocol.errors import Refused
from bftnode.protocol.evidence import contradiction
from bftnode.protocol.limits import EVIDENCE_BYTES_MAX, EVIDENCE_HEADERS_MAX
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Kind, NewView, ViewChange, open_body


@dataclass(frozen=True, slots=True)
class Testimony:
    """What one party holds. Nothing of it is believed unchecked, and nothing has to be complete or in order."""

    __test__ = False  # to pytest it is no test

    headers: tuple[bytes, ...]  # encoded headers of the chain that it holds, or the one of a receipt
    certificates: tuple[Certificate, ...]  # of either phase, with all their signatures
    new_views: tuple[bytes, ...]  # encoded NEW-VIEW frames
    loose: tuple[bytes, ...] = ()  # encoded headers of blocks that it holds beside the chain, or above it


@dataclass(frozen=True, slots=True)
class Culprit:
    """A member that contradicts itself, and its two encoded frames, without payloads, that prove it.

    `headers`: of the blocks between two votes on two branches (messages.Accusation).
    """

    member: int
    proved: str
    first: bytes
    second: bytes
    headers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """`fork_height`: the lowest at which certificates commit two blocks, as far as the headers lead down to it; None
    where they commit none. `culprits`: in ascending order of member, each once."""

    fork_height: int | None
    culprits: tuple[Culprit, ...]


def investigate(left: Testimony, right: Testimony, members: Membership, verify: Verifier) -> Findings:
    """Compare what two parties hold. Never raises on what is in it; linear in it, a signature check a statement."""
    hearing = _Hearing(members, verify)
    for testimony in (left, right):
        hearing.hear(testimony)
    headers = _by_hash((raw for side in (left, right) for raw in (*side.headers, *side.loose)), members)
    found = (_contradiction_of(said, headers) for _, said in sorted(hearing.said.items()))
    return Findings(_fork_height(hearing.commits, headers), tuple(one for one in found if one is not None))


@dataclass(slots=True)
class _Said:
    """What one member said, each content once: the first frame with it."""

    votes: dict[tuple[int, int, int], dict[bytes, Frame]] = field(
        default_factory=dict
    )  # (phase, view, seq) -> by block
    changes: dict[int, dict[bytes, Frame]] = field(default_factory=dict)  # view -> VIEW-CHANGEs by body
    new_views: dict[int, dict[bytes, Frame]] = field(default_factory=dict)  # view -> NEW-VIEWs by body


class _Hearing:
    """Takes testimonies apart. `said` is by member; `commits` are the valid commit certificates."""

    def __init__(self, members: Membership, verify: Verifier) -> None:
        self._members = members
        self._verify = verify
        self._heard: dict[bytes, None] = {}
        self.said: dict[int, _Said] = {}
        self.commits: list[Certificate] = []

    def hear(self, testimony: Testimony) -> None:
        for certificate in testimony.certificates:
            self._certificate(certificate)
        for raw in testimony.new_views:
            self._new_view(raw)

    def _certificate(self, certificate: Certificate) -> None:
        key = encode(certificate)
        if key in self._heard:
            return
        self._heard[key] = None
        try:
            check_certificate(certificate, self._members, self._verify)
        except Refused:
            return
        if certificate.phase == COMMIT:
            self.commits.append(certificate)
        body = vote_body(certificate.epoch, certificate.view, certificate.seq, certificate.block)
        for vote in certificate.votes:
            frame = Frame(certificate.phase, vote.sender, vote.boot, vote.counter, body, vote.signature, b"")
            place = (certificate.phase, certificate.view, certificate.seq)
            self._of(vote.sender).votes.setdefault(place, {}).setdefault(certificate.block, frame)

    def _new_view(self, raw: bytes) -> None:
        frame = self._statement(raw, Kind.NEW_VIEW)
        if frame is None:
            return
        new_view = open_body(frame)
        assert isinstance(new_view, NewView), "opened by its kind"
        self._of(frame.sender).new_views.setdefault(new_view.view, {}).setdefault(frame.body, frame)
        for change in new_view.view_changes:
            self._view_change(change)

    def _view_change(self, raw: bytes) -> None:
        frame = self._statement(raw, Kind.VIEW_CHANGE)
        if frame is None:
            return
        change = open_body(frame)
        assert isinstance(change, ViewChange), "opened by its kind"
        self._of(frame.sender).changes.setdefault(change.view, {}).setdefault(frame.body, frame)
        if change.certificate is not None:
            self._certificate(change.certificate)

    def _statement(self, raw: bytes, kind: Kind) -> Frame | None:
        """A frame of this kind and epoch that a member signed, where it is heard for the first time."""
        members = self._members
        if raw in self._heard:
            return None
        try:
            frame = open_frame(raw)
            if frame.kind != kind or frame.sender >= members.n or open_body(frame).epoch != members.epoch:
                return None
        except Refused:
            return None
        message = signing_bytes(members.chain_id, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
        if not self._verify(members.public_keys[frame.sender], message, frame.signature):
            return None
        self._heard[raw] = None
        return frame

    def _of(self, member: int) -> _Said:
        return self.said.setdefault(member, _Said())


_Pair = tuple[Frame, Frame, tuple[bytes, ...]]
"""Two frames that may contradict each other, and the headers between their blocks."""


class _Known(NamedTuple):
    """A header that somebody handed in."""

    raw: bytes
    seq: int
    parent: bytes


def _contradiction_of(said: _Said, headers: dict[bytes, _Known]) -> Culprit | None:
    """The plainest contradiction of one member: two COMMITs, a hidden COMMIT, two PREPAREs, votes on two branches,
    VIEW-CHANGEs, NEW-VIEWs."""
    votes = sorted(said.votes.items())
    commits = [list(frames.values()) for place, frames in votes if place[0] == COMMIT]
    prepares = [list(frames.values()) for place, frames in votes if place[0] != COMMIT]
    spoken = [list(frames.values()) for table in (said.changes, said.new_views) for _, frames in sorted(table.items())]
    twice = chain(_pairs(commits), _hidden(said), _pairs(prepares), _two_branches(said, headers), _pairs(spoken))
    for first, second, between in twice:
        proved = contradiction(first, second, between)
        raw = encode_frame(first), encode_frame(second)
        if proved is not None and max(map(len, raw)) <= EVIDENCE_BYTES_MAX:
            return Culprit(first.sender, proved, *raw, between)
    return None


def _pairs(groups: list[list[Frame]]) -> list[_Pair]:
    return [(frames[0], other, ()) for frames in groups for other in frames[1:]]


def _two_branches(said: _Said, headers: dict[bytes, _Known]) -> Iterator[_Pair]:
    """Each vote with the nearest COMMIT of its view, at or below it, for a block that is no ancestor of its own."""
    views: dict[int, list[tuple[int, bytes, Frame]]] = {}
    commits: dict[int, dict[int, dict[bytes, Frame]]] = {}
    for (phase, view, seq), frames in sorted(said.votes.items()):
        views.setdefault(view, []).extend((seq, block, frame) for block, frame in frames.items())
        if phase == COMMIT:
            commits.setdefault(view, {})[seq] = frames
    for view, known in commits.items():
        lowest = min(known)
        walked: dict[bytes, None] = {}
        for seq, block, frame in sorted(views[view], key=lambda item: item[:2]):
            at, height, between = block, seq, list[bytes]()
            while height >= lowest:
                other = next((item for name, item in known.get(height, {}).items() if name != at), None)
                if other is not None:
                    yield other, frame, tuple(between)
                    break
                header = headers.get(at)
                # What lies below a block that was walked over was nearer to the vote from which it was.
                if at in walked or header is None or header.seq != height or len(between) == EVIDENCE_HEADERS_MAX:
                    break
                walked[at] = None
                between.append(header.raw)
                at, height = header.parent, height - 1


def _hidden(said: _Said) -> list[_Pair]:
    """Each VIEW-CHANGE that ranks below the highest COMMIT of its sender in an earlier view, with that COMMIT."""
    votes = said.votes.items()
    commits = sorted((place[1:], next(iter(frames.values()))) for place, frames in votes if place[0] == COMMIT)
    found: list[_Pair] = []
    highest: tuple[tuple[int, int], Frame] | None = None
    for view, frames in sorted(said.changes.items()):
        while commits and commits[0][0][0] < view:
            highest = commits.pop(0)
        for frame in frames.values():
            body = open_body(frame)
            assert isinstance(body, ViewChange), "kept as such"
            if highest is not None and rank_of(body.certificate) < (*highest[0], Kind.PREPARE):
                found.append((highest[1], frame, ()))
    return found


def _by_hash(headers: Iterable[bytes], members: Membership) -> dict[bytes, _Known]:
    found: dict[bytes, _Known] = {}
    for raw in headers:
        try:
            header = open_header(raw)
        except Refused:
            continue
        if header.chain_id == members.chain_id and header.epoch == members.epoch:
            found[hash_header(raw)] = _Known(raw, header.seq, header.parent)
    return found


def _fork_height(commits: list[Certificate], headers: dict[bytes, _Known]) -> int | None:
    """A commit certificate commits its block and, as far as their headers are here, that block's ancestors."""
    committed: dict[int, dict[bytes, None]] = {}
    for certificate in commits:
        seq, block = certificate.seq, certificate.block
        while seq > 0 and block not in committed.setdefault(seq, {}):
            committed[seq][block] = None
            header = headers.get(block)
            if header is None or header.seq != seq:
                break
            seq, block = seq - 1, header.parent
    return min((seq for seq, blocks in committed.items() if len(blocks) > 1), default=None)
