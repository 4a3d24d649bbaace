"""Receipts: proof that one envelope is entry number `index` of this cluster's log, with no node online.

(block header, inclusion proof, commit certificate); anyone who has the genesis, or the cluster's policy, can check it.
docs/protocol.md, "Receipt"; as a file it is text, docs/receipts.md, "The quick receipt":

    bftnode/receipt@v1
    entry base64(envelope)     (may be left out)
    index 73894
    base64(sibling)            (as many as the path has)

    header base64(header)
    certificate base64(certificate)
"""

from typing import Annotated

from msgspec import Meta

from bftnode.protocol import limits
from bftnode.protocol.blocks import HEADER_BYTES_MAX, hash_header, open_header
from bftnode.protocol.certificates import COMMIT, Certificate, check_certificate
from bftnode.protocol.codec import Hash32, UInt, Wire, decode, encode
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.merkle import leaf_hash, verify_inclusion
from bftnode.protocol.tlog.encoding import from_base64, from_decimal, malformed, to_base64

FORMAT = "bftnode/receipt@v1"
PATH_MAX = 64
RECEIPT_BYTES_MAX = 1024 * 1024
"""A longer file is refused: base64 of an envelope, a path, and a certificate of 64 members (15 kB) fit."""


class Receipt(Wire, frozen=True):
    """`header` is of the certified block: the log that it names contains the envelope at `index`."""

    header: Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)]
    index: UInt
    path: Annotated[tuple[Hash32, ...], Meta(max_length=PATH_MAX)]
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


def write_receipt(receipt: Receipt, envelope: bytes | None = None) -> bytes:
    """The file of a quick receipt, with the entry in it unless that is kept elsewhere."""
    lines = [FORMAT]
    if envelope is not None:
        lines.append(f"entry {to_base64(envelope)}")
    lines += [f"index {receipt.index}", *(to_base64(node) for node in receipt.path), ""]
    lines += [f"header {to_base64(receipt.header)}", f"certificate {to_base64(encode(receipt.certificate))}", ""]
    return "\n".join(lines).encode()


def parse_receipt(raw: bytes) -> tuple[Receipt, bytes | None]:
    """A quick receipt and the entry in its file; nothing is verified.

    Raises Refused(NOTE_MALFORMED | CODEC_*).
    """
    if len(raw) > RECEIPT_BYTES_MAX:
        raise malformed(f"a receipt is at most {RECEIPT_BYTES_MAX} bytes")
    if not raw.isascii():
        raise malformed("a receipt is ASCII")
    head, _, tail = raw.decode("ascii").partition("\n\n")
    name, *lines = head.split("\n")
    if name != FORMAT:
        raise malformed(f"a quick receipt begins with {FORMAT}")
    envelope = _taken(lines.pop(0), "entry") if lines and lines[0].startswith("entry ") else None
    if not lines or not lines[0].startswith("index "):
        raise malformed("a receipt names an index")
    index = from_decimal(lines.pop(0).removeprefix("index "), "the index of a receipt")
    path = tuple(from_base64(line, "a hash of a receipt") for line in lines)
    if len(path) > PATH_MAX or any(len(node) != 32 for node in path):
        raise malformed("the path of a receipt is at most 64 hashes of 32 bytes")
    match tail.split("\n"):
        case [header, certificate, ""]:
            return (
                Receipt(
                    _taken(header, "header"),
                    index,
                    path,
                    decode(_taken(certificate, "certificate"), Certificate, limits.BODY_BYTES_MAX),
                ),
                envelope,
            )
    raise malformed("a receipt ends in a header and a certificate")


def _taken(line: str, word: str) -> bytes:
    if not line.startswith(f"{word} "):
        raise malformed(f"a line of a receipt is not its {word}")
    return from_base64(line.removeprefix(f"{word} "), f"the {word} of a receipt")
