"""Who may submit: administrators admit and remove clients, within limits that hold in any order of operations."""

import pytest

from bftnode.apps import kv
from bftnode.apps.execution import ADMIT, COUNT_KEY, REMOVE, Counts
from bftnode.protocol import ed25519_vectors as frozen
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.nonces import ADMINISTRATOR, CLIENT
from tests.apps.chain import ADMIN, Chain, Person, system

ANNA, BORIS = Person("anna"), Person("boris")


@pytest.fixture
def admin() -> Person:
    return Person(ADMIN)


@pytest.fixture
def chain() -> Chain:
    return Chain(kv.KeyValue(), clients_max=3)


def codes(chain: Chain, person: Person, *operations: bytes) -> list[str]:
    result = chain.one(person.signs(*operations))
    return [result.code] if result.code else [one.code for one in result.results]


def counts(chain: Chain) -> tuple[int, int]:
    stored = decode(chain.state.get(COUNT_KEY) or b"", Counts, 64)
    return stored.clients, stored.administrators


def test_an_admitted_client_is_served_from_then_on(chain: Chain, admin: Person) -> None:
    """Within the same block already; and the change of its role is told to the replica."""
    anna = Person("anna")
    done = chain.block(anna.asks(kv.get(b"a")), admin.signs(system(ADMIT, anna.key, CLIENT)), anna.asks(kv.get(b"a")))
    assert [one.code for one in done.results] == ["tx.unknown_client", "", ""]
    assert done.clients == {anna.key: CLIENT}
    assert counts(chain) == (2, 1)


def test_a_removed_client_is_served_no_more(chain: Chain, admin: Person) -> None:
    """From the next envelope on; what it was answered before stays."""
    anna = Person("anna")
    codes(chain, admin, system(ADMIT, anna.key, CLIENT))
    done = chain.block(anna.asks(kv.get(b"a")), admin.signs(system(REMOVE, anna.key, 0)), anna.asks(kv.get(b"a")))
    assert [one.code for one in done.results] == ["", "", "tx.unknown_client"]
    assert done.clients == {anna.key: 0}
    assert counts(chain) == (1, 1)


@pytest.mark.covers("R09")
def test_a_client_that_comes_back_keeps_its_nonces(chain: Chain, admin: Person) -> None:
    """Nothing that it signed before can be replayed after."""
    anna = Person("anna")
    codes(chain, admin, system(ADMIT, anna.key, CLIENT))
    old = anna.asks(kv.put(b"a", b"1"))
    chain.one(old)
    codes(chain, admin, system(REMOVE, anna.key, 0), system(ADMIT, anna.key, CLIENT))
    assert chain.one(old).code == "tx.nonce_used"
    assert chain.one(anna.asks(kv.get(b"a"))).code == ""


@pytest.mark.covers("A15")
def test_only_an_administrator_admits_and_removes(chain: Chain, admin: Person) -> None:
    """A client's attempt is denied; a promoted one's is not, from the next operation on."""
    anna = Person("anna")
    codes(chain, admin, system(ADMIT, anna.key, CLIENT))
    for attempt in (system(ADMIT, BORIS.key, CLIENT), system(REMOVE, admin.key, 0)):
        assert codes(chain, anna, attempt) == ["tx.denied"]
    assert codes(chain, admin, system(ADMIT, anna.key, ADMINISTRATOR)) == [""]
    assert counts(chain) == (2, 2)
    assert codes(chain, anna, system(ADMIT, BORIS.key, CLIENT)) == [""]


@pytest.mark.covers("A15")
def test_an_administrator_may_leave_in_the_middle_of_its_envelope(chain: Chain, admin: Person) -> None:
    """The operations after it have no right any more."""
    operations = [
        system(ADMIT, ANNA.key, ADMINISTRATOR),
        system(REMOVE, admin.key, 0),
        system(ADMIT, BORIS.key, CLIENT),
    ]
    assert codes(chain, admin, *operations) == ["", "", "tx.denied"]
    assert counts(chain) == (1, 1)


def test_the_last_administrator_stays(chain: Chain, admin: Person) -> None:
    """Neither removed nor demoted: nobody could repair it."""
    assert codes(chain, admin, system(REMOVE, admin.key, 0)) == ["tx.denied"]
    assert codes(chain, admin, system(ADMIT, admin.key, CLIENT)) == ["tx.denied"]
    anna = Person("anna")
    assert codes(chain, admin, system(ADMIT, anna.key, ADMINISTRATOR), system(ADMIT, admin.key, CLIENT)) == ["", ""]
    assert codes(chain, anna, system(REMOVE, anna.key, 0)) == ["tx.denied"]
    assert counts(chain) == (2, 1)


def test_there_are_never_more_clients_than_the_genesis_allows(chain: Chain, admin: Person) -> None:
    """At the limit only somebody who is in already is admitted (to another role); a removal makes room."""
    people = [Person(name) for name in ("one", "two", "three")]
    attempts = [system(ADMIT, person.key, CLIENT) for person in people]
    assert codes(chain, admin, *attempts) == ["", "", "client.limit"]
    assert codes(chain, admin, system(ADMIT, people[0].key, ADMINISTRATOR), attempts[0]) == ["", ""]
    assert codes(chain, admin, system(REMOVE, people[0].key, 0), attempts[2], attempts[0]) == ["", "", "client.limit"]
    assert counts(chain) == (3, 1)


def test_a_refused_operation_changes_neither_roles_nor_counts(chain: Chain, admin: Person) -> None:
    """Denied, unknown, over the limit or malformed: the state but for the envelope's own traces is as before."""
    people = [Person(name) for name in ("one", "two", "three")]
    codes(chain, admin, *(system(ADMIT, person.key, CLIENT) for person in people[:2]))
    before = {key: value for key, value in chain.state.entries.items() if key[:1] in b"cn"}
    refused = [
        system(ADMIT, people[2].key, CLIENT),
        system(REMOVE, people[2].key, 0),
        system(REMOVE, admin.key, 0),
        system(ADMIT, bytes.fromhex(frozen.SMALL_ORDER[0]), CLIENT),
        system(REMOVE, people[0].key, CLIENT),
        b"\x00",
    ]
    done = chain.block(admin.signs(*refused))
    assert [one.code for one in done.results[0].results] == [
        "client.limit",
        "not_found",
        "tx.denied",
        *["tx.invalid_operation"] * 3,
    ]
    assert done.clients == {}
    after = {key: value for key, value in chain.state.entries.items() if key[:1] in b"cn"}
    assert {key for key in after if after[key] != before.get(key)} == {b"c" + admin.key}, "its own nonce"


def test_admitting_somebody_again_changes_nothing(chain: Chain, admin: Person) -> None:
    """It is not an error, so that a repeated command is harmless; and nothing is reported."""
    codes(chain, admin, system(ADMIT, ANNA.key, CLIENT))
    done = chain.block(admin.signs(system(ADMIT, ANNA.key, CLIENT)))
    assert done.results[0].results[0].code == ""
    assert (done.clients, counts(chain)) == ({}, (2, 1))


@pytest.mark.covers("P48")
def test_a_weak_key_is_never_admitted(chain: Chain, admin: Person) -> None:
    """In none of its encodings; somebody without the right to admit does not even make us look."""
    weak = [system(ADMIT, bytes.fromhex(encoding), CLIENT) for encoding in frozen.SMALL_ORDER]
    assert set(codes(chain, admin, *weak)) == {"tx.invalid_operation"}
    anna = Person("anna")
    codes(chain, admin, system(ADMIT, anna.key, CLIENT))
    assert set(codes(chain, anna, *weak)) == {"tx.denied"}


def test_the_initial_state_is_the_administrators() -> None:
    """Counted, with unused windows."""
    chain = Chain(kv.KeyValue())
    assert chain.state.get(COUNT_KEY) == encode(Counts(1, 1))
    assert sorted(chain.state.entries) == sorted([COUNT_KEY, b"c" + Person(ADMIN).key])
