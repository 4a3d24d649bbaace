"""Frames and notes in words, for the story of a run."""

from bftnode.protocol.blocks import hash_header, open_header
from bftnode.protocol.certificates import Certificate, Vote
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import (
    BODY_OF,
    BlockAnswer,
    Checkpoint,
    Cosignature,
    FetchBlock,
    FetchRun,
    ForkProof,
    Kind,
    NewView,
    PrePrepare,
    Run,
    Slow,
    Status,
    ViewChange,
    open_body,
)
from bftnode.replica.effects import Note

_NOTES = {
    "view_timeout": "gives view {view} up after {timeout_ms} ms",
    "view_change_sent": "asks for view {view}",
    "new_view": "enters view {view}, built on height {base}",
    "view_ended_by_certificate": "learns that view {view} has begun without it",
    "courtesy_view_change": "follows n{member} to view {view}, as a courtesy",
    "checkpoint_stable": "knows that height {height} is a stable checkpoint",
    "quarantined": "has forgotten what it said, and votes no more",
    "probation": "may vote again above height {until}",
    "rejoined": "votes again, from height {height} on",
    "primary_suspected": "watches n{member}, the primary of view {view}, closely: {late_ms} ms late",
    "primary_gone": "has had no link to n{member}, the primary of view {view}, for {ms} ms",
    "primary_slow": "finds n{member}, the primary of view {view}, too slow: {late_ms} ms, for rounds of {round_ms} ms",
    "primary_replaced": "leaves view {view}: {complaints} find n{member} too slow, who is passed over for {ms} ms",
    "was_asleep": "slept for {ms} ms",
    "fetch_timeout": "hears nothing from n{member}, which it asked for height {first}",
    "fork_detected": "ends: {why}",
    "checkpoint_divergent": "finds that n{member} executed height {height} otherwise than the others",
    "state_diverged": "ends: it executed otherwise than the others, up to height {height}",
    "refused": "refuses n{member}: {reason}: {detail}",
}


def note_in_words(note: Note) -> str:
    """A sentence on what a replica found worth telling."""
    sentence = _NOTES.get(note.name)
    return f"{note.name} {note.fields}" if sentence is None else sentence.format_map(note.fields)


def in_words(raw: bytes) -> str:
    """One line on a frame; whatever the bytes."""
    try:
        frame = open_frame(raw)
        return f"{_name(frame.kind)} {_said(open_body(frame))} (of n{frame.sender}, {frame.boot}/{frame.counter})"
    except Refused as refused:
        return f"unreadable: {refused}"


def _name(kind: int) -> str:
    return Kind(kind).name if kind in BODY_OF else f"kind {kind}"


def _said(body: object) -> str:
    match body:
        case PrePrepare():
            header = open_header(body.header)
            parent, name = header.parent.hex()[:6], hash_header(body.header).hex()[:6]
            return f"view {body.view} height {header.seq} {name} on {parent}"
        case Vote():
            return f"view {body.view} height {body.seq} {body.block.hex()[:6]}"
        case ViewChange():
            return f"view {body.view} with {_certificate(body.certificate)}"
        case NewView():
            asked = [open_frame(raw) for raw in body.view_changes]
            parts = [f"n{frame.sender}:{_said(open_body(frame))}" for frame in asked]
            return f"view {body.view} [{'; '.join(parts)}]"
        case Status():
            active = "active" if body.active else "waiting"
            return f"view {body.view} {active} committed {body.committed} tip {body.tip}"
        case Checkpoint() | Cosignature():
            return f"height {body.seq}"
        case FetchRun():
            return f"from {body.first}"
        case Run():
            return f"{body.first}..{body.certificate.seq}"
        case FetchBlock():
            return body.block.hex()[:6]
        case BlockAnswer():
            return hash_header(body.header).hex()[:6]
        case Slow():
            return f"view {body.view}"
        case ForkProof():
            return " against ".join(_certificate(certificate) for certificate in body.certificates)
        case _:
            return ""


def _certificate(certificate: Certificate | None) -> str:
    if certificate is None:
        return "nothing"
    return f"{_name(certificate.phase)} {certificate.view}/{certificate.seq} {certificate.block.hex()[:6]}"
