"""The log in one transaction: blocks, certificates, Merkle nodes and where each transaction stands.

`LogReader` reads what is there and believes none of it unchecked; `append` writes one block. What may be appended
is decided elsewhere. Nodes and places are derived data: of the last blocks they may be pending, in the layers that
a reader is given of the same moment; without them it knows those as of the derived height.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from bftnode.protocol import limits
from bftnode.protocol.blocks import Block, Header, Packed, hash_header, open_block, open_header, pack_block
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import decoder_of, encode
from bftnode.protocol.errors import Refused
from bftnode.protocol.merkle import Frontier, inclusion_proof, verify_inclusion
from bftnode.protocol.receipts import Receipt
from bftnode.storage.errors import IntegrityError
from bftnode.storage.pending import Layer
from bftnode.storage.records import (
    NODES_PER_RECORD,
    Databases,
    Placed,
    Txn,
    block_key,
    get,
    get_or_prove_absent,
    need,
    node_position,
    number,
    open_placed,
    opened,
    pack,
    put,
    record_name,
    unpack,
    unseal,
)

_HASH_BYTES = 32

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

    def header_raw(self, seq: int) -> bytes:
        return need(self._txn, self._db.log, number(seq))

    def header(self, seq: int) -> Header:
        db, key = self._db.log, number(seq)
        header = opened(db, key, open_header, need(self._txn, db, key))
        if header.seq != seq:
            raise IntegrityError(record_name(db, key), f"the header of height {header.seq}")
        return header

    def packed(self, seq: int) -> Packed:
        """The committed block at `seq`."""
        raw = self.header_raw(seq)
        key = block_key(seq, hash_header(raw))
        packed = unpack(need(self._txn, self._db.blocks, key))
        if packed.header != raw:
            raise IntegrityError(record_name(self._db.blocks, key), "not the block that the log names")
        return packed

    def find(self, block: bytes) -> Packed | None:
        """The block of this hash, committed or stored."""
        if len(block) != _HASH_BYTES:
            return None
        key = get(self._txn, self._db.hashes, block)
        if key is None:
            return None
        value = get(self._txn, self._db.blocks, key + block)
        if value is None:
            raise IntegrityError(record_name(self._db.blocks, key + block), "the record is missing")
        packed = unpack(value)
        if hash_header(packed.header) != block:
            raise IntegrityError(record_name(self._db.blocks, key + block), "not the block of its key")
        return packed

    def block(self, seq: int) -> Block:
        """The committed block at `seq`, opened: its body is the one that its header names."""
        return self._open(block_key(seq, hash_header(self.header_raw(seq))), self.packed(seq))

    def stored_above(self, height: int) -> dict[bytes, Block]:
        """Every block above the head, by hash. The replica bounds how many there are (chain.BLOCKS_MAX)."""
        db, blocks = self._db.blocks, {}
        cursor = self._txn.cursor(db=db.handle)
        if cursor.set_range(number(height + 1)):
            for key, sealed in cursor:
                block = self._open(key, unpack(unseal(db, key, sealed)))
                if key != block_key(block.seq, block.hash):
                    raise IntegrityError(record_name(db, key), "not the block of its key")
                blocks[block.hash] = block
        return blocks

    def _open(self, key: bytes, packed: Packed) -> Block:
        try:
            return open_block(packed.header, packed.payload)
        except Refused as refused:
            raise IntegrityError(record_name(self._db.blocks, key), str(refused)) from refused

    def certificate(self, seq: int) -> Certificate | None:
        """The certificate stored with exactly this height."""
        key = number(seq)
        raw = get(self._txn, self._db.certificates, key)
        return None if raw is None else self._certificate(key, raw)

    def certificate_from(self, seq: int) -> Certificate | None:
        """The lowest certificate at or above this height."""
        cursor = self._txn.cursor(db=self._db.certificates.handle)
        return self._sealed_certificate(*cursor.item()) if cursor.set_range(number(seq)) else None

    def last_certificate(self) -> Certificate | None:
        cursor = self._txn.cursor(db=self._db.certificates.handle)
        return self._sealed_certificate(*cursor.item()) if cursor.last() else None

    def _sealed_certificate(self, key: bytes, sealed: bytes) -> Certificate:
        return self._certificate(key, unseal(self._db.certificates, key, sealed))

    def _certificate(self, key: bytes, raw: bytes) -> Certificate:
        db = self._db.certificates
        certificate: Certificate = opened(db, key, _open_certificate, raw)
        if number(certificate.seq) != key:
            raise IntegrityError(record_name(db, key), f"the certificate of height {certificate.seq}")
        return certificate

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

    def run(self, first: int) -> tuple[tuple[Packed, ...], Certificate] | None:
        """Committed blocks from `first` to a certified one, and its certificate, or None.

        The last certified block within RUN_BYTES_TARGET and RUN_BLOCKS_MAX, or where there is none the first one
        past them. So a run is never longer than the target or the longest stretch of blocks that one certificate
        covers; and who stores a run as one stretch does not hand on longer ones than it was given.
        """
        height, blocks, size = self.height(), list[Packed](), 0
        best: tuple[int, Certificate] | None = None
        for seq in range(max(first, 1), height + 1):
            packed = self.packed(seq)
            size += len(packed.header) + len(packed.payload)
            past = size > limits.RUN_BYTES_TARGET or len(blocks) >= limits.RUN_BLOCKS_MAX
            if (past and best is not None) or size > limits.FRAME_BYTES_MAX:
                break
            blocks.append(packed)
            certificate = self.certificate(seq)
            if certificate is not None:
                best = (len(blocks), certificate)
        return None if best is None else (tuple(blocks[: best[0]]), best[1])

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
            raise IntegrityError(f"{self._db.certificates.name}/{certificate.seq}", "not of the block in the log")
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


def store(txn: Txn, db: Databases, block: Block) -> None:
    """Keep a block, to be found by its hash. What is there already is not written again."""
    if put(txn, db.hashes, block.hash, number(block.seq), overwrite=False):
        put(txn, db.blocks, block_key(block.seq, block.hash), pack(pack_block(block)))


def drop(txn: Txn, db: Databases, block: bytes) -> None:
    """Forget a stored block. A committed one stays: the log is made of it."""
    key = get(txn, db.hashes, block)
    if key is None:
        return
    committed = get(txn, db.log, key)
    if committed is not None and hash_header(committed) == block:
        return
    txn.delete(key + block, db=db.blocks.handle)
    txn.delete(block, db=db.hashes.handle)


def append(txn: Txn, db: Databases, block: Block, certificate: Certificate | None) -> None:
    """The next block of the log. Its Merkle nodes and its transactions' places follow as derived data."""
    store(txn, db, block)
    put(txn, db.log, number(block.seq), block.header_raw, append=True)
    if certificate is not None:
        assert (certificate.seq, certificate.block) == (block.seq, block.hash), "a block is stored with its certificate"
        put(txn, db.certificates, number(block.seq), encode(certificate), append=True)


def node_records(first: int, hashes: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Hashes of the nodes from position `first` on, in records named by their last position."""
    records = []
    for start in range(0, len(hashes), NODES_PER_RECORD):
        chunk = hashes[start : start + NODES_PER_RECORD]
        records.append((number(first + start + len(chunk) - 1), b"".join(chunk)))
    return records
