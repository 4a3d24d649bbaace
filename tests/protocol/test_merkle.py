"""Merkle trees against RFC 6962 itself: its vectors, a slow reading of its text, and pymerkle."""

import hashlib
from functools import cache

import pymerkle
import pytest

from bftnode.protocol.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

SIZES = range(301)
DATA = [i.to_bytes(2, "big") * (i % 5) for i in range(max(SIZES))]
LEAVES = [leaf_hash(data) for data in DATA]
NODES = {(level, index): digest for level, index, digest in Frontier().append(LEAVES)[1]}


def node_at(level: int, index: int) -> bytes:
    return NODES[level, index]


# RFC 6962, section 2.1, read aloud; of DATA[start:end] in the place of D[n], so that a subtree is hashed once.
@cache
def mth(start: int, end: int) -> bytes:
    if start == end:
        return hashlib.sha256(b"").digest()
    if end - start == 1:
        return hashlib.sha256(b"\x00" + DATA[start]).digest()
    k = start + split(end - start)
    return hashlib.sha256(b"\x01" + mth(start, k) + mth(k, end)).digest()


@cache
def split(n: int) -> int:
    return max(2**i for i in range(n.bit_length()) if 2**i < n)


def path(m: int, start: int, end: int) -> list[bytes]:
    """Section 2.1.1; `m` counts from `start`."""
    if end - start == 1:
        return []
    k = split(end - start)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, end)]
    return [*path(m - k, start + k, end), mth(start, start + k)]


def proof(m: int, start: int, end: int, whole: bool = True) -> list[bytes]:
    """Section 2.1.2, SUBPROOF."""
    if m == end - start:
        return [] if whole else [mth(start, end)]
    k = split(end - start)
    if m <= k:
        return [*proof(m, start, start + k, whole), mth(start + k, end)]
    return [*proof(m - k, start + k, end, False), mth(start, start + k)]


ROOTS = [mth(0, size) for size in SIZES]


def test_the_published_vectors() -> None:
    """The roots of Certificate Transparency's own test trees (certificate-transparency, merkle_tree_test)."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    leaves = [leaf_hash(bytes.fromhex(data)) for data in inputs]
    assert [root_of(leaves[:size]).hex() for size in range(9)] == roots
    assert roots[0] == EMPTY_ROOT.hex()


@pytest.mark.parametrize("size", SIZES)
def test_roots_and_inclusion_proofs_are_the_rfcs(size: int) -> None:
    """Every leaf of every tree; each proof verifies."""
    assert root_of(LEAVES[:size]) == ROOTS[size]
    for index in range(size):
        made = inclusion_proof(index, size, node_at)
        assert made == path(index, 0, size)
        assert verify_inclusion(LEAVES[index], index, size, made, ROOTS[size])


@pytest.mark.parametrize("new", SIZES)
def test_consistency_proofs_are_the_rfcs(new: int) -> None:
    """Every earlier size; each proof verifies."""
    for old in range(new + 1):
        made = consistency_proof(old, new, node_at)
        assert made == (proof(old, 0, new) if old else [])
        assert verify_consistency(old, new, ROOTS[old], ROOTS[new], made)


def test_pymerkle_agrees() -> None:
    """An implementation that is not ours: every root, and every audit path (its first element is the leaf itself)."""
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for size, data in enumerate(DATA, 1):
        tree.append_entry(data)
        assert tree.get_root() == ROOTS[size]
    for size in (1, 2, 3, 127, 128, 129, 255, 256, 257, len(DATA)):
        for index in range(size):
            theirs = tree.prove_inclusion(index + 1, size).path
            assert theirs == [LEAVES[index], *inclusion_proof(index, size, node_at)]


def test_proofs_read_a_logarithm_of_the_tree() -> None:
    """Of a log of ten million entries some two dozen nodes, and never more than three times its depth."""
    size = 10_000_000
    for index in (0, 1, 4_999_999, 8_388_607, 8_388_608, size - 2, size - 1):
        for make in (inclusion_proof, consistency_proof):
            reads: list[tuple[int, int]] = []

            def counted(level: int, at: int, reads: list[tuple[int, int]] = reads) -> bytes:
                assert (at + 1) << level <= size, "a complete node of the tree"
                reads.append((level, at))
                return bytes(32)

            make(index, size, counted)
            assert len(reads) <= 3 * size.bit_length()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13, 64, 70])
def test_a_frontier_grows_in_any_pieces(size: int) -> None:
    """Appending at once, one by one, or after loading from stored nodes: the same root and the same nodes."""
    whole, nodes = Frontier().append(LEAVES[:size])
    grown = Frontier().grown(LEAVES[: size // 2]).grown(LEAVES[size // 2 : size])
    assert (grown.size, grown.peaks) == (whole.size, whole.peaks)
    step, seen = Frontier(), []
    for leaf in LEAVES[:size]:
        step, made = step.append([leaf])
        seen += made
    assert (step.size, step.peaks, seen) == (whole.size, whole.peaks, nodes)
    assert Frontier.load(size, node_at).peaks == whole.peaks
    complete = [(level, at) for level in range(size.bit_length()) for at in range(size >> level)]
    assert sorted(nodes) == [(level, at, node_at(level, at)) for level, at in complete]


@pytest.mark.covers("A08")
def test_an_altered_inclusion_proof_is_refused() -> None:
    """Another leaf, index, size or root; a path that is shorter, longer, swapped or changed in one bit."""
    for size in (2, 3, 8, 13):
        for index in range(size):
            good = inclusion_proof(index, size, node_at)
            leaf, root = LEAVES[index], ROOTS[size]
            for other in range(-1, size + 2):
                if other != index:
                    assert not verify_inclusion(leaf, other, size, good, root)
            assert not verify_inclusion(LEAVES[index + 1], index, size, good, root)
            assert not verify_inclusion(leaf, index, size, good, ROOTS[size + 1])
            for bad in altered(good):
                assert not verify_inclusion(leaf, index, size, bad, root)


def test_an_altered_consistency_proof_is_refused() -> None:
    """Another root on either side, another size, and every change of the path."""
    for old, new in [(1, 2), (3, 7), (4, 7), (6, 8), (8, 13), (5, 64)]:
        good = consistency_proof(old, new, node_at)
        assert not verify_consistency(old, new, ROOTS[old + 1], ROOTS[new], good)
        assert not verify_consistency(old, new, ROOTS[old], ROOTS[new + 1], good)
        assert not verify_consistency(new, old, ROOTS[new], ROOTS[old], good)
        assert not verify_consistency(old + 1, new, ROOTS[old], ROOTS[new], good)
        for bad in altered(good):
            assert not verify_consistency(old, new, ROOTS[old], ROOTS[new], bad)


def test_the_edges_of_consistency() -> None:
    """Nothing is a prefix of everything, a tree is a prefix of itself, and neither needs or allows a proof."""
    assert verify_consistency(0, 5, EMPTY_ROOT, ROOTS[5], [])
    assert not verify_consistency(0, 5, ROOTS[1], ROOTS[5], [])
    assert not verify_consistency(0, 5, EMPTY_ROOT, ROOTS[5], [ROOTS[5]])
    assert verify_consistency(5, 5, ROOTS[5], ROOTS[5], [])
    assert not verify_consistency(5, 5, ROOTS[5], ROOTS[4], [])
    assert not verify_consistency(5, 5, ROOTS[5], ROOTS[5], [ROOTS[5]])
    assert not verify_consistency(3, 5, ROOTS[3], ROOTS[5], [])
    assert not verify_consistency(-1, 5, ROOTS[3], ROOTS[5], [])


def test_a_node_is_no_leaf() -> None:
    """The prefixes keep an inner node from being passed off as an entry (RFC 6962, section 2.1)."""
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)


def altered(good: list[bytes]) -> list[list[bytes]]:
    flipped = [[*good[:i], bytes((node[0] ^ 1,)) + node[1:], *good[i + 1 :]] for i, node in enumerate(good)]
    swapped = [[good[1], good[0], *good[2:]]] if len(good) > 1 and good[0] != good[1] else []
    return [*flipped, *swapped, good[:-1], good[1:], [*good, good[-1]], [good[0], *good]]
