"""HELLO and ACK as words: what is refused, and that a signature holds for one connection only."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.framing import join_frames
from bftnode.protocol.handshake import (
    GREETING_BYTES_MAX,
    Ack,
    Hello,
    Refusal,
    ack_bytes,
    check_ack,
    check_hello,
    configuration_hash,
    decode_greeting,
    encode_greeting,
    make_ack,
    make_hello,
    take_frame,
)
from bftnode.protocol.membership import Parameters
from tests.protocol.cluster import OTHER_CHAIN, Cluster

CLUSTER = Cluster()
PINS = [bytes([i]) * 32 for i in range(4)]
MINE = make_hello(CLUSTER.members, 0, b"a" * 32)
THEIRS = make_hello(CLUSTER.members, 3, b"b" * 32)


def refused(action: Callable[[], Any]) -> Reason:
    with pytest.raises(Refused) as caught:
        action()
    return caught.value.reason


def test_greetings_survive_the_wire() -> None:
    """Each kind comes back as itself, and fits the bound that is checked before anything is allocated."""
    for greeting in (MINE, Ack(b"s" * 64), Refusal("id.mismatch")):
        data = encode_greeting(greeting)
        assert len(data) <= GREETING_BYTES_MAX
        assert decode_greeting(data) == greeting


def test_the_shape_of_hello_is_frozen() -> None:
    """A version that could not read another version's HELLO could not even refuse it by name."""
    hello = Hello(b"bftnode-peer", 1, 1, b"c" * 32, 3, b"d" * 32, b"e" * 32)
    expected = "9801" + "c40c" + b"bftnode-peer".hex() + "0101" + "c420" + "63" * 32 + "03"
    assert encode_greeting(hello).hex() == expected + "c420" + "64" * 32 + "c420" + "65" * 32


@pytest.mark.covers("C04")
@given(st.binary(max_size=600) | st.builds(lambda i, b: encode((i, b)), st.integers(0, 4), st.binary(max_size=80)))
def test_decoding_is_total(data: bytes) -> None:
    """Any bytes are a greeting of one spelling or a refusal."""
    with contextlib.suppress(Refused):
        assert encode_greeting(decode_greeting(data)) == data


@given(st.lists(st.binary(min_size=1, max_size=GREETING_BYTES_MAX), max_size=4), st.binary(max_size=3))
def test_frames_are_taken_one_at_a_time(frames: list[bytes], more: bytes) -> None:
    """What follows stays where it is."""
    buffer = bytearray(join_frames(frames) + more)
    assert [take_frame(buffer) for _ in frames] == frames
    assert bytes(buffer) == more
    assert take_frame(buffer) is None
    assert bytes(buffer) == more


@pytest.mark.parametrize("length", [1, 5, GREETING_BYTES_MAX])
def test_a_frame_is_taken_when_all_of_it_is_there(length: int) -> None:
    """Byte by byte towards its end, nothing is taken before."""
    whole = join_frames([b"x" * length])
    for missing in range(1, min(length, 9) + 4):
        buffer = bytearray(whole[:-missing])
        assert take_frame(buffer) is None
        assert bytes(buffer) == whole[:-missing]
    assert take_frame(bytearray(whole)) == b"x" * length


@pytest.mark.covers("W10")
@pytest.mark.parametrize("length", [0, GREETING_BYTES_MAX + 1, 2**32 - 1])
def test_absurd_lengths_are_refused(length: int) -> None:
    """Before anything is allocated or waited for."""
    buffer = bytearray(length.to_bytes(4, "big"))
    assert refused(lambda: take_frame(buffer)) is Reason.FRAME_LENGTH


@pytest.mark.covers("O08", "R06", "W05")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"magic": b"bftnode-poor"}, Reason.HANDSHAKE),
        ({"version_min": 2, "version_max": 3}, Reason.WRONG_VERSION),
        ({"version_min": 0, "version_max": 0}, Reason.WRONG_VERSION),
        ({"chain_id": OTHER_CHAIN}, Reason.WRONG_CHAIN),
        ({"configuration": configuration_hash(Parameters(window=4))}, Reason.CONFIGURATION),
        ({"member": 1}, Reason.ID_MISMATCH),
        ({"member": 0}, Reason.ID_MISMATCH),
        ({"challenge": MINE.challenge}, Reason.HANDSHAKE),
    ],
)
def test_a_hello_that_does_not_fit_is_refused_by_name(change: dict[str, Any], reason: Reason) -> None:
    """One reason per field, so that an operator knows what to look at."""
    hello = msgspec.structs.replace(THEIRS, **change)
    assert refused(lambda: check_hello(MINE, hello, 3)) is reason


@pytest.mark.covers("T13")
def test_the_highest_common_version_is_spoken() -> None:
    """Whatever the order of upgrades."""
    newer = msgspec.structs.replace(THEIRS, version_max=5)
    assert check_hello(MINE, newer, 3) == 1
    assert check_hello(newer, MINE, 0) == 1
    assert check_hello(msgspec.structs.replace(MINE, version_max=4), newer, 3) == 4


def test_both_sides_accept_each_other() -> None:
    """The honest case, in both directions."""
    for mine, theirs in ((MINE, THEIRS), (THEIRS, MINE)):
        me, other = mine.member, theirs.member
        assert check_hello(mine, theirs, other) == 1
        ack = make_ack(theirs, mine, PINS[other], PINS[me], CLUSTER.signers[other])
        check_ack(ack, mine, theirs, PINS[me], PINS[other], CLUSTER.members.public_keys[other], verify)


@pytest.mark.covers("W05", "R01")
def test_an_ack_holds_for_one_connection_only() -> None:
    """Another challenge, member, version offer, cluster, certificate or key on either side, or a mirror: no."""
    key = CLUSTER.members.public_keys[3]
    good = make_ack(THEIRS, MINE, PINS[3], PINS[0], CLUSTER.signers[3])
    check_ack(good, MINE, THEIRS, PINS[0], PINS[3], key, verify)
    changes: list[dict[str, Any]] = [
        {"challenge": b"x" * 32},
        {"member": 2},
        {"version_max": 2},
        {"chain_id": OTHER_CHAIN},
        {"configuration": b"x" * 32},
    ]
    others = [(msgspec.structs.replace(MINE, **change), THEIRS, PINS[0], PINS[3], key) for change in changes]
    others += [(MINE, msgspec.structs.replace(THEIRS, **change), PINS[0], PINS[3], key) for change in changes]
    others += [
        (MINE, THEIRS, PINS[1], PINS[3], key),
        (MINE, THEIRS, PINS[0], PINS[1], key),
        (MINE, THEIRS, PINS[0], PINS[3], CLUSTER.members.public_keys[2]),
        (THEIRS, MINE, PINS[3], PINS[0], key),
    ]
    for case in others:
        assert refused(lambda case=case: check_ack(good, *case, verify)) is Reason.ID_MISMATCH
    mirrored = make_ack(MINE, THEIRS, PINS[0], PINS[3], CLUSTER.signers[0])
    mine_back = (MINE, THEIRS, PINS[0], PINS[3], CLUSTER.members.public_keys[0])
    assert refused(lambda: check_ack(mirrored, *mine_back, verify)) is Reason.ID_MISMATCH


def test_what_an_ack_signs_is_of_fixed_width_in_a_domain_of_its_own() -> None:
    """No vote, frame or transaction can be passed off as an ACK."""
    data = ack_bytes(MINE, THEIRS, PINS[0], PINS[3])
    assert data.startswith(b"bftnode/v1/handshake\x00")
    assert len(data) == 21 + 5 * 32


def test_every_parameter_counts() -> None:
    """Two members that differ in any one of them do not talk."""
    base = Parameters()
    fields = msgspec.structs.asdict(base)
    hashes = {configuration_hash(msgspec.structs.replace(base, **{name: fields[name] + 1})) for name in fields}
    assert len(hashes | {configuration_hash(base)}) == len(fields) + 1


@pytest.mark.covers("A19")
def test_a_refusal_is_read_as_one_of_our_reasons() -> None:
    """What the peer wrote never reaches a log."""
    assert Refusal("tls.expired").known_reason() is Reason.TLS_EXPIRED
    assert Refusal("\x1b[2J now root").known_reason() is Reason.HANDSHAKE
