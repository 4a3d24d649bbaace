"""The log in one transaction: blocks, certificates, Merkle nodes and where each transaction stands.

`LogReader` reads what is there and believes none of it unchecked; `append` writes one block. What may be appended
is decided elsewhere. Hashes, nodes and places are derived data: of the last blocks they may be pending, in the layers
that a reader is given of the same moment; without them it knows those as of the derived height.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bftnode.protocol import limits
from bftnode.protocol.blocks import Block, Header, Packed, hash_header, open_block, open_header
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import decoder_of, encode
from bftnode.protocol.cosigning import Cosigned
from bftnode.protocol.errors import Refused
from bftnode.protocol.merkle import Frontier, inclusion_proof, verify_inclusion
from bftnode.protocol.receipts import Receipt
from bftnode.storage import pieces
from bftnode.storage.errors import IntegrityError
from bftnode.storage.pending import Layer
from bftnode.storage.records import (
    NODES_PER_RECORD,
    Database,
    Databases,
    Kept,
    Logged,
    Placed,
    Txn,
    get,
    get_or_prove_absent,
    items,
    need,
    node_position,
    number,
    open_kept,
    open_logged,
    open_placed,
    opened,
    put,
    record_name,
    unseal,
)

_HASH_BYTES = 32

_open_cosigned = decoder_of(Cosigned, limits.BODY_BYTES_MAX)
_open_certificate = decoder_of(Certificate, limits.BODY_BYTES_MAX)


class Entry(NamedTuple):
    """One envelope of the log."""

    log_index: int
    seq: int
    time_ms: int
    envelope: bytes


class LogReader:
    """Reads within one transaction. Every method raises IntegrityError on what is damaged or contradicts itself."""

    def __init__(self, txn: Txn, databases: Databases, layers: Sequence[Layer] = ()) -> None:
        self._txn = txn
        self._db = databases
        self._layers = layers

    def height(self) -> int:
        """Of the head; the genesis block has height 0."""
        cursor = self._txn.cursor(db=self._db.log.handle)
        if not cursor.last():
            raise IntegrityError(self._db.log.name, "the log is empty")
        key, sealed = cursor.item()
        unseal(self._db.log, key, sealed)
        return int.from_bytes(key, "big")

    def logged(self, seq: int) -> Logged:
        """What the log says of height `seq`."""
        db, key = self._db.log, number(seq)
        return opened(db, key, open_logged, need(self._txn, db, key))

    def size(self) -> int:
        """Entries of the log, as far as it is written."""
        return self.header(self.height()).log_size

    def header_raw(self, seq: int) -> bytes:
        return self.logged(seq).header

    def header(self, seq: int) -> Header:
        db, key = self._db.log, number(seq)
        header = opened(db, key, open_header, self.header_raw(seq))
        if header.seq != seq:
            raise IntegrityError(record_name(db, key), f"the header of height {header.seq}")
        return header

    def packed(self, seq: int) -> Packed:
        """The committed block at `seq`, as it travels; that body and header belong together is for who opens it."""
        return self._packed(self.logged(seq))

    def _packed(self, block: Logged | Kept) -> Packed:
        return Packed(block.header, pieces.read(self._txn, self._db.blocks, block.first, block.size))

    def find(self, block: bytes) -> Packed | None:
        """The block of this hash, committed or stored."""
        if len(block) != _HASH_BYTES:
            return None
        kept = get(self._txn, self._db.stored, block)
        if kept is not None:
            name = record_name(self._db.stored, block)
            packed = self._packed(opened(self._db.stored, block, open_kept, kept))
        else:
            seq = self._seq_of(block)
            if seq is None:
                return None
            name = record_name(self._db.hashes, block)
            packed = self.packed(seq)
        if hash_header(packed.header) != block:
            raise IntegrityError(name, "not the block of its key")
        return packed

    def _seq_of(self, block: bytes) -> int | None:
        for layer in self._layers:
            if block in layer.blocks:
                seq = layer.blocks[block]
                # Executed is not appended yet: then it is not in the log of this moment.
                return seq if seq <= self.height() else None
        raw = get(self._txn, self._db.hashes, block)
        return None if raw is None else int.from_bytes(raw, "big")

    def block(self, seq: int) -> Block:
        """The committed block at `seq`, opened: its body is the one that its header names."""
        return self._open(record_name(self._db.log, number(seq)), self.packed(seq))

    def stored_above(self, height: int) -> dict[bytes, Block]:
        """Every stored block above `height`, by hash. The replica bounds how many there are (chain.BLOCKS_MAX)."""
        db, blocks = self._db.stored, {}
        for key, raw in items(self._txn, db):
            kept = opened(db, key, open_kept, raw)
            if kept.seq > height:
                block = self._open(record_name(db, key), self._packed(kept))
                if (block.seq, block.hash) != (kept.seq, key):
                    raise IntegrityError(record_name(db, key), "not the block of its key")
                blocks[key] = block
        return dict(sorted(blocks.items(), key=lambda item: (item[1].seq, item[0])))

    def _open(self, name: str, packed: Packed) -> Block:
        try:
            return open_block(packed.header, packed.payload)
        except Refused as refused:
            raise IntegrityError(name, str(refused)) from refused

    def certificate(self, seq: int) -> Certificate | None:
        """The certificate stored with exactly this height."""
        key = number(seq)
        raw = get(self._txn, self._db.log, key)
        return None if raw is None else self._certificate(key, raw)

    def certificate_from(self, seq: int) -> Certificate | None:
        """The lowest certificate at or above this height: within what one certificate covers, a run at most."""
        found = (self._certificate(key, raw) for key, raw in items(self._txn, self._db.log, number(seq)))
        return next((certificate for certificate in found if certificate is not None), None)

    def last_certificate(self) -> Certificate | None:
        cursor = self._txn.cursor(db=self._db.log.handle)
        for key, sealed in cursor.iterprev():
            certificate = self._certificate(key, unseal(self._db.log, key, sealed))
            if certificate is not None:
                return certificate
        return None

    def _certificate(self, key: bytes, raw: bytes) -> Certificate | None:
        return certificate_in(self._db.log, key, opened(self._db.log, key, open_logged, raw))

    def seq_of_index(self, index: int, height: int) -> int | None:
        """The height of the block that holds entry `index`, up to `height`: a search through log_n headers."""
        if index < 0:
            return None
        seq = bisect_right(range(height + 1), index, key=lambda at: self.header(at).log_size)
        return seq if seq <= height else None

    def first_index(self, seq: int) -> int:
        """The log index of the first envelope of the block at `seq`."""
        return self.header(seq - 1).log_size if seq else 0

    def frontier(self, size: int) -> Frontier:
        return Frontier.load(size, self.node_at)

    def node_at(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree of the log's Merkle tree. Raises IntegrityError where there is none."""
        db, position = self._db.nodes, node_position(level, index)
        for layer in self._layers:
            if 0 <= position - layer.first_node < len(layer.nodes):
                return layer.nodes[position - layer.first_node]
        cursor = self._txn.cursor(db=db.handle)
        if not cursor.set_range(number(position)):
            raise IntegrityError(f"{db.name}/{level}/{index}", "no such node")
        key, sealed = cursor.item()
        hashes = unseal(db, key, sealed)
        # The key names the last node of the record.
        at = len(hashes) - (int.from_bytes(key, "big") - position + 1) * _HASH_BYTES
        if at < 0:
            raise IntegrityError(f"{db.name}/{level}/{index}", "the record is missing")
        return hashes[at : at + _HASH_BYTES]

    def entries(self, first_index: int, limit: int) -> list[Entry]:
        """Entries from `first_index` on: at most `limit`, and none past the block that fills RUN_BYTES_TARGET."""
        height, found, size = self.height(), list[Entry](), 0
        seq = self.seq_of_index(first_index, height)
        while seq is not None and seq <= height and len(found) < limit and size < limits.RUN_BYTES_TARGET:
            block, start = self.block(seq), self.first_index(seq)
            for offset, envelope in enumerate(block.transactions):
                if start + offset >= first_index and len(found) < limit:
                    found.append(Entry(start + offset, seq, block.header.time_ms, envelope))
                    size += len(envelope)
            seq += 1
        return found

    def run(self, first: int, last: int) -> tuple[tuple[Packed, ...], Certificate] | None:
        """Committed blocks from `first` to a certified one, and its certificate, or None.

        The last certified block up to `last` within RUN_BYTES_TARGET and RUN_BLOCKS_MAX, or where there is none the
        first one past them. So a run is never longer than the target or the longest stretch of blocks that one
        certificate covers; and who stores a run as one stretch does not hand on longer ones than it was given.
        """
        height, blocks, size = self.height(), list[Packed](), 0
        best: tuple[int, Certificate] | None = None
        for seq in range(max(first, 1), height + 1):
            packed = self.packed(seq)
            size += len(packed.header) + len(packed.payload)
            past = size > limits.RUN_BYTES_TARGET or len(blocks) >= limits.RUN_BLOCKS_MAX or seq > last
            if (past and best is not None) or size > limits.FRAME_BYTES_MAX:
                break
            blocks.append(packed)
            certificate = self.certificate(seq)
            if certificate is not None:
                best = (len(blocks), certificate)
        return None if best is None else (tuple(blocks[: best[0]]), best[1])

    def checkpoint(self, size: int) -> Cosigned | None:
        """The smallest cosigned checkpoint of at least this size."""
        cursor = self._txn.cursor(db=self._db.cosigned.handle)
        return self._cosigned(*cursor.item()) if cursor.set_range(number(size)) else None

    def last_checkpoint(self) -> Cosigned | None:
        cursor = self._txn.cursor(db=self._db.cosigned.handle)
        return self._cosigned(*cursor.item()) if cursor.last() else None

    def _cosigned(self, key: bytes, sealed: bytes) -> Cosigned:
        db = self._db.cosigned
        cosigned: Cosigned = opened(db, key, _open_cosigned, unseal(db, key, sealed))
        if number(cosigned.log_size) != key:
            raise IntegrityError(record_name(db, key), f"the checkpoint of size {cosigned.log_size}")
        return cosigned

    def receipt(self, index: int) -> Receipt | None:
        """The proof of entry `index`, against the lowest certified block at or above it; None: nothing certified.

        Raises IntegrityError rather than hand out a proof that does not prove it.
        """
        seq = self.seq_of_index(index, self.height())
        if seq is None:
            return None
        certificate = self.certificate_from(seq)
        if certificate is None:
            return None
        raw, header = self.header_raw(certificate.seq), self.header(certificate.seq)
        path = tuple(inclusion_proof(index, header.log_size, self.node_at))
        leaf = self.block(seq).leaves[index - self.first_index(seq)]
        if certificate.block != hash_header(raw):
            raise IntegrityError(f"{self._db.log.name}/{certificate.seq}", "the certificate is of another block")
        if not verify_inclusion(leaf, index, header.log_size, path, header.log_root):
            raise IntegrityError(f"{self._db.nodes.name} for entry {index}", "the proof does not lead to the log root")
        return Receipt(raw, index, path, certificate)

    def placed(self, transaction: bytes) -> Placed | None:
        """Where the envelope of this id stands."""
        if len(transaction) != _HASH_BYTES:
            return None
        raw = self._placed_raw(transaction)
        return None if raw is None else opened(self._db.transactions, transaction, open_placed, raw)

    def _placed_raw(self, transaction: bytes) -> bytes | None:
        for layer in self._layers:
            if transaction in layer.executed:
                return layer.executed[transaction]
        raw = get_or_prove_absent(self._txn, self._db.transactions, transaction)
        if raw is not None:
            return raw
        rejected = (layer.rejected.get(transaction) for layer in self._layers)  # oldest first: the first one counts
        return next((placed for placed in rejected if placed is not None), None)


def certificate_in(db: Database, key: bytes, logged: Logged) -> Certificate | None:
    """The certificate of one record of the log. Raises IntegrityError."""
    if not logged.certificate:
        return None
    certificate: Certificate = opened(db, key, _open_certificate, logged.certificate)
    if number(certificate.seq) != key:
        raise IntegrityError(record_name(db, key), f"the certificate of height {certificate.seq}")
    return certificate


def store(txn: Txn, db: Databases, block: Block) -> None:
    """Keep a block, to be found by its hash. What is there already, stored or committed, is not written again."""
    if get(txn, db.stored, block.hash) is None and not _is_committed(txn, db, block):
        first = pieces.write(txn, db.blocks, block.payload)
        put(txn, db.stored, block.hash, encode(Kept(block.seq, block.header_raw, first, len(block.payload))))


def _is_committed(txn: Txn, db: Databases, block: Block) -> bool:
    key = number(block.seq)
    raw = get(txn, db.log, key)
    return raw is not None and opened(db.log, key, open_logged, raw).header == block.header_raw


def drop(txn: Txn, db: Databases, block: bytes) -> None:
    """Forget a stored block. A committed one stays: it is not among the stored ones any more."""
    raw = get(txn, db.stored, block)
    if raw is not None:
        kept = opened(db.stored, block, open_kept, raw)
        pieces.remove(txn, db.blocks, kept.first, kept.size)
        txn.delete(block, db=db.stored.handle)


def append(txn: Txn, db: Databases, block: Block, certificate: Certificate | None) -> None:
    """The next block of the log. Its hash, Merkle nodes and transactions' places follow as derived data."""
    raw = get(txn, db.stored, block.hash)
    if raw is None:
        first = pieces.write(txn, db.blocks, block.payload)
    else:
        first = opened(db.stored, block.hash, open_kept, raw).first
        txn.delete(block.hash, db=db.stored.handle)
    proof = b""
    if certificate is not None:
        assert (certificate.seq, certificate.block) == (block.seq, block.hash), "a block is stored with its certificate"
        proof = encode(certificate)
    logged = Logged(block.header_raw, first, len(block.payload), proof)
    put(txn, db.log, number(block.seq), encode(logged), append=True)


def keep_checkpoint(txn: Txn, db: Databases, cosigned: Cosigned) -> None:
    """One of the same size gives way, but for what the new one lacks: members' cosignatures and outside ones come by
    different ways."""
    key = number(cosigned.log_size)
    raw = get(txn, db.cosigned, key)
    if raw is not None:
        before: Cosigned = opened(db.cosigned, key, _open_cosigned, raw)
        if len(before.cosignatures) > len(cosigned.cosignatures):
            cosigned = msgspec.structs.replace(cosigned, cosignatures=before.cosignatures)
        if not cosigned.outside:
            cosigned = msgspec.structs.replace(cosigned, outside=before.outside)
    put(txn, db.cosigned, key, encode(cosigned))


def node_records(first: int, hashes: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Hashes of the nodes from position `first` on, in records named by their last position."""
    records = []
    for start in range(0, len(hashes), NODES_PER_RECORD):
        chunk = hashes[start : start + NODES_PER_RECORD]
        records.append((number(first + start + len(chunk) - 1), b"".join(chunk)))
    return records
