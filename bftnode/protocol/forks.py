"""A proof that more than f members lied: two commit certificates that no run with f liars brings about.

Self-contained like evidence: it verifies with the genesis alone. Of two commit certificates the higher one's block
descends from the lower one's, or is it (docs/protocol.md, "Safety"); headers that lead from the higher block down to
another one at the lower height prove that it does not.
"""

from collections.abc import Callable, Iterable

from bftnode.protocol.blocks import hash_header, open_header
from bftnode.protocol.certificates import COMMIT, Certificate
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.limits import FORK_HEADERS_MAX
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import ForkProof


def check_fork_proof(proof: ForkProof, members: Membership, check: Callable[[Certificate], None]) -> None:
    """Refuse what proves no fork; hashes first, signatures (`check`) only where all else holds.

    Raises Refused(WRONG_EPOCH | BAD_CERTIFICATE | BAD_BLOCK | CODEC_* | UNEXPECTED).
    """
    check_shape(proof, members)
    for certificate in proof.certificates:
        check(certificate)


def check_shape(proof: ForkProof, members: Membership) -> None:
    """`check_fork_proof` without the signatures of the certificates. Raises Refused."""
    if len(proof.certificates) != 2:
        raise Refused(Reason.UNEXPECTED, "one certificate contradicts nothing by itself")
    lower, higher = proof.certificates
    if (lower.epoch, higher.epoch) != (members.epoch, members.epoch):
        raise Refused(Reason.WRONG_EPOCH, "certificates of another epoch")
    if (lower.phase, higher.phase) != (COMMIT, COMMIT):
        raise Refused(Reason.BAD_CERTIFICATE, "what is prepared twice is no fork")
    if len(proof.headers) != higher.seq - lower.seq:
        raise Refused(Reason.UNEXPECTED, "not the headers between the two heights")
    expected = higher.block
    for offset, raw in enumerate(proof.headers):
        header = open_header(raw)
        if hash_header(raw) != expected or header.seq != higher.seq - offset:
            raise Refused(Reason.BAD_BLOCK, "the headers are not the chain below the higher certificate")
        expected = header.parent
    if expected == lower.block:
        raise Refused(Reason.UNEXPECTED, "the two certificates are of one chain")


def fork_proof(one: Certificate, other: Certificate, headers: Iterable[bytes], members: Membership) -> ForkProof | None:
    """The proof that these two commit certificates, both verified, make with what is found among `headers`; None where
    they do not contradict each other, or the headers between them are not all there, or too many."""
    lower, higher = sorted((one, other), key=lambda item: (item.seq, item.view, item.block))
    if higher.seq - lower.seq > FORK_HEADERS_MAX:
        return None
    try:
        between = chain_below(higher, lower.seq, headers)
        proof = ForkProof(members.epoch, (lower, higher), tuple(between))
        check_shape(proof, members)
    except Refused:
        return None
    return proof


def chain_below(certificate: Certificate, seq: int, headers: Iterable[bytes]) -> list[bytes]:
    """The headers from the certificate's block down to height `seq`, exclusive, as far as they are among `headers`.

    Raises Refused(CODEC_*) where a block that is certified is no block."""
    by_hash = {hash_header(raw): raw for raw in headers}
    found: list[bytes] = []
    at = certificate.block
    while len(found) < certificate.seq - seq and at in by_hash:
        found.append(by_hash[at])
        at = open_header(by_hash[at]).parent
    return found
