"""Evidence: two signed statements of one member that no correct member would both make.

Two votes at two heights contradict each other by the headers between their blocks, which nobody has to sign: the votes'
hashes name them. Self-contained: it verifies with the genesis alone (docs/protocol.md, "Evidence"). Who verifies checks
domain, chain, epoch and signer again, so that nobody can be framed by frames of another cluster (faults.md O12).
"""

from collections.abc import Sequence

from bftnode.protocol.blocks import hash_header, open_header
from bftnode.protocol.certificates import Vote, rank_of
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.envelope import Frame, open_frame, signing_bytes
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Accusation, Kind, NewView, PrePrepare, ViewChange, open_body


def without_payload(frame: Frame) -> Frame:
    """The frame as evidence carries it: the payload is not signed, so it proves nothing."""
    return Frame(frame.kind, frame.sender, frame.boot, frame.counter, frame.body, frame.signature, b"")


def contradiction(first: Frame, second: Frame, headers: Sequence[bytes] = ()) -> str | None:
    """What two frames of one sender prove, in the field's words, or None. Signatures are not looked at.

    Raises Refused(CODEC_*) for a body that is not of its kind.
    """
    one, two = open_body(first), open_body(second)
    if isinstance(one, Vote) and isinstance(two, Vote):
        if first.kind == second.kind and one.seq == two.seq:
            return _two_votes(Kind(first.kind), one, two) if not headers else None
        return _two_branches(one, Kind(second.kind), two, headers) if first.kind == Kind.COMMIT else None
    if headers:
        return None  # an accusation has one spelling
    if isinstance(one, PrePrepare) and isinstance(two, PrePrepare) and one.epoch == two.epoch:
        return _two_proposals(one, two)
    if isinstance(one, NewView) and isinstance(two, NewView):
        if (one.epoch, one.view) == (two.epoch, two.view) and one != two:
            return f"two NEW-VIEWs for view {one.view}"
    if isinstance(one, ViewChange) and isinstance(two, ViewChange):
        if (one.epoch, one.view) == (two.epoch, two.view) and one.certificate != two.certificate:
            return f"two VIEW-CHANGEs for view {one.view} with different certificates"
    if first.kind == Kind.COMMIT and isinstance(one, Vote) and isinstance(two, ViewChange) and one.epoch == two.epoch:
        # Who sent COMMIT(v, n) held a prepare certificate of that rank and reports no lower one ever after.
        if two.view > one.view and rank_of(two.certificate) < (one.view, one.seq, Kind.PREPARE):
            return f"a VIEW-CHANGE for view {two.view} that hides its COMMIT at view {one.view}, height {one.seq}"
    return None


def _two_votes(kind: Kind, one: Vote, two: Vote) -> str | None:
    if (one.epoch, one.view, one.seq) != (two.epoch, two.view, two.seq) or one.block == two.block:
        return None
    return f"two {kind.name}s for different blocks at view {one.view}, height {one.seq}"


def _two_branches(commit: Vote, kind: Kind, vote: Vote, headers: Sequence[bytes]) -> str | None:
    """A COMMIT, and a vote of the same view at or above its height for a block that does not descend from its block.

    Who COMMITs has PREPAREd that block, PREPAREs upwards only, and stops rather than leave the branch
    (docs/protocol.md, "Safety"). `headers` are those of the vote's block and its ancestors, down to the one above the
    COMMIT's height.
    """
    if (vote.epoch, vote.view, vote.seq) != (commit.epoch, commit.view, commit.seq + len(headers)):
        return None
    block = vote.block
    for below, raw in enumerate(headers):
        header = open_header(raw)
        if hash_header(raw) != block or header.seq != vote.seq - below:
            return None
        block = header.parent
    if block == commit.block:
        return None
    return (
        f"a {kind.name} at view {vote.view}, height {vote.seq}, on another branch than its COMMIT at height"
        f" {commit.seq}"
    )


def _two_proposals(one: PrePrepare, two: PrePrepare) -> str | None:
    a, b = open_header(one.header), open_header(two.header)
    if (one.view, a.seq) == (two.view, b.seq) and hash_header(one.header) != hash_header(two.header):
        return f"two PRE-PREPAREs for different blocks at view {one.view}, height {a.seq}"
    return None


def check_accusation(accusation: Accusation, members: Membership, verify: Verifier) -> tuple[int, str]:
    """(the culprit's index, what is proved). Raises Refused where nothing is."""
    if accusation.epoch != members.epoch:
        raise Refused(Reason.WRONG_EPOCH, "evidence of another epoch")
    frames = open_frame(accusation.first), open_frame(accusation.second)
    for frame in frames:
        if frame.sender >= members.n or frame.payload:
            raise Refused(Reason.UNEXPECTED, "evidence is about a member, without payloads")
        message = signing_bytes(members.chain_id, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
        if not verify(members.public_keys[frame.sender], message, frame.signature):
            raise Refused(Reason.AUTH_SIGNATURE, "a frame of the evidence is not signed by its sender")
    if frames[0].sender != frames[1].sender:
        raise Refused(Reason.UNEXPECTED, "the two frames have different senders")
    proved = contradiction(*frames, accusation.headers)
    if proved is None:
        raise Refused(Reason.UNEXPECTED, "the two frames do not contradict each other")
    if open_body(frames[0]).epoch != members.epoch:  # as is the other's, where the two contradict each other
        raise Refused(Reason.WRONG_EPOCH, "statements of another epoch")
    return frames[0].sender, proved
