"""Policies (c2sp.org/tlog-policy): which log, which witnesses, and how many of them make a checkpoint valid.

The trust anchor of a stranger: this file and a receipt, nothing else. A cluster's policy has one log line a member, all
of the cluster's one origin, each member as a witness, and a group of a quorum of them. Comments that begin with
`#bftnode` add what the format has no lines for and other tools pass over: the chain id and the members' consensus keys,
by which quick receipts are checked (docs/receipts.md, "The policy").
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from bftnode.protocol import quorums
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.tlog import cosignatures, notes
from bftnode.protocol.tlog.checkpoints import Checkpoint, cosigner_name, origin_of, parse_signed_checkpoint
from bftnode.protocol.tlog.encoding import from_decimal, malformed
from bftnode.protocol.tlog.notes import Note, VerifierKey, parse_verifier_key

POLICY_BYTES_MAX = 1024 * 1024
LINES_MAX = 1000
"""A longer policy is refused. One of 64 members with both kinds of keys has some 350 lines."""

NONE = "none"
"""The quorum that asks for no cosignature."""

_REMARK = "#bftnode"


class Log(NamedTuple):
    """A key whose checkpoints are accepted, for the origin that is its name."""

    key: VerifierKey
    url: str = ""


class Witness(NamedTuple):
    """`name` is of this file only; the key has a name of its own."""

    name: str
    key: VerifierKey
    url: str = ""


class Group(NamedTuple):
    """Witnesses when at least `threshold` of its members (witnesses or groups) do."""

    name: str
    threshold: int
    members: tuple[str, ...]


class Consensus(NamedTuple):
    """What quick receipts are checked by: the cluster, and its members' keys in the order of their indices."""

    chain_id: bytes
    public_keys: tuple[bytes, ...]


class Policy(NamedTuple):
    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str
    consensus: Consensus | None = None


class Verified(NamedTuple):
    """A checkpoint that the policy calls valid; when each witness of it cosigned, in seconds since 1970."""

    checkpoint: Checkpoint
    cosigned: dict[str, int]


class MemberKeys(NamedTuple):
    """The public keys of one member. `ed25519` and `ml_dsa_44` are what it cosigns with: either or both."""

    name: str
    consensus: bytes
    log: bytes
    ed25519: bytes | None
    ml_dsa_44: bytes | None = None

    def log_key(self, chain_id: bytes) -> VerifierKey:
        return VerifierKey(origin_of(chain_id), notes.ED25519, self.log)

    def cosigning_keys(self, chain_id: bytes) -> list[VerifierKey]:
        name = cosigner_name(chain_id, self.name)
        both = ((cosignatures.ED25519, self.ed25519), (cosignatures.ML_DSA_44, self.ml_dsa_44))
        return [VerifierKey(name, kind, key) for kind, key in both if key is not None]


_KIND_NAMES = {cosignatures.ED25519: "ed25519", cosignatures.ML_DSA_44: "ml-dsa-44"}
_QUORUM_GROUP = "cluster.quorum"  # no member is called so: their names have no dots


def cluster_policy(chain_id: bytes, members: Sequence[MemberKeys]) -> Policy:
    """The policy of a cluster; `members` in the order of the genesis.

    A member that cosigns by both kinds of keys has witnessed by both together: a forger of either is not enough.
    """
    witnesses: list[Witness] = []
    groups: list[Group] = []
    names = []
    for member in members:
        keys = member.cosigning_keys(chain_id)
        assert keys, "a member cosigns"
        own = [Witness(f"{member.name}.{_KIND_NAMES[key.kind]}", key) for key in keys]
        witnesses += own
        if len(own) > 1:
            groups.append(Group(f"{member.name}.both", len(own), tuple(one.name for one in own)))
        names.append(groups[-1].name if len(own) > 1 else own[0].name)
    groups.append(Group(_QUORUM_GROUP, quorums.quorum(len(members)), tuple(names)))
    return Policy(
        tuple(Log(member.log_key(chain_id)) for member in members),
        tuple(witnesses),
        tuple(groups),
        _QUORUM_GROUP,
        Consensus(chain_id, tuple(member.consensus for member in members)),
    )


def write_policy(policy: Policy) -> str:
    """The file, which `parse_policy` and other people's tools read."""
    lines = [
        "# The policy of a transparency log (c2sp.org/tlog-policy): a checkpoint, and what is proved by it, is valid",
        "# if one of these logs signed it and the witnesses of the quorum cosigned it.",
        *(" ".join(filter(None, ("log", log.key.text, log.url))) for log in policy.logs),
        "",
        *(" ".join(filter(None, ("witness", one.name, one.key.text, one.url))) for one in policy.witnesses),
        "",
        *(f"group {group.name} {group.threshold} {' '.join(group.members)}" for group in policy.groups),
        f"quorum {policy.quorum}",
    ]
    if policy.consensus is not None:
        lines += [
            "",
            "# For quick receipts, which c2sp.org has no lines for: the cluster, and by which keys its members vote.",
            f"{_REMARK} chain {policy.consensus.chain_id.hex()}",
            *(f"{_REMARK} member {key.hex()}" for key in policy.consensus.public_keys),
        ]
    return "\n".join(lines) + "\n"


def parse_policy(raw: bytes) -> Policy:
    """The policy in these bytes. UTF-8 only, which c2sp.org recommends. Raises Refused(NOTE_MALFORMED)."""
    if len(raw) > POLICY_BYTES_MAX:
        raise malformed(f"a policy is at most {POLICY_BYTES_MAX} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise malformed("a policy is UTF-8") from None
    if any((mark < " " and mark not in "\t\n") or mark == "\x7f" for mark in text):
        raise malformed("a policy has no control characters but tabs and newlines")
    lines = text.split("\n")
    if len(lines) > LINES_MAX:
        raise malformed(f"a policy has at most {LINES_MAX} lines")
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        try:
            reader.take([word for word in re.split("[ \t]+", line) if word])
        except Refused as refused:
            raise malformed(f"line {number}: {refused.detail}") from None
    return reader.policy()


class _Reader:
    """What the lines so far have defined."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.grouped: set[str] = set()
        self.quorum: str | None = None
        self.chain_id: bytes | None = None
        self.consensus: list[bytes] = []

    def take(self, words: list[str]) -> None:
        match words:
            case [keyword, "chain", digits] if keyword == _REMARK and self.chain_id is None:
                self.chain_id = _hash(digits)
            case [keyword, "member", digits] if keyword == _REMARK:
                self.consensus.append(_hash(digits))
            case [keyword, *_] if keyword == _REMARK:
                raise malformed("a remark of bftnode that is unknown, or the second chain")
            case []:
                pass
            case [first, *_] if first.startswith("#"):
                pass
            case ["log", key, *url] if len(url) <= 1:
                self._log(Log(parse_verifier_key(key), *url))
            case ["witness", name, key, *url] if len(url) <= 1:
                self._witness(Witness(name, parse_verifier_key(key), *url))
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, tuple(members))
            case ["quorum", name]:
                if self.quorum is not None:
                    raise malformed("a second quorum")
                if name != NONE and not self._defined(name):
                    raise malformed("the quorum is not defined above")
                self.quorum = name
            case _:
                raise malformed("neither a log, nor a witness, a group, a quorum or a comment")

    def _defined(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def _new_name(self, name: str) -> None:
        if name == NONE or self._defined(name):
            raise malformed("a name that has another meaning already")

    def _log(self, log: Log) -> None:
        if log.key.kind not in (notes.ED25519, *cosignatures.KEY_BYTES) or not _fits(log.key):
            raise malformed("a log's key is of a type that is not known here")
        if any(other.key.public_key == log.key.public_key for other in self.logs):
            raise malformed("a log's key that another log has")
        self.logs.append(log)

    def _witness(self, witness: Witness) -> None:
        self._new_name(witness.name)
        if witness.key.kind not in cosignatures.KEY_BYTES or not _fits(witness.key):
            raise malformed("a witness's key is of a type that is not known here")
        if any(other.key.public_key == witness.key.public_key for other in self.witnesses.values()):
            raise malformed("a witness's key that another witness has")
        self.witnesses[witness.name] = witness

    def _group(self, name: str, threshold: str, members: tuple[str, ...]) -> None:
        self._new_name(name)
        k = {"any": 1, "all": len(members)}.get(threshold)
        if k is None:
            k = from_decimal(threshold, "the threshold of a group")
        if not 1 <= k <= len(members):
            raise malformed("a group's threshold is from 1 to the number of its members")
        for member in members:
            if not self._defined(member):
                raise malformed("a group's member is not defined above")
            if member in self.grouped:
                raise malformed("a name is a member of at most one group, once")
            self.grouped.add(member)
        self.groups[name] = Group(name, k, members)

    def policy(self) -> Policy:
        if self.quorum is None:
            raise malformed("a policy has a quorum line")
        consensus = None
        if self.chain_id is not None or self.consensus:
            count = len(self.consensus)
            if self.chain_id is None or not quorums.MEMBERS_MIN <= count <= quorums.MEMBERS_MAX:
                raise malformed("the remarks of bftnode name a chain and 4 to 64 members")
            if self.consensus != sorted(set(self.consensus)):
                raise malformed("the members' keys are in ascending order and differ")
            consensus = Consensus(self.chain_id, tuple(self.consensus))
        witnesses, groups = tuple(self.witnesses.values()), tuple(self.groups.values())
        return Policy(tuple(self.logs), witnesses, groups, self.quorum, consensus)


def _fits(key: VerifierKey) -> bool:
    return len(key.public_key) == cosignatures.KEY_BYTES.get(key.kind, 32)


def _hash(digits: str) -> bytes:
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise malformed("not 64 lower-case hexadecimal digits")
    return bytes.fromhex(digits)


def quorum_reached(policy: Policy, cosigned: Collection[str]) -> bool:
    """Whether these witnesses, by the names of the policy, are its quorum."""
    if policy.quorum == NONE:
        return True
    witnessed = set(cosigned)
    for group in policy.groups:  # members are defined above their groups
        if sum(member in witnessed for member in group.members) >= group.threshold:
            witnessed.add(group.name)
    return policy.quorum in witnessed


def check_checkpoint(raw: bytes, policy: Policy) -> Verified:
    """The signed checkpoint in these bytes, if the policy calls it valid.

    A signature of a key that the policy does not know counts for nothing; an invalid one of a key that it knows refutes
    the whole note. Raises Refused(NOTE_MALFORMED | NOTE_UNPROVED).
    """
    checkpoint, note = parse_signed_checkpoint(raw)
    logs = [log.key for log in policy.logs if log.key.name == checkpoint.origin]
    if not logs:
        raise Refused(Reason.NOTE_UNPROVED, "the policy has no log of this checkpoint's origin")
    if not [key for key in logs if _signed_at(checkpoint, note, key) is not None]:
        raise Refused(Reason.NOTE_UNPROVED, "no log of the policy signed the checkpoint")
    times = {witness.name: _signed_at(checkpoint, note, witness.key) for witness in policy.witnesses}
    cosigned = {name: time for name, time in times.items() if time is not None}
    if not quorum_reached(policy, cosigned):
        raise Refused(
            Reason.NOTE_UNPROVED, f"the quorum is not reached: {len(cosigned)} of {len(times)} witnesses cosigned"
        )
    return Verified(checkpoint, cosigned)


def _signed_at(checkpoint: Checkpoint, note: Note, key: VerifierKey) -> int | None:
    """When `key` signed, 0 for a signature without a time; None: it did not. Raises Refused(NOTE_UNPROVED)."""
    when = None
    for signature in note.signatures:
        if key.made(signature):
            if key.kind == notes.ED25519:
                notes.verify_text(note.text, signature, key)
                when = max(when or 0, 0)
            else:
                when = max(when or 0, cosignatures.verify_cosignature(checkpoint, signature, key))
    return when
