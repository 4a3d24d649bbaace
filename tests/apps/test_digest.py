"""The state digest: kept incrementally, it is what anyone computes from the whole map."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.apps import kv
from bftnode.apps.contract import StateDigest
from bftnode.apps.execution import ADMIT, REMOVE
from bftnode.protocol.codec import encode
from bftnode.protocol.nonces import ADMINISTRATOR, CLIENT
from bftnode.protocol.transactions import Transaction
from tests.apps.chain import ADMIN, Chain, Map, Person, system
from tests.apps.test_kv import OPERATIONS

APPLICATION = kv.KeyValue()
PEOPLE = [ADMIN, "anna", "boris"]


def transactions() -> st.SearchStrategy[Transaction]:
    """Envelopes of three people, good and bad: operations of the application and of administration, any nonce."""
    roles = st.sampled_from([(ADMIT, CLIENT), (ADMIT, ADMINISTRATOR), (REMOVE, 0), (9, 9)])
    administration = st.builds(
        lambda role, name: system(role[0], Person(name).key, role[1]), roles, st.sampled_from(PEOPLE)
    )
    operation = OPERATIONS.map(lambda one: b"\x01" + encode(one)) | administration | st.binary(max_size=3)
    return st.builds(
        lambda name, operations, nonce, valid: Person(name).signs(*operations, nonce=nonce, valid_until=valid),
        st.sampled_from(PEOPLE),
        st.lists(operation, min_size=1, max_size=4),
        st.integers(0, 6) | st.integers(4090, 4110),
        st.sampled_from([1, 100, 100, 100]),
    )


@pytest.mark.covers("K10", "P37")
@given(st.lists(st.lists(transactions(), max_size=4), max_size=5))
def test_incremental_is_recomputed(blocks: list[list[Transaction]]) -> None:
    """After any blocks, the digest that was carried along is the digest of the map; and a second run has it too."""
    one, two = Chain(APPLICATION), Chain(APPLICATION)
    for block in blocks:
        assert one.block(*block) == two.block(*block)
        assert one.digest.value() == APPLICATION.digest(one.state)
    assert one.state.entries == two.state.entries
    assert one.digest.value() == two.digest.value()


@given(st.dictionaries(st.binary(min_size=1, max_size=3), st.binary(max_size=3), max_size=8), st.randoms())
def test_the_order_of_writes_does_not_matter(entries: dict[bytes, bytes], random: object) -> None:
    """Only what is in the map: written in any order, over other values or not."""
    direct, detour = StateDigest(), StateDigest()
    for key, value in entries.items():
        direct.replace(key, None, value)
    shuffled = list(entries.items())
    random.shuffle(shuffled)
    for key, value in shuffled:
        detour.replace(key, None, b"first " + value)
        detour.replace(key, b"first " + value, value)
    assert detour.dump() == direct.dump()
    assert StateDigest.load(direct.dump()).value() == direct.value()


def test_different_maps_have_different_digests() -> None:
    """Also where the concatenation of keys and values is the same, or only the number of entries differs."""
    maps: list[dict[bytes, bytes]] = [{}, {b"a": b""}, {b"a": b"b"}, {b"ab": b""}, {b"a": b"", b"b": b""}, {b"b": b"a"}]
    assert len({APPLICATION.digest(Map(entries)) for entries in maps}) == len(maps)


def test_a_copy_goes_its_own_way() -> None:
    """A node keeps the digest of the last checkpoint while it executes on."""
    digest = StateDigest()
    digest.replace(b"a", None, b"1")
    before, copy = digest.value(), digest.copy()
    copy.replace(b"a", b"1", b"2")
    assert digest.value() == before != copy.value()
    copy.replace(b"a", b"2", b"1")
    assert copy.value() == before


@given(st.integers(0, 2100))
def test_a_snapshot_restores_the_map(size: int) -> None:
    """Any number of entries, also more than a page of the snapshot: the same map and digest."""
    original, restored = Map({b"%05d" % i: bytes((i % 256,)) for i in range(size)}), Map()
    APPLICATION.restore(restored, APPLICATION.snapshot(original))
    assert restored.entries == original.entries
    assert APPLICATION.digest(restored) == APPLICATION.digest(original)


@pytest.mark.covers("K13")
def test_a_restored_chain_goes_on_alike() -> None:
    """Clients, windows and results are in the snapshot: what was used stays used."""
    chain, admin = Chain(APPLICATION), Person(ADMIN)
    used = admin.asks(kv.put(b"a", b"1"))
    chain.block(used, admin.signs(system(ADMIT, Person("anna").key, CLIENT)))
    other = Chain(APPLICATION)
    other.state, other.digest, other.seq, other.size = Map(), chain.digest.copy(), chain.seq, chain.size
    APPLICATION.restore(other.state, APPLICATION.snapshot(chain.state))
    after = [used, Person("anna").asks(kv.get(b"a")), admin.asks(kv.delete(b"a"), nonce=3)]
    assert chain.block(*after) == other.block(*after)
    assert chain.digest.value() == other.digest.value() == APPLICATION.digest(other.state)
