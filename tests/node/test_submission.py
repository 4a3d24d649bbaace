"""What a node does with clients' envelopes before anybody else sees them, and in which order (faults.md P32)."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bftnode.apps import kv
from bftnode.apps.execution import Executor, application_operation
from bftnode.node import backend as backend_module
from bftnode.node import envelopes as envelopes_module
from bftnode.node.backend import NodeBackend
from bftnode.node.envelopes import Envelopes
from bftnode.node.inbox import Inbox
from bftnode.protocol import client_messages as cm
from bftnode.protocol import ed25519
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.nonces import CLIENT, ClientWindow
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.pool import Pool
from bftnode.storage.store import Storage
from tests.vectors.make import genesis

CHAIN = bytes(32)
SEED, STRANGER = b"c" * 32, b"s" * 32


class Storing:
    """A log that has one transaction, or none."""

    found: Any = None

    def find_transaction(self, _: bytes) -> Any:
        return self.found


class Submission:
    """A backend, its replica's custody, and what a client hears. `verified` are the signatures that were checked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        executor = Executor(kv.KeyValue(), [ed25519.public_key_of(SEED)], 10)
        self.pool = Pool({ed25519.public_key_of(SEED): ClientWindow(CLIENT, 10, (1 << 4096) - 1)})
        self.inbox = Inbox([1, 2, 3], 10, 1000, 1000, 10)
        self.storage = Storing()
        self.heard: list[cm.ServerMessage] = []
        self.verified: list[bytes] = []
        envelopes = Envelopes(CHAIN, executor)
        nothing = cast(Any, None)
        self.backend = NodeBackend(
            genesis(), 0, cast(Storage, self.storage), executor, self.inbox, envelopes, network=nothing, keeper=None
        )
        replica = SimpleNamespace(pool=self.pool, chain=SimpleNamespace(height=5))
        self.backend.introduce(cast(Any, SimpleNamespace(replica=replica, disk_full=False)))

        def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
            self.verified.append(public_key)
            return ed25519.verify(public_key, message, signature)

        monkeypatch.setattr(envelopes_module, "ed25519", SimpleNamespace(verify=verify))

    def deliver(self, answers: Sequence[bytes], *, now: bool = False) -> None:
        assert type(now) is bool
        for frame in cm.pack_answers(answers):
            self.heard += cm.open_answers(frame)

    async def submit(self, *raws: bytes) -> int:
        return await self.backend.submit(raws, [cm.envelope_id(raw) for raw in raws], self)

    @property
    def taken(self) -> list[Transaction]:
        return [item for event in self.inbox.take() for item in cast(Any, event).transactions]


@pytest.fixture
def submission(monkeypatch: pytest.MonkeyPatch) -> Submission:
    return Submission(monkeypatch)


def envelope(nonce: int, *, seed: bytes = SEED, last: int = 100, operation: bytes | None = None) -> Transaction:
    operations = (operation or application_operation(kv.put(b"k", b"%d" % nonce)),)
    body = TransactionBody(CHAIN, ed25519.public_key_of(seed), nonce, last, operations)
    return sign_transaction(body, ed25519.signer(seed))


def forged(nonce: int) -> Transaction:
    body = TransactionBody(CHAIN, ed25519.public_key_of(SEED), nonce, 100, (application_operation(kv.get(b"k")),))
    return sign_transaction(body, ed25519.signer(STRANGER))


@pytest.mark.covers("P32")
async def test_no_signature_is_checked_of_what_could_not_be_ordered_anyway(submission: Submission) -> None:
    """Size, form, operation, client, nonce and last height come first: each is rejected without the one check that
    costs something."""
    cases = [
        (bytes(300_000), Reason.TX_SIZE),
        (b"\x92\xc4\x00\xc4\x00", Reason.TX_MALFORMED),
        (envelope(11, operation=b"\x01none").raw, Reason.TX_INVALID_OPERATION),
        (envelope(11, seed=STRANGER).raw, Reason.TX_UNKNOWN_CLIENT),
        (envelope(7).raw, Reason.TX_NONCE_USED),
        (envelope(100_000).raw, Reason.TX_NONCE_FAR),
        (envelope(11, last=5).raw, Reason.TX_EXPIRED),
    ]
    assert await submission.submit(*(raw for raw, _ in cases)) == len(cases)
    assert {cast(cm.Reject, one).transaction: cast(cm.Reject, one).code for one in submission.heard} == {
        cm.envelope_id(raw): str(reason) for raw, reason in cases
    }
    assert not submission.verified
    assert not submission.taken


@pytest.mark.covers("P32")
async def test_nothing_is_looked_at_behind_a_forgery(submission: Submission) -> None:
    """What was sent before it is taken; it is rejected; whoever sent it is refused as a whole."""
    good, bad = [envelope(nonce) for nonce in (11, 12)], forged(13)
    with pytest.raises(Refused) as caught:
        await submission.submit(*(item.raw for item in [*good, bad, *map(forged, range(14, 500))]))
    assert caught.value.reason is Reason.TX_SIGNATURE
    assert submission.taken == good
    assert submission.heard == [cm.Reject(bad.id, "tx.signature")]
    assert len(submission.verified) == 3


async def test_an_envelope_is_verified_once(submission: Submission) -> None:
    """However often it is sent, by whomever, before it is executed."""
    item = envelope(11)
    assert await submission.submit(item.raw, item.raw) == 0
    assert await submission.submit(item.raw) == 0
    assert len(submission.verified) <= 2  # twice in one frame: both were unknown when they came
    submission.pool.add(item, 6, 0)
    await submission.submit(item.raw)
    assert len(submission.verified) <= 2


async def test_what_was_executed_is_answered_from_the_log(submission: Submission) -> None:
    """It costs no signature, and is no rejection."""
    item = envelope(7)
    submission.storage.found = SimpleNamespace(result=None, seq=3, log_index=9)
    assert await submission.submit(item.raw) == 0
    assert submission.heard == [cm.Forgotten(item.id, 3, 9)]
    assert not submission.verified


async def test_where_custody_has_no_room_no_signature_is_checked(
    submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NACK: the client comes again, and its envelope is checked then."""
    monkeypatch.setattr("bftnode.replica.pool.PENDING_MAX", 1)
    submission.pool.add(envelope(11), 6, 0)
    assert await submission.submit(envelope(12).raw) == 0
    assert submission.heard == [cm.Nack(envelope(12).id, "busy")]
    assert not submission.verified


async def test_many_are_checked_in_turns(submission: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of thousands does not keep the event loop from others; all of it is taken, in order."""
    monkeypatch.setattr(backend_module, "VERIFIED_TOGETHER", 4)
    sent = [envelope(nonce) for nonce in range(11, 21)]
    assert await submission.submit(*(item.raw for item in sent)) == 0
    assert submission.taken == sent
