"""What unkind clients send, and how what they are told is counted."""

from pathlib import Path

from bftnode.protocol import client_messages as cm
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.errors import Reason
from bftnode.protocol.transactions import open_transaction
from comparison.guests import Seen, envelopes, spoilt
from comparison.members import RunningMembers

SEED = bytes(range(32))


def test_an_overload_is_valid_and_a_forgery_is_not(tmp_path: Path) -> None:
    """Else members would refuse them for another reason than the one that is measured."""
    running = RunningMembers(tmp_path)
    running.close()
    chain_id = running.genesis.membership().chain_id
    made = envelopes(running.genesis, SEED, 3)
    opened = [open_transaction(raw, chain_id) for raw in made]
    assert [one.body.nonce for one in opened] == [1, 2, 3]
    assert all(one.signature_valid(verify) for one in opened)
    assert not any(open_transaction(spoilt(raw), chain_id).signature_valid(verify) for raw in made)


def test_answers_are_counted_by_what_they_say() -> None:
    """An acknowledgement is no answer yet."""
    seen, name = Seen(), bytes(32)
    busy, other = cm.Nack(name, str(Reason.BUSY)), cm.Nack(name, str(Reason.DISK_FULL))
    seen.read([cm.Ack(name), busy, other, cm.Reject(name, str(Reason.TX_SIGNATURE))])
    assert (seen.answers, seen.busy, seen.rejected) == (3, 1, 1)
