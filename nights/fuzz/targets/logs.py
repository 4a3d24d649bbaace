"""What is shown to the world: receipts, policies, checkpoints, tiles, what a witness is asked."""

import base64
from random import Random

import msgspec

from bftnode import verify_receipt
from bftnode.protocol import ed25519
from bftnode.protocol.blocks import Header, hash_header, open_header
from bftnode.protocol.certificates import COMMIT, Certificate, VoteSignature, vote_body
from bftnode.protocol.codec import Hash32, UInt, Wire, decoder_of, encode
from bftnode.protocol.envelope import signing_bytes
from bftnode.protocol.errors import Refused
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from bftnode.protocol.receipts import FORMAT, Receipt, check_receipt, parse_receipt, write_receipt
from bftnode.protocol.tlog.checkpoints import parse_checkpoint, parse_signed_checkpoint
from bftnode.protocol.tlog.cosignatures import verify_cosignature
from bftnode.protocol.tlog.encoding import malformed
from bftnode.protocol.tlog.notes import VerifierKey, parse_note, parse_verifier_key, verify_text, write_note
from bftnode.protocol.tlog.policy import Policy, check_checkpoint, parse_policy, write_policy
from bftnode.protocol.tlog.proofs import Proof, check_included, parse_proof, write_proof
from bftnode.protocol.tlog.tiles import (
    ENTRIES,
    LONG_ENTRIES,
    Tile,
    entry_bundle,
    node_reader,
    parse_entry_bundle,
    parse_tile_path,
)
from bftnode.protocol.tlog.witness import (
    NOTHING,
    AddCheckpoint,
    Denied,
    Latest,
    judge,
    parse_add_checkpoint,
    write_add_checkpoint,
)
from nights.fuzz import texts
from nights.fuzz.cluster import (
    CHAIN,
    CHECKPOINT_KEYS,
    MEMBERS,
    POLICY,
    SIGNERS,
    VECTORS,
    sign_note_again,
    signed_note,
)
from nights.fuzz.oracle import Target, attempt, holds, passes
from nights.fuzz.targets.clients import seeds_of_envelopes
from nights.fuzz.targets.peers import AGREE, ONE_SPELLING, altered
from nights.fuzz.trees import leave, mutator

# ---- a log of some entries, and its proofs

ENTRIES_OF_LOG = seeds_of_envelopes()[:7]
_frontier, _created = Frontier().append([leaf_hash(entry) for entry in ENTRIES_OF_LOG])
_nodes = {(level, index): digest for level, index, digest in _created}
SIZE, ROOT = _frontier.size, _frontier.root()
SMALLER = 3
SMALLER_ROOT = Frontier().grown([leaf_hash(entry) for entry in ENTRIES_OF_LOG[:SMALLER]]).root()


def node_at(level: int, index: int) -> bytes:
    """A complete subtree of it."""
    return _nodes[level, index]


# ---- receipts

_RECEIPTS = VECTORS / "receipts"
POLICIES = [
    write_policy(POLICY).encode(),
    *(
        (_RECEIPTS / "policies" / f"{name}.policy").read_bytes()
        for name in ("ed25519", "both", "ml-dsa-44", "log-only", "two-of-two-groups", "without-members")
    ),
]
_PARSED = [parse_policy(policy) for policy in POLICIES]
_PRIVATE = _RECEIPTS / "valid" / "quick-private-and-its-record"
RECORD, SALT = (_PRIVATE.with_suffix(kind).read_bytes() for kind in (".record", ".salt"))


def check_receipts(data: bytes) -> bool:
    """The first byte says which policy is believed, and (its highest bits) that an entry, and a salt, are handed in
    beside the receipt. The node's readers and the verifier that stands alone prove the same."""
    if not data:
        return False
    which, raw = data[0], data[1:]
    policy = _PARSED[which % len(_PARSED)]
    record = ENTRIES_OF_LOG[1] if which & 0x80 else None
    if which & 0x40:
        return _opened(raw, POLICIES[which % len(POLICIES)], which)
    there = attempt(verify_receipt.NotProved, verify_receipt.verify, raw, POLICIES[which % len(POLICIES)], record)
    if raw.startswith(FORMAT.encode()):
        here = attempt(Refused, _quick, raw, policy, record)
    else:
        here = attempt(Refused, _standard, raw, policy, record)
    if here is not None and there is None and policy.consensus is not None:
        # Alone, the verifier also asks that the entry is an envelope which its client signed, and holds the record.
        entry = here[2]
        alone = attempt(verify_receipt.NotProved, verify_receipt.open_entry, entry, policy.consensus.chain_id)
        if alone is None or (record is not None and record != entry):
            return False
    holds((here is None) == (there is None), AGREE, f"of a receipt: here {here is not None}, alone {there is not None}")
    holds(here is None or there is None or here[:2] == (there.index, there.size), AGREE, "what a receipt proves")
    return here is not None


def _opened(raw: bytes, policy: bytes, which: int) -> bool:
    """With what opens a private record, or a record alone: proved with it, it is proved without."""
    salt = SALT if which & 0x80 else None
    opened = attempt(verify_receipt.NotProved, verify_receipt.verify, raw, policy, RECORD, salt)
    if opened is None:
        return False
    plain = attempt(verify_receipt.NotProved, verify_receipt.verify, raw, policy)
    holds(plain is None or plain == opened, AGREE, "a receipt with its record and without")
    return True


def _quick(raw: bytes, policy: Policy, record: bytes | None) -> tuple[int, int, bytes]:
    receipt, carried = parse_receipt(raw)
    holds(write_receipt(receipt, carried) == raw, ONE_SPELLING, "of a quick receipt")
    entry = record if carried is None else carried
    if policy.consensus is None or entry is None:
        raise malformed("nothing to check it by")
    members = Membership(policy.consensus.chain_id, 0, policy.consensus.public_keys, Parameters())
    check_receipt(receipt, entry, members, ed25519.verify)
    header: Header = open_header(receipt.header)
    return receipt.index, header.log_size, entry


def _standard(raw: bytes, policy: Policy, record: bytes | None) -> tuple[int, int, bytes]:
    proof = parse_proof(raw)
    holds(write_proof(proof) == raw, ONE_SPELLING, "of a proof")
    entry = record if proof.extra is None else proof.extra
    if entry is None:
        raise malformed("nothing to check it by")
    checkpoint = check_checkpoint(proof.checkpoint, policy).checkpoint
    check_included(proof, leaf_hash(entry), checkpoint)
    return proof.index, checkpoint.size, entry


def seeds_of_receipts() -> list[bytes]:
    path = tuple(inclusion_proof(1, SIZE, node_at))
    entry = ENTRIES_OF_LOG[1]
    header = Header(CHAIN, 0, 9, b"p" * 32, 1_700_000_000_000, ROOT, SIZE, ROOT, 1, 1)
    raw = encode(header)
    body = vote_body(0, 1, 9, hash_header(raw))
    votes = [
        VoteSignature(i, 1, 5, SIGNERS[i](signing_bytes(CHAIN, COMMIT, i, 1, 5, body))) for i in range(MEMBERS.quorum)
    ]
    quick = Receipt(raw, 1, path, Certificate(COMMIT, 0, 1, 9, hash_header(raw), tuple(votes)))
    note = signed_note(SIZE, ROOT)
    own = [
        write_receipt(quick, entry),
        write_proof(Proof(1, path, note, entry)),
    ]
    beside = [b"\x80" + write_receipt(quick), b"\x80" + write_proof(Proof(1, path, note))]
    own += [write_proof(Proof(1, path, with_extensions(count), entry)) for count in (1, 16, 17)]
    shown = [
        bytes((number,)) + file.read_bytes()
        for number, name in enumerate(("ed25519", "both-kinds", "ml-dsa-44", "log-only", "groups-of-groups"), 1)
        for file in sorted((_RECEIPTS / "valid").glob(f"*{name}*"))
        if file.suffix in (".receipt", ".tlog-proof")
    ]
    shown += [
        b"\x01" + (_RECEIPTS / "valid" / name).read_bytes()
        for name in (
            "quick.receipt",
            "quick-private.receipt",
            "quick-of-a-late-view-and-height.receipt",
            "standard.tlog-proof",
            "standard-with-strangers.tlog-proof",
        )
    ]
    long = [
        write_receipt(quick, bytes(800_000)),
        write_proof(Proof(1, path, note, bytes(256 * 1024 + 1))),
        write_proof(Proof(1, path * 40, note, entry)),
        write_proof(Proof(1, (path[0][1:], *path[1:]), note, entry)),
        write_receipt(msgspec.structs.replace(quick, path=path * 40), entry),
        b"x" * 2_000_000,
        FORMAT.encode() + b"\n\xff",
        *texts.broken(own[0]),
        *texts.broken(own[1]),
    ]
    other = Receipt(raw[:-1] + b"\x02", 1, path, quick.certificate)
    elsewhere = Header(bytes(32), 0, 9, b"p" * 32, 1, ROOT, SIZE, ROOT, 1, 1)
    long += [write_receipt(one, entry) for one in (other, msgspec.structs.replace(quick, header=encode(elsewhere)))]
    private = _PRIVATE.with_suffix(".receipt").read_bytes()
    opening = [bytes((which,)) + private for which in range(0x40, 0x100) if which % len(POLICIES) == 1 and which & 0x40]
    return [*opening, *(b"\x00" + raw for raw in (*own, *long)), b"\x04" + own[1], b"\x06" + own[0], *beside, *shown]


def with_extensions(count: int) -> bytes:
    """A signed checkpoint with so many lines that nobody can audit."""
    text, _, lines = signed_note(SIZE, ROOT).partition(b"\n\n")
    return sign_note_again(text + b"\nx" * count + b"\n\n" + lines, Sure())


class Sure(Random):
    """Dice that leave nothing unsigned."""

    def random(self) -> float:
        return 0.5


def _mutate_receipt(data: bytes, dice: Random) -> bytes:
    which = data[:1] if dice.random() < 0.95 else bytes((dice.randrange(256),))
    return which + _mutate_text(data[1:], dice)


_mutate_text = texts.mutator(sign_note_again, lambda: [seed[1:] for seed in seeds_of_receipts()])

# ---- policies


def check_policy(data: bytes) -> bool:
    """The node's reader and the one that stands alone; written again it says the same."""
    policy = attempt(Refused, parse_policy, data)
    alone = attempt(verify_receipt.NotProved, verify_receipt.read_policy, data)
    holds((policy is None) == (alone is None), AGREE, f"of a policy: here {policy is not None}")
    if policy is None or alone is None:
        return False
    holds(parse_policy(write_policy(policy).encode()) == policy, ONE_SPELLING, "of a policy that was written")
    same = [(key.name, key.kind, key.public) for key in alone.logs]
    holds(same == [tuple(log.key) for log in policy.logs], AGREE, "the logs of a policy")
    groups = {group.name: (group.threshold, list(group.members)) for group in policy.groups}
    holds(alone.groups == groups and alone.quorum == policy.quorum, AGREE, "the quorum of a policy")
    holds(list(alone.witnesses) == [witness.name for witness in policy.witnesses], AGREE, "the witnesses of a policy")
    chain = None if policy.consensus is None else policy.consensus.chain_id
    holds(alone.chain == chain, AGREE, "the chain of a policy")
    for log in policy.logs:
        holds(attempt(Refused, parse_verifier_key, log.key.text) == log.key, ONE_SPELLING, "of a key")
    return True


def seeds_of_policies() -> list[bytes]:
    names = sorted((_RECEIPTS / "policies").glob("*.policy"))
    key = CHECKPOINT_KEYS.log_keys[0].public_key
    lines = [f"log {VerifierKey('n' * size, 1, key).text}\nquorum none\n".encode() for size in (1, 255, 256)]
    many = [b"#\n" * count + b"quorum none" for count in (999, 1000)]
    own = POLICIES[0]
    log, witness = own.split(b"\n")[2], next(line for line in own.split(b"\n") if line.startswith(b"witness"))
    extra = [
        b"quorum none\nquorum none",
        b"quorum nobody",
        log + b"\n" + log + b"\nquorum none",
        log + b" https://x y\nquorum none",
        witness.replace(b"witness org", b"witness none ") + b"\nquorum none",
        witness.replace(b"org-0.ed25519 ", b"none ") + b"\nquorum none",
        log.replace(b"log ", b"witness w ") + b"\nquorum none",
        f"log {VerifierKey('n', 7, key).text}\nquorum none".encode(),
        f"log {VerifierKey('n', 1, key[:9]).text}\nquorum none".encode(),
        f"log {VerifierKey('n', 4, b'').text}\nquorum none".encode(),
        b"log n+00000000+AA==\nquorum none",
        b"log nothing\nquorum none",
        witness + b"\ngroup g any " + witness.split()[1] + b" x\nquorum g",
        witness + b"\ngroup g 2 " + witness.split()[1] + b"\nquorum g",
        witness + b"\ngroup g all " + witness.split()[1] + b" " + witness.split()[1] + b"\nquorum g",
        witness + b"\ngroup g 9999999999999999999 " + witness.split()[1] + b"\nquorum g",
        b"#bftnode chain " + b"0" * 64 + b"\nquorum none",
        b"#bftnode chain " + b"0" * 64 + b"\n#bftnode chain " + b"0" * 64 + b"\nquorum none",
        b"#bftnode chain " + b"G" * 64 + b"\nquorum none",
        own.replace(b"#bftnode member", b"#bftnode member", 1) + own.split(b"\n")[-2],
        b"\xff",
        b"\x01",
        b"#" * (1024 * 1024 + 1),
    ]
    return [own, *extra, *(file.read_bytes() for file in names), *lines, *many]


# ---- checkpoints


def check_note(data: bytes) -> bool:
    """A signed note, as a checkpoint; the log's and a member's signature over it."""
    attempt(Refused, parse_checkpoint, data.decode("utf-8", errors="replace"))
    note = attempt(Refused, parse_note, data)
    if note is None:
        return False
    holds(write_note(note) == data, ONE_SPELLING, "of a note")
    found = attempt(Refused, parse_signed_checkpoint, data)
    if found is None:
        return False
    checkpoint = found[0]
    holds(checkpoint.text() == note.text, ONE_SPELLING, "of a checkpoint")
    verified = attempt(Refused, check_checkpoint, data, POLICY)
    for signature in note.signatures:
        signed = passes(Refused, verify_text, note.text, signature, CHECKPOINT_KEYS.log_keys[0])
        time_s = attempt(Refused, verify_cosignature, checkpoint, signature, CHECKPOINT_KEYS.cosigning_keys[1][0])
        holds(not (signed and time_s), "a line is of one key", "of two")
    return verified is not None


def seeds_of_notes() -> list[bytes]:
    receipts = [seed[1:] for seed in seeds_of_receipts()]
    shown = [raw.partition(b"\n\n")[2] for raw in receipts if not raw.startswith(FORMAT.encode())]
    return [
        signed_note(SIZE, ROOT),
        signed_note(0, ROOT, cosigners=0),
        signed_note(1, ROOT, 0, 4),
        *shown[2:5],
        *_wrong_notes(),
    ]


def _wrong_notes() -> list[bytes]:
    note = signed_note(SIZE, ROOT)
    text, _, lines = note.partition(b"\n\n")
    last = lines.split(b"\n")[1].split(b" ")
    short = b" ".join((*last[:2], base64.b64encode(base64.b64decode(last[2])[:-1])))
    early = base64.b64decode(last[2])
    never = b" ".join((*last[:2], base64.b64encode(early[:4] + b"\xff" * 8 + early[12:])))
    name = "n" * 256
    return [
        *texts.broken(note),
        text + b"\n\n" + lines.split(b"\n")[0] + b"\n" + short + b"\n",
        text + b"\n\n" + lines.split(b"\n")[0] + b"\n" + never + b"\n",
        b"\n".join([*text.split(b"\n")[:2], b"AAAA"]) + b"\n\n" + lines,
        text + b"\n\n" + f"\N{EM DASH} {name} AAAAAAA=\n".encode(),
        text + b"\n\n" + "\N{EM DASH} n AAAAAA==\n".encode(),
        text + b"\n\n" + "\N{EM DASH} n+ AAAAAAA=\n".encode(),
        text + b"\n\n" + "\N{EM DASH} n AAAAAAA=\n".encode() * 101,
        text + b"\n\n" + lines * 2,
        b"o" * 256 + text[text.index(b"\n") :] + b"\n\n" + lines,
        with_extensions(17),
        text.replace(b"\n7\n", b"\n9999999999999999999\n") + b"\n\n" + lines,
        text.replace(b"\n7\n", b"\n07\n") + b"\n\n" + lines,
        b"\n\n" + lines,
        b"x\n\n" + lines,
        b"\xff" + note,
        b"\x01" + note,
        b"x" * 1_000_001,
    ]


# ---- tiles


def check_tile(data: bytes) -> bool:
    """A path; or, after a byte 1 or 2, an entry bundle; after 3, a tile that proofs are made of; after 4, proofs."""
    match data[:1]:
        case b"\x01" | b"\x02":
            level = ENTRIES if data[0] == 1 else LONG_ENTRIES
            entries = attempt(Refused, parse_entry_bundle, data[1:], level)
            holds(entries is None or entry_bundle(entries, level) == data[1:], ONE_SPELLING, "of a bundle")
            return entries is not None
        case b"\x03":
            return _proofs_of(data[1:])
        case b"\x04":
            return _tree(data[1:])
    text = data.decode("latin-1")
    tile = attempt(Refused, parse_tile_path, text)
    holds(tile is None or tile.path == text, ONE_SPELLING, "of the path of a tile")
    return tile is not None


class Claimed(Wire, frozen=True):
    """A leaf in a tree, and that the tree of `old` leaves is its beginning; each with hashes that are to prove it."""

    leaf: Hash32
    index: UInt
    old: UInt
    old_root: Hash32
    size: UInt
    root: Hash32
    path: tuple[Hash32, ...]
    growth: tuple[Hash32, ...]


_open_claim = decoder_of(Claimed, 8192)


def _tree(data: bytes) -> bool:
    """The node's idea of an inclusion proof and that of the verifier that stands alone."""
    claim = attempt(Refused, _open_claim, data)
    if claim is None:
        return False
    here = verify_inclusion(claim.leaf, claim.index, claim.size, claim.path, claim.root)
    alone = verify_receipt.included(claim.leaf, claim.index, claim.size, list(claim.path), claim.root)
    holds(here == alone, AGREE, "whether a leaf is in a tree")
    grown = verify_consistency(claim.old, claim.size, claim.old_root, claim.root, claim.growth)
    return here and grown


def claims() -> list[bytes]:
    """Of every leaf and every earlier size of the log; and some that hold of nothing."""
    roots = [Frontier().grown([leaf_hash(entry) for entry in ENTRIES_OF_LOG[:size]]).root() for size in range(SIZE + 1)]
    leaves = [leaf_hash(entry) for entry in ENTRIES_OF_LOG]
    true = [
        Claimed(
            leaves[place],
            place,
            old,
            roots[old],
            size,
            roots[size],
            tuple(inclusion_proof(place, size, node_at)),
            tuple(consistency_proof(old, size, node_at)),
        )
        for size in range(SIZE, 0, -1)
        for old in range(size + 1)
        for place in [old % size]
    ]
    long = true[3].path * 30
    one = Claimed(ROOT, 0, 1, ROOT, 1, ROOT, (), ())
    changes = ({"path": long, "growth": long}, {"index": SIZE}, {"old": 9}, {"growth": ()}, {"old": 4, "growth": ()})
    false = [msgspec.structs.replace(true[3], **change) for change in changes]
    return [encode(claim) for claim in (*true, one, *false)]


def _proofs_of(tile: bytes) -> bool:
    """Proofs from a tile that somebody serves: they hold where it is the log's, and else they do not."""
    reader = node_reader(lambda _: tile, SIZE)
    inclusion = attempt(Refused, inclusion_proof, 1, SIZE, reader)
    consistency = attempt(Refused, consistency_proof, SMALLER, SIZE, reader)
    holds((inclusion is None) == (consistency is None), AGREE, "whether a tile is one")
    if inclusion is None or consistency is None:
        return False
    leaf = leaf_hash(ENTRIES_OF_LOG[1])
    proved = verify_inclusion(leaf, 1, SIZE, inclusion, ROOT)
    grown = verify_consistency(SMALLER, SIZE, SMALLER_ROOT, ROOT, consistency)
    whole = tile == TILE
    holds(not whole or (proved and grown), AGREE, "the proofs of the log's own tile")
    return proved and grown


TILE = b"".join(leaf_hash(entry) for entry in ENTRIES_OF_LOG)


def seeds_of_tiles() -> list[bytes]:
    tiles = (Tile(0, 0), Tile(0, 1_234_067, 5), Tile(7, 1, 255), Tile(ENTRIES, 3, 1), Tile(LONG_ENTRIES, 1001))
    return [
        *(tile.path.encode() for tile in tiles),
        b"\x01" + entry_bundle(ENTRIES_OF_LOG[:2]),
        b"\x02" + entry_bundle(ENTRIES_OF_LOG[:2], LONG_ENTRIES),
        b"\x01" + entry_bundle([b""] * 257),
        b"\x03" + TILE,
        b"\x03" + node_hash(b"a" * 32, b"b" * 32),
        b"\x01\x00",
        b"\x01\x00\x05abc",
        b"tile/0/x1/001",
        b"tile/8/001",
        b"tile/0/abc",
        b"tile/0/001.p/0",
        *(b"\x04" + claim for claim in claims()),
    ]


def _mutate_tile(data: bytes, dice: Random) -> bytes:
    if data[:1] == b"\x04":
        return b"\x04" + _mutate_claim(data[1:], dice)
    return _mutate_path(data, dice) if data[:1] == b"t" else altered(data, dice)


_mutate_claim = mutator(leave, claims)


_mutate_path = texts.mutator(texts.leave, lambda: [seed for seed in seeds_of_tiles() if seed[:1] == b"t"])

# ---- what a witness is asked

LOGS = {CHECKPOINT_KEYS.origin: CHECKPOINT_KEYS.log_keys}


def check_request_to_witness(data: bytes) -> bool:
    """The first byte says what the witness remembers: nothing, or the log of three entries."""
    known = {CHECKPOINT_KEYS.origin: Latest(SMALLER, SMALLER_ROOT)} if data[:1] == b"\x01" else {}
    asked = attempt(Refused, parse_add_checkpoint, data[1:])
    if asked is None:
        return False
    holds(write_add_checkpoint(asked) == data[1:], ONE_SPELLING, "of a request to a witness")
    verdict = judge(asked, LOGS, known)
    if isinstance(verdict, Denied):
        holds(0 < len(verdict.body) <= 512, "a refusal's words are few", "of a witness")
        holds(verdict.status in (400, 403, 404, 409, 422), "a witness answers by its document", str(verdict.status))
        return False
    before = known.get(verdict.origin, NOTHING)
    holds(verdict.size >= before.size, "a witnessed log grows", f"from {before.size} to {verdict.size}")
    same = verdict.size != before.size or verdict.root == before.root
    holds(same, "a witnessed log grows", "another root of the same size")
    return True


def requests_to_witness() -> list[bytes]:
    """Of a log that begins, that grows, and that stays as it is."""
    grows = tuple(consistency_proof(SMALLER, SIZE, node_at))
    return [
        b"\x00" + write_add_checkpoint(AddCheckpoint(0, (), signed_note(SIZE, ROOT))),
        b"\x01" + write_add_checkpoint(AddCheckpoint(SMALLER, grows, signed_note(SIZE, ROOT))),
        b"\x01" + write_add_checkpoint(AddCheckpoint(SMALLER, (), signed_note(SMALLER, SMALLER_ROOT))),
        b"\x00" + write_add_checkpoint(AddCheckpoint(0, (), signed_note(0, Frontier().root()))),
        *_wrong_requests(),
    ]


def _wrong_requests() -> list[bytes]:
    grows = tuple(consistency_proof(SMALLER, SIZE, node_at))
    first = write_add_checkpoint(AddCheckpoint(0, (), signed_note(SIZE, ROOT)))
    return [
        *(b"\x00" + one for one in texts.broken(first)),
        b"\x01" + first,
        b"\x00" + write_add_checkpoint(AddCheckpoint(9, (), signed_note(SIZE, ROOT))),
        b"\x00" + write_add_checkpoint(AddCheckpoint(0, (), signed_note(0, ROOT))),
        b"\x00" + write_add_checkpoint(AddCheckpoint(0, (bytes(32),) * 64, signed_note(0, ROOT))),
        b"\x01" + write_add_checkpoint(AddCheckpoint(SMALLER, grows[::-1], signed_note(SIZE, ROOT))),
        b"\x00" + first.replace(b"old 0", b"old 0\nAAAA"),
        b"\x00" + b"x" * 1_100_000,
        b"\x00\xff\n\n",
        b"\x00new 0\n\nx",
    ]


def _mutate_request(data: bytes, dice: Random) -> bytes:
    return data[:1] + _mutate_asked(data[1:], dice) if dice.random() < 0.95 else altered(data, dice)


_mutate_asked = texts.mutator(sign_note_again, lambda: [seed[1:] for seed in requests_to_witness()])


TARGETS = (
    Target(
        "receipts",
        "receipts of both kinds under seven policies; the node's readers beside verify_receipt.py",
        check_receipts,
        seeds_of_receipts,
        _mutate_receipt,
        bytes_max=8192,
    ),
    Target(
        "policies",
        "a policy; the node's reader beside verify_receipt.py's",
        check_policy,
        seeds_of_policies,
        texts.mutator(texts.leave, seeds_of_policies),
        bytes_max=8192,
    ),
    Target(
        "checkpoints",
        "a signed note, the checkpoint in it, its signatures and cosignatures",
        check_note,
        seeds_of_notes,
        texts.mutator(sign_note_again, seeds_of_notes),
    ),
    Target(
        "tiles",
        "a tile's path, an entry bundle of either kind, a tile that proofs are made of",
        check_tile,
        seeds_of_tiles,
        _mutate_tile,
    ),
    Target(
        "witness",
        "what a witness is asked, and its verdict",
        check_request_to_witness,
        requests_to_witness,
        _mutate_request,
    ),
)
