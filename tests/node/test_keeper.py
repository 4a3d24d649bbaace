"""A member and payloads of private records: what it takes, what it shows, and what it carries out."""

from pathlib import Path

import pytest

from bftnode.apps import log
from bftnode.node.keeper import Keeper
from bftnode.protocol.commitments import commitment_of
from bftnode.protocol.errors import Reason, Refused
from bftnode.storage.payloads import Payloads
from tests.apps.chain import CONTEXT, Map

SALT, PAYLOAD = b"s" * 32, b"what nobody needs to know"
COMMITMENT = commitment_of(CONTEXT.client, SALT, PAYLOAD)


class Member:
    """The log application's state, and a keeper beside it."""

    def __init__(self, path: Path) -> None:
        self.state = Map()
        self.application = log.Records()
        self.payloads = Payloads(path / "payloads", 1 << 20)
        self.keeper = Keeper(self.payloads, lambda query: self.application.query(self.state, query))

    def execute(self, *operations: bytes) -> None:
        for operation in operations:
            self.application.apply(self.state, operation, CONTEXT)

    def refuses(self, index: int, salt: bytes = SALT, payload: bytes = PAYLOAD) -> Reason:
        with pytest.raises(Refused) as refusal:
            self.keeper.keep(index, salt, payload)
        return refusal.value.reason

    def shows(self, index: int) -> bool:
        try:
            return self.keeper.read(index) == (SALT, PAYLOAD)
        except Refused as refused:
            return refused.reason is not Reason.NOT_FOUND


@pytest.fixture
def member(tmp_path: Path) -> Member:
    return Member(tmp_path)


def test_only_what_opens_an_executed_commitment_is_kept(member: Member) -> None:
    """Nothing of records that are not there, not private, or of another payload, salt or client."""
    member.execute(log.append(PAYLOAD), log.commit(COMMITMENT), log.commit(commitment_of(b"x" * 32, SALT, PAYLOAD)))
    assert [member.refuses(index) for index in (0, 2, 3)] == [Reason.NOT_FOUND, Reason.INTEGRITY, Reason.NOT_FOUND]
    assert member.refuses(1, payload=PAYLOAD + b".") is Reason.INTEGRITY
    assert member.refuses(1, salt=bytes(32)) is Reason.INTEGRITY
    assert [member.payloads.get(index) for index in range(4)] == [None] * 4
    member.keeper.keep(1, SALT, PAYLOAD)
    member.keeper.keep(1, SALT, PAYLOAD)
    assert [member.shows(index) for index in range(4)] == [False, True, False, False]


def test_what_is_erased_is_neither_shown_nor_taken_back(member: Member) -> None:
    """From the moment that the entry is executed, before the bytes are gone; then they are gone."""
    member.execute(*[log.commit(COMMITMENT)] * 3)
    for index in range(3):
        member.keeper.keep(index, SALT, PAYLOAD)
    member.execute(log.erase(1))
    assert [member.shows(index) for index in range(3)] == [True, False, True]
    assert member.refuses(1) is Reason.NOT_FOUND
    assert member.payloads.get(1) == SALT + PAYLOAD
    assert member.keeper.carry_out() == 1
    assert member.payloads.get(1) is None
    assert member.keeper.carry_out() == 0
    assert [member.shows(index) for index in range(3)] == [True, False, True]


def test_erasures_are_carried_out_whenever_it_comes_to_them(member: Member) -> None:
    """More than one answer holds; and again by who has lost the note of how far it was, with an old copy put back."""
    count = log.ERASURES_MAX + 5
    member.execute(*[log.commit(COMMITMENT)] * (count + 1))
    for index in (0, count - 1, count):
        member.keeper.keep(index, SALT, PAYLOAD)
    member.execute(*[log.erase(index) for index in range(count)])
    assert member.keeper.carry_out() == count
    assert [member.shows(index) for index in (0, count - 1, count)] == [False, False, True]
    member.payloads.put(5, SALT + PAYLOAD)
    assert not member.shows(5)
    member.payloads.carried_out(0)
    assert member.keeper.carry_out() == count
    assert member.payloads.get(5) is None


def test_what_rotted_is_not_shown_and_can_be_replaced(member: Member) -> None:
    """The commitment says what is whole."""
    member.execute(log.commit(COMMITMENT))
    for rotten in (b"", SALT[:31], SALT + PAYLOAD[:-1], bytes(32) + PAYLOAD):
        member.payloads.put(0, rotten)
        assert not member.shows(0)
        member.keeper.keep(0, SALT, PAYLOAD)
        assert member.shows(0)
