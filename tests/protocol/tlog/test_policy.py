"""Policies: the document's example, every line that is refused, and what makes a checkpoint valid."""

from itertools import combinations

import pytest

from bftnode.protocol import quorums
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.tlog import cosignatures, notes
from bftnode.protocol.tlog.checkpoints import Checkpoint, origin_of
from bftnode.protocol.tlog.notes import Note, VerifierKey, parse_note, sign_text, write_note
from bftnode.protocol.tlog.policy import (
    LINES_MAX,
    POLICY_BYTES_MAX,
    Consensus,
    Policy,
    check_checkpoint,
    cluster_policy,
    parse_policy,
    quorum_reached,
    write_policy,
)
from tests.protocol.cluster import CHAIN, OTHER_CHAIN, seed
from tests.protocol.tlog.cosigners import WHEN, Cosigners, root_at

BOTH = (cosignatures.ED25519, cosignatures.ML_DSA_44)
CLUSTER = Cosigners()
TREE = CLUSTER.checkpoint(100, root_at(100))
TEXT = write_policy(CLUSTER.policy)


def key(number: int, kind: int = cosignatures.ED25519) -> str:
    return VerifierKey(f"example.com/{number}", kind, CLUSTER.log_signers[0](seed(number))[:32]).text


EXAMPLE = f"""
log {key(0, 1)}

witness X1 {key(1)}
witness X2 {key(2)} https://x2.example/
witness X3 {key(3)}
group X-witnesses 2 X1 X2 X3

  # between the groups
witness\tY1  {key(4)}
witness Y2 {key(5)}
witness Y3 {key(6)}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y \t
"""


def unproved(raw: bytes, policy: Policy) -> str:
    with pytest.raises(Refused) as refusal:
        check_checkpoint(raw, policy)
    assert refusal.value.reason is Reason.NOTE_UNPROVED
    return refusal.value.detail


def test_a_clusters_policy_has_its_members_keys_of_consensus_in_their_order() -> None:
    """Which quick receipts are checked with; they are written into the file and read again."""
    consensus = CLUSTER.policy.consensus
    assert consensus is not None
    assert consensus.chain_id == CHAIN
    assert consensus.public_keys == tuple(keys.consensus for keys in CLUSTER.keys)
    assert parse_policy(TEXT.encode()).consensus == consensus


def test_the_documents_example() -> None:
    """Two levels of groups: exactly the sets with two of X and one of Y reach it."""
    policy = parse_policy(EXAMPLE.encode())
    names = [witness.name for witness in policy.witnesses]
    for count in range(7):
        for chosen in combinations(names, count):
            xs = sum(name.startswith("X") for name in chosen)
            assert quorum_reached(policy, chosen) is (xs >= 2 and len(chosen) > xs)
    assert policy.witnesses[1].url == "https://x2.example/"
    assert parse_policy(write_policy(policy).encode()) == policy


@pytest.mark.parametrize("kinds", [BOTH[:1], BOTH[1:], BOTH], ids=["ed25519", "ml-dsa-44", "both"])
@pytest.mark.parametrize("n", [4, 5, 7, 64])
def test_a_clusters_policy_wants_a_quorum_of_its_members(n: int, kinds: tuple[int, ...]) -> None:
    """By every kind of key that they have; written and read it is the same."""
    policy = cluster_policy(CHAIN, Cosigners(n, kinds).keys)
    q = quorums.quorum(n)
    assert policy.consensus == Consensus(CHAIN, tuple(keys.consensus for keys in Cosigners(n, kinds).keys))
    assert parse_policy(write_policy(policy).encode()) == policy
    names = [witness.name for witness in policy.witnesses]
    assert quorum_reached(policy, names[: q * len(kinds)])
    assert not quorum_reached(policy, names[: q * len(kinds) - 1])
    assert {log.key.name for log in policy.logs} == {origin_of(CHAIN)}


LINES = {
    "no quorum": EXAMPLE.replace("quorum X-and-Y", ""),
    "two quorums": EXAMPLE + "quorum X1\n",
    "an undefined quorum": EXAMPLE.replace("quorum X-and-Y", "quorum Z"),
    "a quorum before its group": "quorum g\n" + EXAMPLE.replace("quorum X-and-Y", ""),
    "an unknown line": EXAMPLE + "hello\n",
    "a log without a key": EXAMPLE + "log\n",
    "a log with too much": EXAMPLE + f"log {key(9, 1)} url more\n",
    "a witness without a key": EXAMPLE + "witness Z\n",
    "a witness with too much": EXAMPLE + f"witness Z {key(9)} url more\n",
    "a broken key": EXAMPLE + f"witness Z {key(9)[:-1]}\n",
    "a log's key of an unknown type": EXAMPLE + f"log {key(9, 2)}\n",
    "a witness's key of a log's type": EXAMPLE + f"witness Z {key(9, 1)}\n",
    "a key of another length": EXAMPLE + f"witness Z {VerifierKey('n', 6, bytes(32)).text}\n",
    "the same witness key twice": EXAMPLE + f"witness Z {key(1)}\n",
    "the same log key twice": EXAMPLE + f"log {key(0, 1)}\n",
    "a name twice": EXAMPLE + f"witness X1 {key(9)}\n",
    "a witness called none": EXAMPLE + f"witness none {key(9)}\n",
    "a group called like a witness": EXAMPLE + f"witness Z {key(9)}\ngroup X1 any Z\n",
    "a group called like a group": EXAMPLE + f"witness Z {key(9)}\ngroup Y-witnesses any Z\n",
    "a group called none": EXAMPLE + f"witness Z {key(9)}\ngroup none any Z\n",
    "a group of nobody": EXAMPLE + "group G any\n",
    "a threshold of nothing": EXAMPLE + f"witness Z {key(9)}\ngroup G 0 Z\n",
    "a threshold above its members": EXAMPLE + f"witness Z {key(9)}\ngroup G 2 Z\n",
    "a threshold that is no number": EXAMPLE + f"witness Z {key(9)}\ngroup G 1x Z\n",
    "a member of two groups": EXAMPLE + "group G any X1\n",
    "a member twice": EXAMPLE + f"witness Z {key(9)}\ngroup G 2 Z Z\n",
    "none as a member": EXAMPLE + "group G any none\n",
    "a control character": EXAMPLE + "# \r\n",
    "another control character": EXAMPLE + "# \x7f\n",
    "a member and no chain": EXAMPLE + f"#bftnode member {'0' * 64}\n",
    "a chain and no members": EXAMPLE + f"#bftnode chain {'0' * 64}\n",
    "two chains": TEXT + f"#bftnode chain {'0' * 64}\n",
    "an unknown remark": TEXT + "#bftnode hello\n",
    "a remark in capitals": TEXT.replace(CHAIN.hex(), CHAIN.hex().upper()),
    "a member's key twice": TEXT + f"#bftnode member {CLUSTER.keys[3].consensus.hex()}\n",
    "too many lines": TEXT + "\n" * 1000,
    "too many bytes": TEXT + "#" * 2**20,
}


@pytest.mark.parametrize("what", LINES)
def test_a_malformed_policy_is_refused(what: str) -> None:
    """Each rule broken once. A policy that two tools read differently protects nobody."""
    with pytest.raises(Refused) as refusal:
        parse_policy(LINES[what].encode())
    assert refusal.value.reason is Reason.NOTE_MALFORMED


def test_the_bounds_of_a_policy_are_within_it() -> None:
    """As many lines, and as many bytes, as are allowed."""
    lines = EXAMPLE + "\n" * (LINES_MAX - 1 - EXAMPLE.count("\n"))
    assert parse_policy(lines.encode()) == parse_policy(EXAMPLE.encode())
    longest = EXAMPLE + "#" * (POLICY_BYTES_MAX - len(EXAMPLE))
    assert parse_policy(longest.encode()) == parse_policy(EXAMPLE.encode())
    for more in (lines + "\n", longest + "#"):
        with pytest.raises(Refused):
            parse_policy(more.encode())


def test_a_refusal_says_in_which_line() -> None:
    """As editors count them."""
    with pytest.raises(Refused) as refusal:
        parse_policy(b"# one\n\nthree\n")
    assert refusal.value.detail.startswith("line 3: ")


def test_where_a_log_is_is_kept() -> None:
    """As where a witness is."""
    policy = parse_policy(f"log {key(0, 1)} https://log.example/\nquorum none\n".encode())
    assert [log.url for log in policy.logs] == ["https://log.example/"]


def test_bytes_that_are_no_utf8_are_refused() -> None:
    """The format would allow them in names; we ask for what it recommends."""
    with pytest.raises(Refused):
        parse_policy(EXAMPLE.encode() + b"# \xff\n")


@pytest.mark.parametrize("kinds", [BOTH[:1], BOTH[1:], BOTH], ids=["ed25519", "ml-dsa-44", "both"])
def test_a_checkpoint_needs_one_log_and_a_quorum(kinds: tuple[int, ...]) -> None:
    """Any member's log key will do; fewer cosigners than a quorum never."""
    cluster = Cosigners(kinds=kinds)
    for signed_by in range(4):
        verified = check_checkpoint(cluster.note(TREE, (0, 2, 3), signed_by), cluster.policy)
        assert verified.checkpoint == TREE
        assert set(verified.cosigned.values()) == {WHEN}
        assert len(verified.cosigned) == 3 * len(kinds)
    assert "quorum" in unproved(cluster.note(TREE, (0, 2)), cluster.policy)


def test_a_member_counts_once() -> None:
    """However often it cosigned, at whatever times; the latest is reported."""
    text = TREE.text()
    own = sign_text(text, CLUSTER.log_key(0), CLUSTER.log_signers[0])
    often = [one for when in (WHEN, WHEN + 1, WHEN + 2) for i in (0, 1) for one in CLUSTER.cosigned(i, TREE, when)]
    assert "2 of 4" in unproved(write_note(Note(text, (own, *often))), CLUSTER.policy)
    verified = check_checkpoint(write_note(Note(text, (own, *often, *CLUSTER.cosigned(3, TREE)))), CLUSTER.policy)
    assert verified.cosigned["org-0.ed25519"] == WHEN + 2


def test_a_cosignature_at_the_beginning_of_time_is_one() -> None:
    """c2sp.org/tlog-cosignature: a time of 0 says nothing of other checkpoints, and still that this one was seen."""
    own = sign_text(TREE.text(), CLUSTER.log_key(0), CLUSTER.log_signers[0])
    note = Note(TREE.text(), (own, *(one for i in (0, 1, 2) for one in CLUSTER.cosigned(i, TREE, when=0))))
    assert set(check_checkpoint(write_note(note), CLUSTER.policy).cosigned.values()) == {0}


def test_strangers_count_for_nothing_and_a_bad_signature_of_a_known_key_refutes() -> None:
    """c2sp.org/signed-note, "Signatures"."""
    note = parse_note(CLUSTER.note(TREE))
    stranger = Cosigners(chain_id=OTHER_CHAIN)
    more = write_note(note._replace(signatures=(*note.signatures, *stranger.cosigned(3, TREE))))
    assert check_checkpoint(more, CLUSTER.policy).checkpoint == TREE
    (bad,) = CLUSTER.cosigned(3, CLUSTER.checkpoint(99, root_at(99)))
    refuted = write_note(note._replace(signatures=(*note.signatures, bad)))
    assert "not valid" in unproved(refuted, CLUSTER.policy)
    no_log = write_note(note._replace(signatures=note.signatures[1:]))
    assert "no log" in unproved(no_log, CLUSTER.policy)
    assert "origin" in unproved(stranger.note(stranger.checkpoint(5, root_at(5))), CLUSTER.policy)


def test_a_log_may_sign_as_cosigners_do_and_a_quorum_may_be_none() -> None:
    """c2sp.org/tlog-checkpoint recommends that logs sign by cosignatures."""
    name = "example.com/log"
    tree = Checkpoint(name, 3, root_at(3))
    log = VerifierKey(name, cosignatures.ED25519, CLUSTER.keys[0].log)
    raw = write_note(Note(tree.text(), (cosignatures.cosign(tree, log, WHEN, CLUSTER.log_signers[0]),)))
    policy = parse_policy(f"log {log.text}\nquorum none\n".encode())
    assert check_checkpoint(raw, policy).cosigned == {}
    assert log.kind != notes.ED25519
