"""What two replicas say to each other before either believes or sends anything else: HELLO, then ACK. Pure.

TLS has shown by now that the other side holds the transport key pinned for some member. HELLO says which
cluster, version, configuration and member this side speaks for; ACK is that member's Ed25519 signature over both
HELLOs' challenges, both members and both certificates: the consensus identity is bound to this very connection,
and a stolen transport key alone opens nothing (faults.md W05, O09). Each side signs its own values before the
other's, so an ACK sent back to its author verifies for nobody. A refusal is said in one typed frame before the
connection closes, so that both operators read the reason.

The shape of HELLO never changes: a later version says more after the ACK. Implements "Handshake" of
docs/operations.md; the I/O around it is net/greeting.py.
"""

import hashlib
from typing import Annotated

from msgspec import Meta

from bftnode.protocol.codec import Hash32, MemberIndex, Signature, UInt, Wire, decode, encode
from bftnode.protocol.ed25519 import Signer, Verifier
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership, Parameters

ACK_DOMAIN = b"bftnode/v1/handshake\x00"
CONFIGURATION_DOMAIN = b"bftnode/v1/configuration\x00"
MAGIC = b"bftnode-peer"
VERSION_MIN = 1
VERSION_MAX = 1
GREETING_BYTES_MAX = 512
"""A HELLO is under 200 bytes; a longer declared length before the ACK closes the connection."""


class Hello(Wire, frozen=True, tag=1):
    """Who speaks, for which cluster, in which versions; and 32 random bytes that the other's ACK must sign."""

    magic: Annotated[bytes, Meta(min_length=len(MAGIC), max_length=len(MAGIC))]
    version_min: UInt
    version_max: UInt
    chain_id: Hash32
    member: MemberIndex
    configuration: Hash32
    challenge: Hash32


class Ack(Wire, frozen=True, tag=2):
    """The member's signature over this connection: see `ack_bytes`."""

    signature: Signature


class Refusal(Wire, frozen=True, tag=3):
    """Why the sender closes: the value of a Reason."""

    reason: Annotated[str, Meta(max_length=64)]

    def known_reason(self) -> Reason:
        """The reason, or HANDSHAKE for one that this version does not know: never the peer's own text."""
        try:
            return Reason(self.reason)
        except ValueError:
            return Reason.HANDSHAKE


Greeting = Hello | Ack | Refusal


def decode_greeting(data: bytes) -> Greeting:
    """Raises Refused(CODEC_*)."""
    return decode(data, Greeting, GREETING_BYTES_MAX)  # type: ignore[arg-type]  # mypy has no type for a union as value


def encode_greeting(greeting: Greeting) -> bytes:
    return encode(greeting)


def take_frame(buffer: bytearray) -> bytes | None:
    """The first whole greeting frame of `buffer`, taken out of it; None while it is incomplete.

    One at a time, unlike framing.FrameReader: what follows the ACK is bounded otherwise. Raises Refused(FRAME_LENGTH).
    """
    if len(buffer) < 4:
        return None
    length = int.from_bytes(buffer[:4], "big")
    if not 0 < length <= GREETING_BYTES_MAX:
        raise Refused(Reason.FRAME_LENGTH, f"a greeting of {length} bytes; the limit is {GREETING_BYTES_MAX}")
    if len(buffer) - 4 < length:
        return None
    frame = bytes(buffer[4 : 4 + length])
    del buffer[: 4 + length]
    return frame


def configuration_hash(parameters: Parameters) -> bytes:
    """SHA-256 of what all members must have configured alike (faults.md O08)."""
    return hashlib.sha256(CONFIGURATION_DOMAIN + encode(parameters)).digest()


def make_hello(membership: Membership, me: int, challenge: bytes) -> Hello:
    """My HELLO; `challenge` is 32 fresh random bytes."""
    configuration = configuration_hash(membership.parameters)
    return Hello(MAGIC, VERSION_MIN, VERSION_MAX, membership.chain_id, me, configuration, challenge)


def check_hello(mine: Hello, theirs: Hello, proven: int) -> int:
    """The version to speak: the highest that both know. `proven` is the member whose pinned certificate TLS showed.

    Raises Refused(HANDSHAKE | WRONG_VERSION | WRONG_CHAIN | CONFIGURATION | ID_MISMATCH).
    """
    if theirs.magic != MAGIC:
        raise Refused(Reason.HANDSHAKE, "not a bftnode peer")
    version = min(mine.version_max, theirs.version_max)
    if version < max(mine.version_min, theirs.version_min):
        raise Refused(
            Reason.WRONG_VERSION,
            f"they speak versions {theirs.version_min} to {theirs.version_max}, "
            f"we {mine.version_min} to {mine.version_max}",
        )
    if theirs.chain_id != mine.chain_id:
        raise Refused(Reason.WRONG_CHAIN, f"they have cluster {theirs.chain_id.hex()}, we {mine.chain_id.hex()}")
    if theirs.configuration != mine.configuration:
        raise Refused(Reason.CONFIGURATION, "their parameters differ from ours")
    if theirs.member != proven:
        raise Refused(Reason.ID_MISMATCH, f"claims to be member {theirs.member} with member {proven}'s certificate")
    if theirs.challenge == mine.challenge:
        raise Refused(Reason.HANDSHAKE, "our own challenge came back")
    return version


def ack_bytes(signed_by: Hello, signed_for: Hello, pin_by: bytes, pin_for: bytes) -> bytes:
    """What an ACK signs: both HELLOs (of canonical encoding) and both certificates, the author's first.

    `pin_by` and `pin_for` are SHA-256 of the certificates (DER) that the author and the addressee showed. The
    HELLOs are signed by their hashes: fixed widths, so no two connections share these bytes.
    """
    hashes = [hashlib.sha256(encode(hello)).digest() for hello in (signed_by, signed_for)]
    return ACK_DOMAIN + signed_by.chain_id + b"".join(hashes) + pin_by + pin_for


def make_ack(mine: Hello, theirs: Hello, my_pin: bytes, their_pin: bytes, sign: Signer) -> Ack:
    """My answer to a HELLO that `check_hello` let pass."""
    return Ack(sign(ack_bytes(mine, theirs, my_pin, their_pin)))


def check_ack(
    ack: Ack, mine: Hello, theirs: Hello, my_pin: bytes, their_pin: bytes, public_key: bytes, verify: Verifier
) -> None:
    """Raises Refused(ID_MISMATCH) unless the member of `theirs` signed for this connection."""
    if not verify(public_key, ack_bytes(theirs, mine, their_pin, my_pin), ack.signature):
        raise Refused(Reason.ID_MISMATCH, f"not signed by the key of member {theirs.member}")
