"""What a node tells its clients, and when."""

from collections.abc import Sequence
from typing import Any, cast

import trio
from trio.testing import MockClock

from bftnode.node.backend import ACK_AFTER_S, NodeBackend
from bftnode.protocol import ed25519
from bftnode.protocol.client_messages import Ack, Result
from bftnode.protocol.codec import encode
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.effects import Answer
from tests.vectors.make import genesis

SEED = b"c" * 32


class Heard:
    """A connection, as the backend sees it."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def deliver(self, answers: Sequence[bytes], *, now: bool = False) -> None:
        assert type(now) is bool
        self.messages += answers


def transaction(nonce: int) -> Transaction:
    body = TransactionBody(bytes(32), ed25519.public_key_of(SEED), nonce, 100, (b"\x01x",))
    return sign_transaction(body, ed25519.signer(SEED))


async def test_what_is_executed_soon_is_not_acknowledged_before(autojump_clock: MockClock) -> None:
    """One word instead of two; what takes longer gets its ACK, once, and its result when that comes."""
    nothing = cast(Any, None)
    backend = NodeBackend(genesis(), 0, nothing, nothing, nothing, nothing, nothing, None)
    quick, slow, heard = transaction(1), transaction(2), Heard()
    for item in (quick, slow):
        backend._subscribe(item.id, cast(Any, heard))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.acknowledge)
        backend.answered([Answer(quick, None), Answer(slow, None)])
        await trio.sleep(ACK_AFTER_S / 2)
        result = TransactionResult(quick.id, 1, 0, "", ())
        backend.executed([result], [encode(result)])
        assert heard.messages == [encode(Result(quick.id, encode(result)))]
        await trio.sleep(ACK_AFTER_S)
        assert heard.messages[1:] == [encode(Ack(slow.id))]
        await trio.sleep(100 * ACK_AFTER_S)
        assert len(heard.messages) == 2
        late = TransactionResult(slow.id, 2, 1, "", ())
        backend.executed([late], [encode(late)])
        assert heard.messages[2:] == [encode(Result(slow.id, encode(late)))]
        nursery.cancel_scope.cancel()
