"""RFC 6962 Merkle trees over SHA-256: roots, inclusion and consistency proofs, and the growing frontier.

The whole log is one such tree (a leaf a client envelope); its root is in every block header. A `Frontier` is
all that is needed to append: the roots of the perfect subtrees, largest first. The complete nodes that an
append creates are named (level, index) so that storage can keep them and a proof is O(log n) reads.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()

Node = tuple[int, int, bytes]
"""(level, index, hash): the root of the leaves [index << level, (index + 1) << level)."""

NodeAt = Callable[[int, int], bytes]
"""(level, index) -> the hash of that complete subtree."""


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962, section 2.1: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, section 2.1: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree of `size` leaves: enough to append and to know the root. Immutable."""

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: tuple[bytes, ...] = ()) -> None:
        assert size.bit_count() == len(peaks), "one peak for each set bit of the size"
        self.size = size
        self.peaks = peaks

    def append(self, leaves: Iterable[bytes]) -> tuple["Frontier", list[Node]]:
        """The frontier after more leaf hashes, and every complete node that they created, leaves included."""
        size, peaks, nodes = self.size, list(self.peaks), []
        for leaf in leaves:
            level, index, digest = 0, size, leaf
            nodes.append((0, index, digest))
            while size >> level & 1:
                digest = node_hash(peaks.pop(), digest)
                level += 1
                index >>= 1
                nodes.append((level, index, digest))
            peaks.append(digest)
            size += 1
        return Frontier(size, tuple(peaks)), nodes

    def grown(self, leaves: Iterable[bytes]) -> "Frontier":
        """The frontier after more leaf hashes: `append` for who does not keep the nodes, in half the time."""
        size, peaks, sha256 = self.size, list(self.peaks), hashlib.sha256
        for leaf in leaves:
            digest, rest = leaf, size
            while rest & 1:
                digest = sha256(b"\x01" + peaks.pop() + digest).digest()
                rest >>= 1
            peaks.append(digest)
            size += 1
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """The tree head: SHA-256("") for the empty tree (RFC 6962, section 2.1)."""
        if not self.peaks:
            return EMPTY_ROOT
        digest = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            digest = node_hash(peak, digest)
        return digest

    @staticmethod
    def load(size: int, node_at: NodeAt) -> "Frontier":
        """The frontier of `size` leaves read from stored complete nodes."""
        return Frontier(size, tuple(node_at(level, index) for level, index in _cover(0, size)))


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    return Frontier().grown(leaves).root()


def _cover(start: int, end: int) -> list[tuple[int, int]]:
    """The perfect subtrees, largest first, of the leaves [start, end), where start is a multiple of the largest
    power of two that is not above the width (so RFC 6962's recursion only ever asks for these)."""
    cover = []
    while start < end:
        level = (end - start).bit_length() - 1
        cover.append((level, start >> level))
        start += 1 << level
    return cover


def _subtree_root(start: int, end: int, node_at: NodeAt) -> bytes:
    cover = _cover(start, end)
    digest = node_at(*cover[-1])
    for level, index in reversed(cover[:-1]):
        digest = node_hash(node_at(level, index), digest)
    return digest


def _split(width: int) -> int:
    """The largest power of two smaller than `width` (RFC 6962, section 2.1)."""
    return 1 << ((width - 1).bit_length() - 1)


def inclusion_proof(index: int, size: int, node_at: NodeAt) -> list[bytes]:
    """The audit path PATH(index, D[size]) of RFC 6962, section 2.1.1, nearest sibling first."""
    assert 0 <= index < size, "a proof is for a leaf of the tree"
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree_root(middle, end, node_at))
            end = middle
        else:
            path.append(_subtree_root(start, middle, node_at))
            start = middle
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf` (a leaf hash) is leaf `index` of the tree of `size` leaves with that root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, digest = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            digest = node_hash(sibling, digest)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            digest = node_hash(digest, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and digest == root


def consistency_proof(old: int, new: int, node_at: NodeAt) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962, section 2.1.2: that the first `old` leaves are unchanged."""
    assert 0 <= old <= new, "a log only grows"
    if old in (0, new):
        return []
    start, end, path, whole = 0, new, [], True
    while end != old or not whole:
        if end == old:
            path.append(_subtree_root(start, end, node_at))
            break
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_subtree_root(middle, end, node_at))
            end = middle
        else:
            path.append(_subtree_root(start, middle, node_at))
            start = middle
            whole = False
    return path[::-1]


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the tree (old, old_root) is a prefix of (new, new_root) (RFC 9162, section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    proof = list(path)
    if old & (old - 1) == 0:
        proof.insert(0, old_root)
    if not proof:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_digest = new_digest = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_digest = node_hash(sibling, old_digest)
            new_digest = node_hash(sibling, new_digest)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new_digest = node_hash(new_digest, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and old_digest == old_root and new_digest == new_root
