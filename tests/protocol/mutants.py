"""Changed receipts by the thousand: none may be accepted, and nothing but the typed refusal may come of one.

`python -m tests.protocol.mutants 100000` checks so many, with the verifier that stands alone and with the node's own
code; test_verify_receipt.py checks a share of them.
"""

import random
import sys
from collections.abc import Iterator
from typing import NamedTuple

from bftnode import verify_receipt
from bftnode.protocol import ed25519
from bftnode.protocol.errors import Refused
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.merkle import leaf_hash
from bftnode.protocol.receipts import FORMAT, check_receipt, parse_receipt
from bftnode.protocol.tlog.policy import check_checkpoint, parse_policy
from bftnode.protocol.tlog.proofs import check_included, parse_proof
from tests.vectors.receipts import make


class Subject(NamedTuple):
    """A valid receipt, and its policy."""

    receipt: bytes
    policy: bytes


SUBJECTS = [
    Subject(case.receipt, make.POLICIES[case.policy].encode())
    for name in ("standard", "quick", "standard-ml-dsa-44", "standard-both-kinds", "standard-of-a-log-of-one")
    for case in [make.VALID[name]]
]


def there(subject: Subject) -> str | None:
    """Why the verifier that stands alone refuses it; None: it is proved."""
    try:
        verify_receipt.verify(*subject)
    except verify_receipt.NotProved as error:
        return str(error)
    return None


def here(subject: Subject) -> str | None:
    """Why the node's own code refuses it."""
    try:
        policy = parse_policy(subject.policy)
        if subject.receipt.startswith(FORMAT.encode()):
            receipt, entry = parse_receipt(subject.receipt)
            if policy.consensus is None or entry is None:
                return "nothing to check it by"
            members = Membership(policy.consensus.chain_id, 0, policy.consensus.public_keys, Parameters())
            check_receipt(receipt, entry, members, ed25519.verify)
        else:
            proof = parse_proof(subject.receipt)
            if proof.extra is None:
                return "nothing to check it by"
            check_included(proof, leaf_hash(proof.extra), check_checkpoint(proof.checkpoint, policy).checkpoint)
    except Refused as refused:
        return str(refused)
    return None


def byte_by_byte(raw: bytes) -> Iterator[bytes]:
    """Each byte with a bit flipped, left out, and twice; and each beginning."""
    for place, byte in enumerate(raw):
        yield raw[:place] + bytes((byte ^ 1 << place % 8,)) + raw[place + 1 :]
        yield raw[:place] + raw[place + 1 :]
        yield raw[:place] + raw[place : place + 1] + raw[place:]
        yield raw[:place]


def at_random(raw: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """One to three changes: bytes, stretches, numbers, lines, and parts of another receipt."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        place = dice.randrange(len(raw) + 1)
        end = min(len(raw), place + dice.choice((1, 2, 4, 32, 45, 100)))
        lines = raw.split(b"\n")
        line = dice.randrange(len(lines))
        match dice.randrange(8):
            case 0:
                raw = raw[:place] + bytes((dice.randrange(256),)) + raw[end:]
            case 1:
                raw = raw[:place] + dice.randbytes(end - place) + raw[end:]
            case 2:
                raw = raw[:place] + raw[end:]
            case 3:
                raw = raw[:place] + raw[place:end] + raw[place:]
            case 4:
                raw = b"\n".join([*lines[:line], *lines[line + 1 :]])
            case 5:
                raw = b"\n".join([*lines[:line], dice.choice(lines), *lines[line:]])
            case 6:
                theirs = dice.choice(others).split(b"\n")
                raw = b"\n".join([*lines[:line], dice.choice(theirs), *lines[line + 1 :]])
            case 7:
                other = lines[line]
                at = dice.randrange(len(other) + 1)
                lines[line] = other[:at] + dice.choice((b"0", b"=", b"A", b" ", b"\r", b"-", b"9")) + other[at + 1 :]
                raw = b"\n".join(lines)
        if not raw:
            break
    return raw


def is_the_same(mutant: bytes, original: bytes) -> bool:
    """Whether it is the same text, and every signature that was there is there.

    Their order says nothing, and strangers' lines are ignored (c2sp.org/signed-note, "Signatures"): such a mutant is
    the same receipt, and may be accepted.
    """
    text, _, signatures = original.rpartition(b"\n\n")
    changed, _, lines = mutant.rpartition(b"\n\n")
    return changed == text and set(signatures.split(b"\n")) <= set(lines.split(b"\n"))


def check(mutant: bytes, original: Subject) -> bool:
    """Whether it was refused, by both; what is still the same receipt may be accepted, by both. Else it raises."""
    changed = original._replace(receipt=mutant)
    verdicts = there(changed), here(changed)
    if None in verdicts:
        assert verdicts == (None, None), f"one takes it and one does not: {verdicts} {mutant!r}"
        assert is_the_same(mutant, original.receipt), f"accepted: {mutant!r}"
    return verdicts[0] is not None


def main(count: int) -> None:
    dice, refused = random.Random(5), 0
    for subject in SUBJECTS:
        refused += sum(check(mutant, subject) for mutant in byte_by_byte(subject.receipt))
    print(f"byte by byte: {refused} refused")
    others = [subject.receipt for subject in SUBJECTS]
    while refused < count:
        subject = dice.choice(SUBJECTS)
        refused += check(at_random(subject.receipt, others, dice), subject)
    print(f"{refused} mutants, all refused by both")


if __name__ == "__main__":
    main(int(sys.argv[1]))
