"""What a lying client does in a play: the words of LIES, by liar_client.py, and what must be true of it at the end."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from bftnode.apps.execution import application_operation
from bftnode.apps.log import append
from bftnode.protocol import client_messages as cm
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Reason
from bftnode.protocol.limits import NONCE_JUMP_MAX
from bftnode.protocol.transactions import Transaction, TransactionBody, open_transaction, sign_transaction
from simulations.script import Step
from simulations.workload import FAR_AHEAD
from theatre.liar_client import HungUp, tell
from theatre.troupe import Failed

if TYPE_CHECKING:
    from theatre.play import RealPlay

NONCE_MAX = 2**63 - 1

APPLICATION = application_operation(b"")

ROUNDS_MAX = 1000
"""A storm of more is a mistake in the file; a round is one frame to each member."""


async def _equivocate(play: "RealPlay", step: Step) -> None:
    pairs = []
    for _ in range(step.count):
        nonce = play.nonces[step.client].take()
        pairs.append([_envelope(play, step.client, nonce, text) for text in ("this", "that")])
    play.rivals += [(one.id, other.id) for one, other in pairs]
    async with trio.open_nursery() as nursery:
        for members, which in ((list(step.members), 0), (play.rest(step), 1)):
            chosen = [pair[which] for pair in pairs]
            for member in audience(play, members):
                nursery.start_soon(_told, play, step, member, chosen)


async def _jump(play: "RealPlay", step: Step) -> None:
    # Below the window is nowhere yet: that takes 4096 nonces that are used. Beyond it: by one, and by all there are.
    far = play.nonces[step.client].take() + NONCE_JUMP_MAX + 1
    lies = [_envelope(play, step.client, nonce, "jumped") for nonce in (far, NONCE_MAX)]
    play.never += [lie.id for lie in lies]
    async with trio.open_nursery() as nursery:
        for member in audience(play, play.chosen(step)):
            nursery.start_soon(_told, play, step, member, lies, cm.Reject)


async def _storm(play: "RealPlay", step: Step) -> None:
    if not play.signed:
        raise Failed("nothing has been submitted that could be sent again")
    if step.count > ROUNDS_MAX:
        raise Failed(f"a storm of {step.count} rounds: {ROUNDS_MAX} at most")
    every_s = step.every_ms / 1000 * play.stretch
    async with trio.open_nursery() as nursery:
        for client, transactions in play.signed.items():
            raws = [transaction.raw for transaction in transactions]
            for member in audience(play, play.chosen(step)):
                again = partial(tell, rounds=step.count, every_s=every_s)
                nursery.start_soon(again, play.troupe.genesis, play.seeds[client], member, raws)


async def _half_valid(play: "RealPlay", step: Step) -> None:
    good, senseless, forged = [], [], []
    for _ in range(step.count):
        nonce = play.nonces[step.client].take()
        good.append(_envelope(play, step.client, nonce, "good"))
        senseless.append(_envelope(play, step.client, nonce, "senseless", b"\x7f"))
        # With a nonce of its own: that of one that is used is looked at before its signature.
        forged.append(_forged(_envelope(play, step.client, play.nonces[step.client].take(), "forged")))
    play.never += [lie.id for lie in (*senseless, *forged)]
    play.owed += [item.id for item in good]
    async with trio.open_nursery() as nursery:
        for member in audience(play, play.chosen(step)):
            nursery.start_soon(_half_told, play, step, member, good, senseless, forged)


async def _half_told(
    play: "RealPlay",
    step: Step,
    member: int,
    good: list[Transaction],
    senseless: list[Transaction],
    forged: list[Transaction],
) -> None:
    """One frame: what is good among what is senseless, each answered for itself. Then what is forged, behind what is
    good: that ends the connection, and only that (faults.md P32)."""
    genesis, seed = play.troupe.genesis, play.seeds[step.client]
    answers = await tell(genesis, seed, member, [item.raw for item in (*senseless, *good)], final=True)
    _check(member, answers[: len(senseless)], cm.Reject)
    _check(member, answers[len(senseless) :], cm.Result)
    try:
        await tell(genesis, seed, member, [item.raw for item in (*good, *forged)])
    except HungUp as hung_up:
        if hung_up.code == Reason.TX_SIGNATURE:
            return
        raise
    raise Failed(f"n{member} goes on listening to a client that forges")


async def _told(
    play: "RealPlay", step: Step, member: int, lies: list[Transaction], expected: type | None = None
) -> None:
    answers = await tell(play.troupe.genesis, play.seeds[step.client], member, [lie.raw for lie in lies])
    if expected is not None:
        _check(member, answers, expected)


def _check(member: int, answers: Sequence[cm.TransactionAnswer], expected: type) -> None:
    for answer in answers:
        if not isinstance(answer, expected):
            name, told = answer.transaction.hex()[:16], type(answer).__name__
            raise Failed(f"n{member} answers {name} of a lying client with {told}, not {expected.__name__}")


def _envelope(play: "RealPlay", client: int, nonce: int, text: str, kind: bytes = APPLICATION) -> Transaction:
    """Signed by this client; `kind` is the first byte of its operation."""
    seed, operation = play.seeds[client], kind + append(f"{client}/{nonce} {text}".encode())
    chain_id = play.troupe.genesis.membership().chain_id
    body = TransactionBody(chain_id, public_key_of(seed), nonce, FAR_AHEAD, (operation,))
    return sign_transaction(body, signer(seed))


def _forged(transaction: Transaction) -> Transaction:
    """With a signature of other bytes."""
    wrong = transaction.raw[:-1] + bytes((transaction.raw[-1] ^ 1,))
    return open_transaction(wrong, transaction.body.chain_id)


def audience(play: "RealPlay", members: Sequence[int]) -> list[int]:
    """Those of `members` that can hear. Raises Failed where nobody can: the lie would not be told."""
    found = [member for member in members if play.troupe.is_up(member) and not play.troupe.is_paused(member)]
    if not found:
        raise Failed(f"a lie for {', '.join(f'n{member}' for member in members) or 'nobody'} that nobody can hear")
    return found


LIES: dict[str, Callable[["RealPlay", Step], Awaitable[None]]] = {
    "equivocate": _equivocate,
    "jump nonce": _jump,
    "storm": _storm,
    "half-valid": _half_valid,
}
"""Words of words.WORDS that are clients' lies."""
