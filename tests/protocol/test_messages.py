"""Message bodies: what is bounded in them, and the payload of a run."""

import msgspec
import pytest

from bftnode.protocol import limits, quorums
from bftnode.protocol.blocks import pack_block
from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.codec import encode
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.messages import BODY_OF, Kind, NewView, Seen, Status, ViewChange, open_body, open_run_payload
from tests.protocol.cluster import Cluster, block_of

CLUSTER = Cluster()


def opens(kind: Kind, body: object) -> bool:
    try:
        open_body(CLUSTER.frame(kind, 0, encode(body)))
    except Refused:
        return False
    return True


def test_every_kind_has_a_body() -> None:
    """And the phases of certificates are the kinds of their votes."""
    assert set(BODY_OF) == set(Kind)
    assert (Kind.PREPARE, Kind.COMMIT) == (PREPARE, COMMIT)


def test_a_run_is_blocks() -> None:
    """One at least; anything else is refused."""
    packed = (pack_block(block_of((b"x",))),) * 2
    assert open_run_payload(encode(packed)) == packed
    for bad in (b"\x90", b"", b"\x91\xc0", encode(packed) + b"\x00"):
        with pytest.raises(Refused):
            open_run_payload(bad)
    with pytest.raises(Refused) as refusal:
        open_run_payload(encode(()))
    assert refusal.value.reason is Reason.CODEC_MALFORMED


def test_lists_are_no_longer_than_a_cluster_has_members() -> None:
    """What a liar can make us hold is bounded by the schema."""
    most = quorums.MEMBERS_MAX
    status = Status(0, 1, True, 0, 0, 0, (Seen(1, 1, 0),) * most)
    assert opens(Kind.STATUS, status)
    assert not opens(Kind.STATUS, msgspec.structs.replace(status, seen=(Seen(1, 1, 0),) * (most + 1)))
    assert opens(Kind.NEW_VIEW, NewView(0, 1, (b"",) * most))
    assert not opens(Kind.NEW_VIEW, NewView(0, 1, (b"",) * (most + 1)))


def test_the_largest_new_view_fits_into_a_body() -> None:
    """64 members, each VIEW-CHANGE with a certificate of 43 votes: far below BODY_BYTES_MAX."""
    large = Cluster(quorums.MEMBERS_MAX)
    certificate = large.certificate(PREPARE, 2**62, 2**62)
    change = encode(large.frame(Kind.VIEW_CHANGE, 0, encode(ViewChange(0, 2**62, certificate)), 2**62))
    new_view = NewView(0, 2**62, (change,) * large.members.quorum)
    assert len(encode(new_view)) < limits.BODY_BYTES_MAX // 2
    assert opens(Kind.NEW_VIEW, new_view)
