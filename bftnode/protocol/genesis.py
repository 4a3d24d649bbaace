"""The genesis: the one file that says who the members are. Its hash is the chain id, inside every signature.

Kept as TOML, assembled from public parts that each organisation made by itself. What counts towards the chain
id are names, keys, transport pins, first administrators, the application, the kinds of cosignature and the parameters;
addresses do not: a machine may move without a new cluster, and the pins protect against the wrong one.

A member's log keys are not the key that it votes with: a checkpoint is for the whole world and its tools, a vote for
the members (decision 014).
"""

import base64
import hashlib
import tomllib
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bftnode.protocol.codec import UInt, encode
from bftnode.protocol.cosigning import CheckpointKeys
from bftnode.protocol.ed25519 import check_public_key
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.tlog.policy import MemberKeys, Policy, cluster_policy

GENESIS_DOMAIN = b"bftnode/v1/genesis\x00"
GENESIS_BYTES_MAX = 1024 * 1024

# tomllib raises a plain ValueError for an integer of more digits than Python converts.
_UNREADABLE = (ValueError, msgspec.ValidationError, RecursionError)

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")]
Address = Annotated[str, Meta(pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}\Z", max_length=260)]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Hex1312 = Annotated[str, Meta(pattern=r"^[0-9a-f]{2624}\Z")]

CosignatureKind = Literal["ed25519", "ml-dsa-44"]
"""The types 0x04 and 0x06 of C2SP tlog-cosignature."""


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One organisation's public part."""

    name: Name
    public_key: Hex32  # Ed25519: what it signs with as a replica
    log_key: Hex32  # Ed25519: what it signs and cosigns checkpoints of the log with
    tls_certificate: Annotated[str, Meta(max_length=8192)]  # PEM, self-signed, ECDSA P-256: what its connections show
    peer_address: Address  # host:port where the other members reach it
    client_address: Address  # host:port where clients reach it
    ml_dsa_key: Hex1312 | None = None  # ML-DSA-44: as log_key; in a genesis only where it is used


class ParametersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[parameters] of the file; see membership.Parameters for what each one bounds."""

    block_transactions_max: UInt = 2000
    block_bytes_max: UInt = 1024 * 1024
    window: UInt = 8
    checkpoint_interval: UInt = 128
    clock_skew_ms: UInt = 30_000
    clients_max: UInt = 10_000


class Genesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `members` are sorted by public key; a member's index is its place there."""

    name: Name
    application: Name
    administrators: Annotated[list[Hex32], Meta(min_length=1, max_length=64)]
    members: Annotated[list[Member], Meta(min_length=1, max_length=64)]
    version: Annotated[int, Meta(ge=1, le=1)] = 1
    parameters: ParametersFile = ParametersFile()
    cosignatures: Annotated[list[CosignatureKind], Meta(min_length=1, max_length=2)] = msgspec.field(
        default_factory=lambda: ["ed25519"]
    )

    def chain_id(self) -> bytes:
        """SHA-256 over the canonical encoding of everything but the addresses."""
        content = (
            self.version,
            self.name,
            self.application,
            tuple(bytes.fromhex(key) for key in self.administrators),
            tuple(
                (
                    member.name,
                    bytes.fromhex(member.public_key),
                    bytes.fromhex(member.log_key),
                    bytes.fromhex(member.ml_dsa_key or ""),
                    certificate_pin(member.tls_certificate),
                )
                for member in self.members
            ),
            msgspec.structs.astuple(self.parameters),
            tuple(self.cosignatures),
        )
        return hashlib.sha256(GENESIS_DOMAIN + encode(content)).digest()

    def membership(self) -> Membership:
        """Raises Refused(CONFIGURATION | AUTH_WEAK_KEY)."""
        keys = tuple(bytes.fromhex(member.public_key) for member in self.members)
        parameters = Parameters(**msgspec.structs.asdict(self.parameters))
        return Membership(self.chain_id(), 0, keys, parameters)

    def member_keys(self) -> list[MemberKeys]:
        """Everybody's public keys as a policy names them."""
        ed25519 = "ed25519" in self.cosignatures
        return [
            MemberKeys(
                member.name,
                bytes.fromhex(member.public_key),
                bytes.fromhex(member.log_key),
                bytes.fromhex(member.log_key) if ed25519 else None,
                bytes.fromhex(member.ml_dsa_key) if member.ml_dsa_key else None,
            )
            for member in self.members
        ]

    def checkpoint_keys(self) -> CheckpointKeys:
        return CheckpointKeys(self.chain_id(), self.member_keys())

    def policy(self) -> Policy:
        """The cluster as a policy: what a stranger needs besides a receipt."""
        return cluster_policy(self.chain_id(), self.member_keys())

    def administrator_keys(self) -> tuple[bytes, ...]:
        return tuple(bytes.fromhex(key) for key in self.administrators)


def certificate_pin(pem: str) -> bytes:
    """SHA-256 of the DER inside a PEM certificate: what TLS peers are compared with.

    Raises Refused(CONFIGURATION).
    """
    return hashlib.sha256(certificate_der(pem)).digest()


def certificate_der(pem: str) -> bytes:
    """Raises Refused(CONFIGURATION)."""
    # Spaces and tabs only: what else Python strips, a TOML file has no room for, and the genesis is written again.
    lines = [line.strip(" \t") for line in pem.strip(" \t\n").split("\n")]
    if len(lines) < 3 or lines[0] != "-----BEGIN CERTIFICATE-----" or lines[-1] != "-----END CERTIFICATE-----":
        raise Refused(Reason.CONFIGURATION, "tls_certificate is not one PEM certificate")
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except ValueError:  # also what is not ASCII, which is no binascii.Error
        raise Refused(Reason.CONFIGURATION, "tls_certificate is not one PEM certificate") from None


def make_genesis(
    name: str,
    application: str,
    administrators: list[str],
    members: list[Member],
    parameters: ParametersFile,
    cosignatures: Sequence[CosignatureKind] = ("ed25519",),
) -> Genesis:
    """A checked genesis with its members in order. Raises Refused(CONFIGURATION | AUTH_WEAK_KEY)."""
    ordered = sorted(members, key=lambda member: member.public_key)
    if "ml-dsa-44" not in cosignatures:
        ordered = [msgspec.structs.replace(member, ml_dsa_key=None) for member in ordered]
    kinds = sorted(set(cosignatures))
    genesis = Genesis(name, application, sorted(set(administrators)), ordered, 1, parameters, kinds)
    check_genesis(genesis)
    return genesis


def check_genesis(genesis: Genesis) -> None:
    """Raises Refused(CONFIGURATION | AUTH_WEAK_KEY) naming what cannot work."""
    genesis.membership()
    for field in ("name", "peer_address", "client_address"):
        values = [getattr(member, field) for member in genesis.members]
        if len(set(values)) != len(values):
            raise Refused(Reason.CONFIGURATION, f"two members have the same {field}")
    if len({certificate_pin(member.tls_certificate) for member in genesis.members}) != len(genesis.members):
        raise Refused(Reason.CONFIGURATION, "two members have the same tls_certificate")
    if genesis.cosignatures != sorted(set(genesis.cosignatures)):
        raise Refused(Reason.CONFIGURATION, "cosignatures are sorted and differ")
    for member in genesis.members:
        if (member.ml_dsa_key is not None) != ("ml-dsa-44" in genesis.cosignatures):
            detail = f"{member.name}: a member has an ml_dsa_key where cosignatures name ml-dsa-44, and only there"
            raise Refused(Reason.CONFIGURATION, detail)
        check_public_key(bytes.fromhex(member.log_key))
    keys = [key for member in genesis.members for key in (member.public_key, member.log_key, member.ml_dsa_key) if key]
    if len(set(keys)) != len(keys):
        raise Refused(Reason.CONFIGURATION, "two keys are the same: members have their own, and vote with no log key")
    if genesis.administrators != sorted(set(genesis.administrators)):
        raise Refused(Reason.CONFIGURATION, "administrators are sorted and differ")
    for key in genesis.administrator_keys():
        check_public_key(key)


def parse_genesis(text: str) -> Genesis:
    """The genesis in a TOML text. Raises Refused(CONFIGURATION | AUTH_WEAK_KEY)."""
    if len(text) > GENESIS_BYTES_MAX:
        raise Refused(Reason.CONFIGURATION, f"a genesis is at most {GENESIS_BYTES_MAX} bytes")
    try:
        genesis = msgspec.convert(tomllib.loads(text), Genesis, strict=True)
    except _UNREADABLE as error:
        raise Refused(Reason.CONFIGURATION, _one_line(error)) from None
    check_genesis(genesis)
    return genesis


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def write_genesis(genesis: Genesis) -> str:
    """The TOML text of a genesis; `parse_genesis` gives it back."""
    kinds = ", ".join(f'"{kind}"' for kind in genesis.cosignatures)
    lines = [
        "# The genesis of a bftnode cluster: every member has the same file. Its hash is the chain id.",
        f"# chain id: {genesis.chain_id().hex()}",
        f"version = {genesis.version}",
        f'name = "{genesis.name}"',
        f'application = "{genesis.application}"',
        f"cosignatures = [{kinds}]",
        "administrators = [",
        *(f'  "{key}",' for key in genesis.administrators),
        "]",
        "",
        "[parameters]",
        *(f"{field} = {value}" for field, value in msgspec.structs.asdict(genesis.parameters).items()),
    ]
    for member in genesis.members:
        lines += ["", "[[members]]", *_member_lines(member)]
    return "\n".join(lines) + "\n"


def _member_lines(member: Member) -> list[str]:
    ml_dsa = [] if member.ml_dsa_key is None else [f'ml_dsa_key = "{member.ml_dsa_key}"']
    return [
        f'name = "{member.name}"',
        f'public_key = "{member.public_key}"',
        f'log_key = "{member.log_key}"',
        *ml_dsa,
        f'peer_address = "{member.peer_address}"',
        f'client_address = "{member.client_address}"',
        f'tls_certificate = """\n{member.tls_certificate.strip()}\n"""',
    ]


def write_member(member: Member) -> str:
    """The public part that one organisation hands to the others, as TOML."""
    header = "# Public part of one bftnode member. Safe to publish; compare its fingerprint over another channel."
    return "\n".join([header, *_member_lines(member)]) + "\n"


def parse_member(text: str) -> Member:
    """Raises Refused(CONFIGURATION | AUTH_WEAK_KEY)."""
    try:
        member = msgspec.convert(tomllib.loads(text), Member, strict=True)
    except _UNREADABLE as error:
        raise Refused(Reason.CONFIGURATION, _one_line(error)) from None
    check_public_key(bytes.fromhex(member.public_key))
    check_public_key(bytes.fromhex(member.log_key))
    certificate_pin(member.tls_certificate)
    return member
