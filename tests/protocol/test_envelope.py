"""Frames: a signature is valid for one chain, kind, sender, nonce and body, and for nothing else."""

import itertools

import msgspec
import pytest

from bftnode.protocol import transactions
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.envelope import Frame, encode_frame, open_frame, peek_kind, signing_bytes
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.messages import KINDS_WITH_PAYLOAD, Kind, open_body
from tests.protocol.cluster import CHAIN, OTHER_CHAIN, Cluster
from tests.vectors.make import bodies

CLUSTER = Cluster()
BODIES = {kind: (encode(body), payload) for kind, (body, payload) in bodies(CLUSTER).items()}
EVERY_KIND = pytest.mark.parametrize("kind", Kind)


def valid(frame: Frame, cluster: Cluster = CLUSTER) -> bool:
    message = signing_bytes(cluster.members.chain_id, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
    return verify(cluster.members.public_keys[frame.sender], message, frame.signature)


@EVERY_KIND
def test_a_sealed_frame_opens_to_what_was_said(kind: Kind) -> None:
    """Seal, send, open: the same body, with a valid signature."""
    body, payload = BODIES[kind]
    frame = CLUSTER.frame(kind, 2, body, payload=payload)
    opened = open_frame(encode_frame(frame))
    assert opened == frame
    assert valid(opened)
    assert encode(open_body(opened)) == body


@pytest.mark.covers("R06", "R07", "P49")
@EVERY_KIND
def test_no_signature_is_valid_in_another_role(kind: Kind) -> None:
    """The matrix: every kind's signature tried as every other kind, on another chain, by another sender or nonce."""
    frame = CLUSTER.frame(kind, 2, *BODIES[kind][:1])
    for other in Kind:
        assert valid(msgspec.structs.replace(frame, kind=other)) is (other is kind)
    assert not valid(frame, Cluster(chain_id=OTHER_CHAIN))
    for change in ({"sender": 1}, {"boot": 2}, {"counter": 2}, {"body": frame.body + b"\x00"}):
        assert not valid(msgspec.structs.replace(frame, **change))


@pytest.mark.covers("R07", "P49")
def test_no_bytes_are_signed_for_two_purposes() -> None:
    """A peer's frame and a client's envelope start with different domains, neither a prefix of the other."""
    peer = signing_bytes(CHAIN, 1, 0, 1, 1, b"")
    assert not peer.startswith(transactions.SIGNING_DOMAIN)
    domains = [b"bftnode/v1/peer\x00", transactions.SIGNING_DOMAIN, transactions.ID_DOMAIN]
    for one, two in itertools.permutations(domains, 2):
        assert not one.startswith(two)


@pytest.mark.covers("R08", "P49")
@EVERY_KIND
def test_every_body_names_the_epoch(kind: Kind) -> None:
    """So no vote of an old membership is a vote of a new one."""
    body = open_body(CLUSTER.frame(kind, 2, BODIES[kind][0]))
    later = encode(msgspec.structs.replace(body, epoch=1))
    assert later != BODIES[kind][0]
    assert not valid(msgspec.structs.replace(CLUSTER.frame(kind, 2, BODIES[kind][0]), body=later))


@EVERY_KIND
def test_a_payload_stands_only_where_it_is_named(kind: Kind) -> None:
    """The payload is not signed: where no body names it by hash, it is refused."""
    frame = msgspec.structs.replace(CLUSTER.frame(kind, 2, BODIES[kind][0]), payload=b"\x90")
    if kind in KINDS_WITH_PAYLOAD:
        assert open_body(frame)
        return
    with pytest.raises(Refused) as caught:
        open_body(frame)
    assert caught.value.reason is Reason.CODEC_MALFORMED


def test_an_unknown_kind_is_refused_by_its_own_code() -> None:
    """Newer peers may say more: it is counted, not punished."""
    with pytest.raises(Refused) as caught:
        open_body(CLUSTER.frame(99, 0, b"\x90"))
    assert caught.value.reason is Reason.CODEC_UNKNOWN_KIND


@pytest.mark.covers("R05", "P46")
@EVERY_KIND
def test_the_signature_is_over_the_bytes_that_came(kind: Kind) -> None:
    """Another spelling of the same body has not its signature, and one that is signed as it stands is refused: so
    nobody ever verifies one value and handles another."""
    body, payload = BODIES[kind]
    frame = CLUSTER.frame(kind, 2, body, payload=payload)
    assert frame.body[1] == 0, "every body begins with the epoch"
    spelt = frame.body[:1] + b"\xcc\x00" + frame.body[2:]
    moved = Frame(frame.kind, frame.sender, frame.boot, frame.counter, spelt, frame.signature, frame.payload)
    assert valid(frame)
    assert not valid(moved)
    with pytest.raises(Refused) as refused:
        open_body(moved)
    assert refused.value.reason is Reason.CODEC_NONCANONICAL


def test_the_kind_of_a_frame_is_its_second_byte() -> None:
    """Of what is too short to be one there is none."""
    assert [peek_kind(raw) for raw in (b"", b"\x97", b"\x97\x05", b"\x97\x05\x00")] == [-1, -1, 5, 5]
