"""What `forensics` is given: a home, a data directory, a copy of one, a receipt or an exported log.

An exhibit in a file is JSON lines, each one object of one field in hexadecimal digits: "header", "certificate",
"new_view", "loose" or "receipt", the canonical bytes of each. A receipt may also stand alone, as its file or its
canonical bytes.
"""

import json
from pathlib import Path

from bftnode.protocol import limits
from bftnode.protocol.blocks import hash_header, open_header
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.forensics import Testimony
from bftnode.protocol.receipts import FORMAT, Receipt, parse_receipt
from bftnode.storage.directory import LMDB_NAME, VERSION_NAME, identity_of
from bftnode.storage.environment import DATA_NAME
from bftnode.storage.testimony import read_testimony

EXHIBIT_BYTES_MAX = 1024**3
"""A longer file is refused; a log that long is compared as a data directory."""

NO_PROOF = (
    "holds entries without certificates, which prove nothing against a member: compare receipts, data directories, or"
    " logs written by `bftnode forensics --export`"
)


def read_exhibit(path: Path, chain_id: bytes) -> Testimony:
    """What `path` says.

    Raises Refused(FOREIGN_DATA | NOT_FOUND | INTEGRITY | CODEC_*), IntegrityError, StorageBroken.
    """
    if path.is_dir():
        return _read_directory(path, chain_id)
    if path.stat().st_size > EXHIBIT_BYTES_MAX:
        raise Refused(Reason.CODEC_SIZE, f"{path} is longer than {EXHIBIT_BYTES_MAX} bytes")
    raw = path.read_bytes()
    if raw.startswith(FORMAT.encode()):
        testimony = _of_receipts([encode(parse_receipt(raw)[0])])
    else:
        testimony = _read_lines(path, raw) if raw.lstrip()[:1] == b"{" else _of_receipts([raw])
    for header in testimony.headers:
        if open_header(header).chain_id != chain_id:
            raise Refused(Reason.FOREIGN_DATA, f"{path} is of another cluster than the genesis")
    return testimony


def _read_directory(path: Path, chain_id: bytes) -> Testimony:
    for data in (path / "data", path):
        if (data / VERSION_NAME).exists():
            found = identity_of(data).chain_id
            if found != chain_id:
                raise Refused(Reason.FOREIGN_DATA, f"{data} is of the cluster {found.hex()[:16]}")
            return read_testimony(data / LMDB_NAME)
    if (path / DATA_NAME).exists():
        return read_testimony(path)
    raise Refused(Reason.NOT_FOUND, f"{path} is no home, no data directory and no copy of one")


def _read_lines(path: Path, raw: bytes) -> Testimony:
    found: dict[str, list[bytes]] = {"header": [], "certificate": [], "new_view": [], "loose": [], "receipt": []}
    for number, line in enumerate(raw.splitlines(), 1):
        try:
            item = json.loads(line)
            if "envelope" in item:
                raise Refused(Reason.INTEGRITY, f"{path} {NO_PROOF}")
            ((name, digits),) = item.items()
            found[name].append(bytes.fromhex(digits))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Refused(Reason.INTEGRITY, f"{path}: line {number} is not of an exhibit") from None
    receipts = _of_receipts(found["receipt"])
    certificates = tuple(decode(item, Certificate, limits.BODY_BYTES_MAX) for item in found["certificate"])
    return Testimony(
        headers=(*found["header"], *receipts.headers),
        certificates=(*certificates, *receipts.certificates),
        new_views=tuple(found["new_view"]),
        loose=tuple(found["loose"]),
    )


def _of_receipts(raws: list[bytes]) -> Testimony:
    receipts = [decode(raw, Receipt, limits.BODY_BYTES_MAX) for raw in raws]
    return Testimony(
        headers=tuple(receipt.header for receipt in receipts),
        certificates=tuple(receipt.certificate for receipt in receipts),
        new_views=(),
    )


def write_exhibit(testimony: Testimony) -> str:
    """The JSON lines of a testimony, which `read_exhibit` reads."""
    fields = [("header", raw) for raw in testimony.headers]
    fields += [("certificate", encode(certificate)) for certificate in testimony.certificates]
    fields += [("new_view", raw) for raw in testimony.new_views]
    fields += [("loose", raw) for raw in testimony.loose]
    return "".join(json.dumps({name: raw.hex()}) + "\n" for name, raw in fields)


def trimmed(left: Testimony, right: Testimony) -> tuple[Testimony, Testimony]:
    """Both without the beginning that they have in common and that no certificate of either contradicts: it costs no
    signature checks then, however long it is."""
    mine = {hash_header(raw): raw for raw in left.headers}
    common = {name: open_header(mine[name]).seq for name in map(hash_header, right.headers) if name in mine}
    last = max(common.values(), default=0)
    odd = [item.seq for side in (left, right) for item in side.certificates if item.block not in common]
    keep_from = min([last + 1, *odd])
    return _from(left, keep_from), _from(right, keep_from)


def _from(testimony: Testimony, seq: int) -> Testimony:
    return Testimony(
        headers=tuple(raw for raw in testimony.headers if open_header(raw).seq >= seq),
        certificates=tuple(item for item in testimony.certificates if item.seq >= seq),
        new_views=testimony.new_views,
        loose=testimony.loose,
    )
