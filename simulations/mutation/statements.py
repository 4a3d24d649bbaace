"""What a liar says though nothing makes it: kinds of messages that a correct member hardly ever has a reason for.

True as far as it can make them, so that what is changed in one stands beside what is right.
"""

from collections.abc import Callable
from random import Random

import msgspec
from msgspec import inspect

from bftnode.protocol.certificates import Vote
from bftnode.protocol.codec import Wire, encode
from bftnode.protocol.messages import (
    BODY_OF,
    Accusation,
    FetchBlock,
    FetchRun,
    ForkProof,
    Kind,
    Relay,
    Slow,
)
from bftnode.protocol.transactions import Transaction
from simulations.adversaries.liar import Liar
from simulations.mutation.operators import made


def statement_of(message: str, liar: Liar, envelope: Callable[[], Transaction], dice: Random) -> bytes:
    """A frame of this kind; of one that nobody has written a sentence for yet, its fields are made of nothing."""
    kind, epoch, log = Kind[message], liar.members.epoch, liar.disk.log
    match kind:
        case Kind.RELAY:
            raws = tuple(envelope().raw for _ in range(dice.randint(1, 2)))
            return liar.seal(kind, Relay(epoch), encode(raws))
        case Kind.FETCH_RUN:
            return liar.seal(kind, FetchRun(epoch, 1, max(liar.disk.height, 1)))
        case Kind.FETCH_BLOCK:
            return liar.seal(kind, FetchBlock(epoch, dice.choice(log)[0].hash))
        case Kind.EVIDENCE:
            return liar.seal(kind, _against_itself(liar, dice))
        case Kind.FORK:
            return liar.seal(kind, _no_fork(liar, dice) or _made(kind, epoch, dice))
        case Kind.SLOW:
            return liar.seal(kind, Slow(epoch, liar.replica.position.view))
        case _:
            return liar.seal(kind, _made(kind, epoch, dice))


def _made(kind: Kind, epoch: int, dice: Random) -> Wire:
    """A body of this kind and epoch."""
    body: Wire = made(inspect.type_info(BODY_OF[kind]), dice)
    return msgspec.structs.replace(body, epoch=epoch)


def _against_itself(liar: Liar, dice: Random) -> Accusation:
    """Two votes of its own, for different blocks in one place, or at two heights with the headers between."""
    height, view = liar.disk.height, liar.replica.position.view
    headers = tuple(block.header_raw for block, _ in liar.disk.log[1:])[::-1][: dice.randint(1, 3)]
    votes = [Vote(liar.members.epoch, view, height + 1, dice.randbytes(32)) for _ in range(2)]
    first, second = (liar.seal(dice.choice((Kind.PREPARE, Kind.COMMIT)), vote) for vote in votes)
    return Accusation(liar.members.epoch, first, second, headers)


def _no_fork(liar: Liar, dice: Random) -> ForkProof | None:
    """Certificates of the one log there is, with its headers: they look like a proof, and contradict nothing."""
    certificates = [certificate for _, certificate in liar.disk.log if certificate is not None]
    if not certificates:
        return None
    chosen = sorted(dice.sample(certificates, min(len(certificates), 2)), key=lambda item: item.seq)
    headers = tuple(block.header_raw for block, _ in liar.disk.log[1:])[::-1]
    return ForkProof(liar.members.epoch, tuple(chosen), headers)
