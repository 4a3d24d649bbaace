"""What is read from files: genesis, members' public parts, configuration, nonces, keys, VERSION, proof bundles."""

import json
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from bftnode import verify_bundle
from bftnode.client.nonces import BLOCK, FileNonces
from bftnode.node.config import default_toml, load_config
from bftnode.node.identity import load_seed
from bftnode.node.policies import logs_to_witness, witnesses_to_ask
from bftnode.protocol import ed25519, mldsa
from bftnode.protocol.bundle import write_bundle
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate
from bftnode.protocol.codec import Wire, decoder_of, encode
from bftnode.protocol.envelope import encode_frame, open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.forensics import Testimony, investigate
from bftnode.protocol.genesis import Genesis, parse_genesis, parse_member, write_genesis, write_member
from bftnode.protocol.messages import Accusation, ForkProof, Kind, open_body
from bftnode.protocol.tlog.notes import VerifierKey
from bftnode.storage.directory import VERSION_NAME, identity_of
from nights.fuzz import texts, told
from nights.fuzz.cluster import CHAIN, MEMBERS, SIGNERS, VECTORS, golden, sign_again
from nights.fuzz.oracle import Target, attempt, holds, passes
from nights.fuzz.targets.logs import POLICIES
from nights.fuzz.targets.peers import AGREE, ONE_SPELLING
from nights.fuzz.trees import mutator

NONCE_MAX = 2**63 - 1


@cache
def _kept_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bftnode-fuzz-")


def folder() -> str:
    """A directory of this process, which goes with it."""
    return _kept_folder().name


def _file(name: str, data: bytes) -> Path:
    path = Path(folder(), name)
    path.write_bytes(data)
    path.chmod(0o600)
    return path


# ---- genesis


def check_genesis_text(data: bytes) -> bool:
    """As a genesis, and as a member's public part; the verifier that stands alone computes the same chain id."""
    text = data.decode("utf-8", errors="replace")
    genesis = attempt(Refused, parse_genesis, text)
    alone = attempt(verify_bundle.NotProved, verify_bundle.read_genesis, text)
    if genesis is not None:
        written = write_genesis(genesis)
        again = attempt(Refused, parse_genesis, written)
        holds(again is not None and write_genesis(again) == written, ONE_SPELLING, "of a genesis that was written")
        holds(again is None or again.chain_id() == genesis.chain_id(), AGREE, "the chain id, written again")
        holds(alone is not None and alone.chain_id == genesis.chain_id(), AGREE, "the chain id of a genesis")
        holds(len(genesis.membership().public_keys) == len(genesis.policy().logs), AGREE, "how many members there are")
        return True
    member = attempt(Refused, parse_member, text)
    if member is None:
        return False
    once = attempt(Refused, parse_member, write_member(member))
    holds(once is not None and write_member(once) == write_member(member), ONE_SPELLING, "of a member that was written")
    return True


def seeds_of_genesis() -> list[bytes]:
    """Three that are good, and one for every rule that a genesis or a member may break."""
    text = (VECTORS / "genesis.toml").read_text(encoding="utf-8")
    genesis = parse_genesis(text)
    both = genesis_with_ml_dsa(genesis)
    only = write_genesis(msgspec.structs.replace(both, cosignatures=["ml-dsa-44"]))
    member = write_member(genesis.members[1])
    first, *others = text.split("[[members]]")
    weak = "01" + "00" * 31
    keys = [key for one in genesis.members for key in (one.public_key, one.log_key)]
    wrong = [
        "a = " + "[" * 3000,
        "a = " + "{a=" * 1500,
        text.replace("window = 8", f"window = {2**64}"),
        text.replace("window = 8", "window = 0"),
        "[[members]]".join([first, *others[:3]]),
        "[[members]]".join([first, *others[::-1]]),
        text.replace('"org-1"', '"org-0"'),
        text.replace("node1.example:7000", "node0.example:7000"),
        text.replace("0001\n", "0000\n"),
        text.replace('["ed25519"]', '["ed25519", "ed25519"]'),
        text.replace('["ed25519"]', '["ml-dsa-44"]'),
        text.replace(keys[1], weak),
        text.replace(keys[1], keys[2]),
        text.replace(genesis.administrators[0], weak),
        text.replace("administrators = [", f'administrators = ["{"f" * 64}",'),
        text.replace("BEGIN CERT", "BEGIN CART"),
        text.replace("0001\n", "!\n"),
        text + "#" * 1024 * 1024,
        member.replace(genesis.members[1].public_key, weak),
        member.replace("BEGIN CERT", "BEGIN CART"),
    ]
    return [one.encode() for one in (text, write_genesis(both), only, member, *wrong)]


def genesis_with_ml_dsa(genesis: Genesis) -> Genesis:
    """The same cluster, whose members cosign in both kinds."""
    members = [
        msgspec.structs.replace(member, ml_dsa_key=f"{number:02x}" * 1312)
        for number, member in enumerate(genesis.members)
    ]
    return msgspec.structs.replace(genesis, members=members, cosignatures=["ed25519", "ml-dsa-44"])


# ---- configuration


def check_config(data: bytes) -> bool:
    """A node.toml, overridden by what stands after a line of dashes as NAME=VALUE, from the environment and flags."""
    text, _, above = data.partition(b"\n----\n")
    lines = [line.partition("=") for line in above.decode("utf-8", errors="replace").split("\n") if line]
    environment = {f"BFTNODE_{name}": value for name, _, value in lines if not name.startswith("-")}
    flags = {name.removeprefix("-"): value for name, _, value in lines if name.startswith("-")}
    path = _file("node.toml", text) if text else None
    loaded = attempt(Refused, load_config, path, environment, flags)
    if loaded is None:
        return False
    config = loaded.config
    holds(
        config.timing.view_change_timeout_ms <= config.timing.view_change_timeout_max_ms, "a configuration fits", "not"
    )
    holds(config.net_limits().faults_max and config.api_limits(), "a configuration can be used", "it cannot")
    return True


def seeds_of_config() -> list[bytes]:
    short = b'[node]\nname = "org-1"\n[peer]\nlisten = "0.0.0.0:7000"\n[timing]\nview_change_timeout_ms = 10\n'
    above = b"\n----\nPEER__BACKOFF_MAX_MS=77\nNODE__LOG_LEVEL=debug\n-client.requests_max=3\n"
    witness = b'[web]\nlisten = "127.0.0.1:7002"\n[witness]\nlogs = "/x"\nask = "/y"\n'
    sections = default_toml().encode().split(b"\n\n")
    together = [
        b'[peer]\nlisten = "x:0"\n',
        b"[timing]\nview_change_timeout_ms = 9000\nview_change_timeout_max_ms = 10\n",
        b'[witness]\nlogs = "/x"\n',
        b"[peer]\nread_idle_timeout_ms = 1000\n",
        b"[peers]\n",
        b"peer = 1\n",
        b"[peer]\nlisten_on = 1\n",
        b"[peer",
        b"[client]\nrequests_max = 0\n",
        b'[node]\nlog_level = "loud"\n',
        b"\n----\nCLIENT__REQUESTS_MAX=many\nPEER__NOTHING=1\n",
        b"\n----\nCLIENT__REQUESTS_MAX=\xd9\xa3\n",
        b"\n----\n-no.key=1\nNOTHING=1\n",
        b"\n----\nNOTHING=1\n",
        b"#" * 262_145,
    ]
    return [*sections[1:], *together, short, short + above, witness]


# ---- small files


def check_small_file(data: bytes) -> bool:
    """The first byte says what it is: nonces, a seed, VERSION, a policy of witnesses or of logs."""
    content = data[1:]
    match data[:1]:
        case b"n":
            path = _file("client.nonces", content)
            if not content:
                path.unlink()
            return _nonces(path)
        case b"k":
            good = passes(Refused, ed25519.check_public_key, content)
            signed = ed25519.verify(content[:32], content[96:], content[32:96])
            either = signed or mldsa.verify(content[:1312], content[3732:], content[1312:3732])
            return good and not either
        case b"s":
            seed = attempt(Refused, load_seed, _file("client.key", content))
            holds(seed is None or len(seed) == 32, "a seed is 32 bytes", "it is not")
            return seed is not None
        case b"v":
            path = _file(VERSION_NAME, content)
            identity = attempt(Refused, identity_of, path.parent)
            return identity is not None
        case b"w":
            path = _file("policy", content)
            asked = attempt(Refused, witnesses_to_ask, path)
            witnessed = attempt(Refused, logs_to_witness, path, "bftnode/own")
            return asked is not None or witnessed is not None
    return False


def _nonces(path: Path) -> bool:
    nonces = attempt(Refused, FileNonces, path)
    if nonces is None:
        return False
    first = attempt(Refused, nonces.take)
    second = None if first is None else attempt(Refused, nonces.take)
    nonces.close()
    if first is None or second is None:
        return False
    holds(0 < first < NONCE_MAX, "a nonce can be sent", f"{first}")
    holds(second == first + 1, "no nonce is taken twice", f"{first} and {second}")
    again = attempt(Refused, FileNonces, path)
    holds(again is not None, "what was written is read", "it is not")
    if again is not None:
        third = attempt(Refused, again.take)
        holds(third is None or third > second, "no nonce is taken twice", "after a restart")
        holds(third is not None or second >= NONCE_MAX - BLOCK, "what was written is used", "it is not")
        again.close()
    return True


def seeds_of_small_files() -> list[bytes]:
    version = f'schema = 2\nchain_id = "{CHAIN.hex()}"\nmember = 1\npublic_key = "{"07" * 32}"\n'
    asking = POLICIES[0].decode().split("\n")
    asking = [line + " https://w.example" if line.startswith("witness ") else line for line in asking]
    return [
        b"n%020d\n" % 5000,
        b"n%020d\n" % NONCE_MAX,
        b"n",
        b"n0",
        b"k" + MEMBERS.public_keys[0],
        b"k" + bytes(32),
        b"k" + bytes(31),
        b"k" + MEMBERS.public_keys[0] + SIGNERS[0](b"x") + b"x",
        b"k" + b"a" * 4000,
        b"s" + b"0a" * 32 + b"\n",
        b"s" + b"0A" * 32,
        b"v" + version.encode().replace(b"= 2", b"= 3"),
        b"v" + version.encode().replace(b"= 1", b"= 256"),
        b"vschema = 0",
        b"v#" + b"x" * 4096,
        b"w#",
        b"w" + POLICIES[0],
        b"wlog " + POLICIES[0].split(b"log ")[1].split(b"\n")[0].replace(b"bftnode", b"own") + b"\nquorum none\n",
        b"w" + f"log {VerifierKey('bftnode/own', 1, MEMBERS.public_keys[0]).text}\nquorum none\n".encode(),
        b"v" + version.encode(),
        b"va = " + b"[" * 3000,
        b"w" + "\n".join(asking).encode(),
    ]


def _mutate_small(data: bytes, dice: Random) -> bytes:
    return data[:1] + _mutate_text(data[1:], dice)


_mutate_text = texts.mutator(texts.leave, lambda: [seed[1:] for seed in seeds_of_small_files()])

# ---- bundles


@cache
def _genesis() -> tuple[Genesis, verify_bundle.Genesis]:
    text = (VECTORS / "genesis.toml").read_text(encoding="utf-8")
    return parse_genesis(text), verify_bundle.Genesis(CHAIN, [f"org-{i}" for i in range(4)], list(MEMBERS.public_keys))


def check_bundle(data: bytes) -> bool:
    """What the verifier that stands alone calls proved, the node's judge calls proved as well."""
    text = data.decode("utf-8", errors="replace")
    verdicts = attempt(verify_bundle.NotProved, verify_bundle.check_bundle, text, _genesis()[1])
    if verdicts is None:
        return False
    culprits: list[dict[str, Any]] = json.loads(text)["culprits"]
    for culprit, (name, proved) in zip(culprits, verdicts, strict=True):
        frames = bytes.fromhex(culprit["first"]), bytes.fromhex(culprit["second"])
        accusation = Accusation(0, *frames, tuple(bytes.fromhex(raw) for raw in culprit["headers"]))
        here = attempt(Refused, check_accusation, accusation, MEMBERS, ed25519.verify)
        holds(here == (culprit["member"], proved), AGREE, f"of a culprit: {here} and {(name, proved)}")
    return True


def seeds_of_bundles() -> list[bytes]:
    """One culprit each, of every kind, one with two, and one with none."""
    culprits = [_culprit(told.accusation(*one)) for one in told.CONTRADICTIONS]
    two = [culprits[0], next(one for one in culprits if one["member"] != culprits[0]["member"])]
    two.sort(key=lambda one: str(one["member"]))
    good = _bundle(culprits[:1])
    wrong = [
        *(_bundle([{**culprits[0], **change}]) for change in _WRONG_CULPRITS),
        *(_bundle([_unproved(*one)]) for one in told.unproved()),
        good.replace(verify_bundle.FORMAT, "bftnode-proof/1"),
        good.replace(CHAIN.hex(), "0" * 64),
        good[:-1],
        "{",
        "[]\n",
        '{\n "a": 1\n}\n',
        good.replace('"culprits": [', '"culprits": 1, "x": ['),
    ]
    seeds = [_bundle(one) for one in (*([culprit] for culprit in culprits), two, two[::-1], [])]
    return [one.encode() for one in (*seeds, *wrong)]


_WRONG_CULPRITS: tuple[dict[str, object], ...] = (
    {"member": 9},
    {"member": True},
    {"name": "org-9"},
    {"proved": "nothing"},
    {"headers": [1]},
    {"headers": ["00"] * 513},
    {"first": "0x"},
    {"first": "C0"},
    {"first": "c1"},
    {"first": "90"},
    {"first": "c4ff"},
)


def _unproved(member: int, first: bytes, second: bytes, headers: Sequence[bytes]) -> dict[str, object]:
    said = {"member": member, "name": f"org-{member}", "proved": "", "headers": [raw.hex() for raw in headers]}
    return {**said, "first": first.hex(), "second": second.hex()}


def _culprit(one: Accusation) -> dict[str, object]:
    member, proved = check_accusation(one, MEMBERS, ed25519.verify)
    headers = [raw.hex() for raw in one.headers]
    return {
        "member": member,
        "name": f"org-{member}",
        "proved": proved,
        "first": one.first.hex(),
        "second": one.second.hex(),
        "headers": headers,
    }


def _bundle(culprits: list[dict[str, object]]) -> str:
    said = {"format": verify_bundle.FORMAT, "chain_id": CHAIN.hex(), "culprits": culprits}
    return json.dumps(said, indent=1) + "\n"


def _mutate_bundle(data: bytes, dice: Random) -> bytes:
    """As text; or the frames of a culprit as trees that are signed again, and what they prove said as it is."""
    try:
        culprits = json.loads(data)["culprits"]
        culprit = dice.choice(culprits)
        if dice.random() < 0.3:
            return _mutate_lines(data, dice)
        which = dice.choice(("first", "second"))
        raw = _mutate_frame(bytes.fromhex(culprit[which]), dice)
        culprit[which] = raw.hex()
        if dice.random() < 0.3:
            culprit["headers"] = culprit["headers"][: dice.randrange(3)]
        frames = bytes.fromhex(culprit["first"]), bytes.fromhex(culprit["second"])
        try:
            headers = [bytes.fromhex(raw) for raw in culprit["headers"]]
            culprit["proved"] = verify_bundle.check_frames(*frames, headers, culprit["member"], _genesis()[1])
        except verify_bundle.NotProved:
            pass
        return _bundle(culprits).encode()
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return _mutate_lines(data, dice)


_mutate_lines = texts.mutator(texts.leave, seeds_of_bundles)
_frames = [*golden("frame."), *told.frames()]
_mutate_frame = mutator(sign_again, lambda: _frames)

# ---- forensics


class Held(Wire, frozen=True):
    """What one party holds (forensics.Testimony)."""

    headers: tuple[bytes, ...]
    certificates: tuple[Certificate, ...]
    new_views: tuple[bytes, ...]
    loose: tuple[bytes, ...]


class Case(Wire, frozen=True):
    """Two parties."""

    left: Held
    right: Held


_open_case = decoder_of(Case, 1024 * 1024)


def check_case(data: bytes) -> bool:
    """Whatever two parties hold: nothing is raised, and who is named is convicted by every judge."""
    case = attempt(Refused, _open_case, data)
    if case is None:
        return False
    left, right = (
        Testimony(one.headers, one.certificates, one.new_views, one.loose) for one in (case.left, case.right)
    )
    findings = investigate(left, right, MEMBERS, ed25519.verify)
    for culprit in findings.culprits:
        accusation = Accusation(0, culprit.first, culprit.second, culprit.headers)
        here = attempt(Refused, check_accusation, accusation, MEMBERS, ed25519.verify)
        holds(here == (culprit.member, culprit.proved), AGREE, f"of a culprit that forensics names: {here}")
        alone = attempt(
            verify_bundle.NotProved,
            verify_bundle.check_frames,
            culprit.first,
            culprit.second,
            list(culprit.headers),
            culprit.member,
            _genesis()[1],
        )
        holds(alone == culprit.proved, AGREE, f"of a culprit that forensics names: {alone}")
    if findings.culprits:
        text = write_bundle(findings.culprits, _genesis()[0])
        holds(json.dumps(json.loads(text), indent=1) + "\n" == text, ONE_SPELLING, "of a bundle")
    return findings.fork_height is not None or bool(findings.culprits)


def seeds_of_cases() -> list[bytes]:
    """A fork, two commits, two prepares, two branches, two NEW-VIEWs, a hidden COMMIT."""
    bodies = {Kind(open_frame(raw).kind): open_body(open_frame(raw)) for raw in golden("frame.")}
    fork = bodies[Kind.FORK]
    assert isinstance(fork, ForkProof), "opened by its kind"
    (new_view,) = golden("frame.NEW_VIEW")
    first, second = fork.certificates
    one = Held(fork.headers, (first,), (new_view,), ())
    two = Held((), (second,), (), fork.headers)
    headers = (told.Y3.header_raw, told.Y2.header_raw, told.Y.header_raw)
    views = tuple(encode_frame(one) for one in told.CONTRADICTIONS[-1][:2])
    hidden = (encode_frame(told.new_view(2, (None, told.PREPARED, None))),)
    prepared = told.certificate(PREPARE, 1, told.X)
    return [
        encode(case)
        for case in (
            Case(one, two),
            Case(Held((), (told.COMMITTED,), (), ()), Held((), (told.certificate(COMMIT, 1, told.Y),), (), ())),
            Case(Held((), (told.PREPARED,), (), ()), Held((), (prepared,), (), ())),
            Case(Held((), (told.COMMITTED,), (), ()), Held(headers, (told.certificate(PREPARE, 1, told.Y3),), (), ())),
            Case(Held((), (), views[:1], ()), Held((), (), views[1:], ())),
            Case(Held((), (), views[:1], ()), Held((), (), (encode_frame(told.long_new_view()),), ())),
            Case(Held((), (told.COMMITTED,), views, (b"x",)), Held((b"x",), (told.COMMITTED,), views, headers)),
            Case(Held((), (), tuple(told.frames()[:9]), ()), Held((), (), (b"x",), ())),
            Case(Held(headers, (told.certificate(COMMIT, 1, told.Y3),), (), ()), Held((), (told.COMMITTED,), (), ())),
            Case(Held(headers[:1], (told.certificate(COMMIT, 1, told.Y3), told.COMMITTED), (), ()), one),
            Case(Held((), (told.COMMITTED,), (), ()), Held((), (), hidden, ())),
        )
    ]


TARGETS = (
    Target(
        "genesis",
        "a genesis or a member's public part; the chain id as verify_bundle.py computes it",
        check_genesis_text,
        seeds_of_genesis,
        texts.mutator(texts.leave, seeds_of_genesis),
        bytes_max=16_384,
    ),
    Target(
        "config",
        "a node.toml, the environment and flags",
        check_config,
        seeds_of_config,
        texts.mutator(texts.leave, seeds_of_config),
        bytes_max=3000,
    ),
    Target(
        "small-files",
        "a client's nonces, a key, VERSION of a data directory, policies of witnesses and logs",
        check_small_file,
        seeds_of_small_files,
        _mutate_small,
    ),
    Target(
        "bundles",
        "a proof bundle for verify_bundle.py, and the node's judge of the same",
        check_bundle,
        seeds_of_bundles,
        _mutate_bundle,
        bytes_max=8192,
    ),
    Target(
        "forensics",
        "what two parties hold, compared; who is named is convicted by both judges",
        check_case,
        seeds_of_cases,
        mutator(sign_again, seeds_of_cases),
        bytes_max=8192,
    ),
)
