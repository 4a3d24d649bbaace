"""The state digest: what the blocks changed, one after the other; and a snapshot's, of the map alone."""

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.apps import kv
from bftnode.apps.execution import ADMIT, NO_STATE, REMOVE, digest_after
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
def test_what_is_executed_alike_has_one_digest(blocks: list[list[Transaction]]) -> None:
    """After any blocks: a second run has the same map, and the digest moves with every block."""
    one, two = Chain(APPLICATION), Chain(APPLICATION)
    seen = {one.digest}
    for block in blocks:
        assert one.block(*block) == two.block(*block)
        seen.add(one.digest)
    assert one.state.entries == two.state.entries
    assert one.digest == two.digest
    assert len(seen) == len(blocks) + 1


CHANGES = st.dictionaries(st.binary(min_size=1, max_size=3), st.none() | st.binary(max_size=3), max_size=8)


@pytest.mark.covers("K10", "P37")
@given(CHANGES, CHANGES, st.randoms())
def test_every_change_is_in_it_and_the_order_of_writes_is_not(
    changes: dict[bytes, bytes | None], others: dict[bytes, bytes | None], random: Random
) -> None:
    """Another value, a deletion for a value, another block before: another digest. The same in any order: the same."""
    shuffled = list(changes.items())
    random.shuffle(shuffled)
    digest = digest_after(NO_STATE, changes)
    assert digest_after(NO_STATE, dict(shuffled)) == digest
    assert (digest_after(NO_STATE, others) == digest) is (others == changes)
    assert digest_after(digest, changes) != digest


def test_the_digest_is_what_is_written_down() -> None:
    """As docs/protocol.md says it, by hand."""
    changes = {b"b": None, b"a": b"\x01"}
    packed = b"\x92" + b"\x92\xc4\x01a\xc4\x01\x01" + b"\x92\xc4\x01b\xc0"
    assert digest_after(NO_STATE, changes) == sha256(bytes(32) + sha256(packed).digest()).digest()


def test_different_maps_have_different_digests() -> None:
    """Also where the concatenation of keys and values is the same, or only the number of entries differs."""
    maps: list[dict[bytes, bytes]] = [{}, {b"a": b""}, {b"a": b"b"}, {b"ab": b""}, {b"a": b"", b"b": b""}, {b"b": b"a"}]
    assert len({APPLICATION.digest(Map(entries)) for entries in maps}) == len(maps)


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
    other.state, other.digest, other.seq, other.size = Map(), chain.digest, chain.seq, chain.size
    APPLICATION.restore(other.state, APPLICATION.snapshot(chain.state))
    after = [used, Person("anna").asks(kv.get(b"a")), admin.asks(kv.delete(b"a"), nonce=3)]
    assert chain.block(*after) == other.block(*after)
    assert chain.digest == other.digest
    assert APPLICATION.digest(chain.state) == APPLICATION.digest(other.state)
