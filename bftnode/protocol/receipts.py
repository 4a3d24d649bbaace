"""Receipts: proof that one envelope is entry number `index` of this cluster's log, with no node online.

(block header, inclusion proof, commit certificate); anyone who has the genesis can check it. docs/protocol.md,
"Receipt".
"""

from typing import Annotated

from msgspec import Meta

from bftnode.protocol.blocks import HEADER_BYTES_MAX, hash_header, open_header
from bftnode.protocol.certificates import COMMIT, Certificate, check_certificate
from bftnode.protocol.codec import Hash32, UInt, Wire
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.merkle import leaf_hash, verify_inclusion


class Receipt(Wire, frozen=True):
    """`header` is of the certified block: the log that it names contains the envelope at `index`."""

    header: Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)]
    index: UInt
    path: Annotated[tuple[Hash32, ...], Meta(max_length=64)]
    certificate: Certificate


def check_receipt(receipt: Receipt, envelope: bytes, members: Membership, verify: Verifier) -> None:
    """Raises Refused(INTEGRITY | BAD_CERTIFICATE | WRONG_EPOCH | CODEC_*) unless it proves what it says."""
    header = open_header(receipt.header)
    if header.chain_id != members.chain_id:
        raise Refused(Reason.INTEGRITY, "a header of another cluster")
    certified = (receipt.certificate.phase, receipt.certificate.seq, receipt.certificate.block)
    if certified != (COMMIT, header.seq, hash_header(receipt.header)):
        raise Refused(Reason.INTEGRITY, "the certificate does not commit this header")
    check_certificate(receipt.certificate, members, verify)
    if not verify_inclusion(leaf_hash(envelope), receipt.index, header.log_size, receipt.path, header.log_root):
        raise Refused(Reason.INTEGRITY, "the inclusion proof does not lead to the header's log root")
