"""The mutator: a member whose messages are changed in the rounds that are named, and a ledger of what was heard of it.

A process fault is a round in which what the liar says is changed (ByzzFuzz, section 4.1). The first one of a run aims
at a cell: it waits from its round on until the liar says a message of that kind which the operator can change. The
others take what is said in their round, and any field and operator of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import Kind, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.mutation import operators
from simulations.mutation.bank import Bank, name_of, whole_of
from simulations.mutation.matrix import Cell, cells, field_of
from simulations.mutation.operators import (
    UNSIGNED,
    WHOLE,
    Source,
    Unchanged,
    apply,
    first_that_changes,
    operators_of,
)
from simulations.mutation.pens import Pens
from simulations.mutation.rounds import Rounds
from simulations.mutation.shapes import changed, places, value_at

TRIES = 12
"""Cells that are tried on a message where any will do."""

TO_ONE = frozenset(kind.name for kind in (Kind.FETCH_RUN, Kind.RUN, Kind.FETCH_BLOCK, Kind.BLOCK))
"""Kinds that are always said to one member; others mostly to all."""

MANY_TIMES, MANY = 0.1, 8
"""How often a message is said not once but so many times more; one flood for each bound that counts what one says."""

SIGNABLE = 0.8
"""How often a place is taken that the liar can sign again, where a message has such places and others."""

ATTEMPTS = 6
"""With other dice an operator may find something to change."""

AIMED_MESSAGES = 6
"""So many different messages are changed in the cell that a run aims at, as they come."""

ANYTHING = 2
"""So many of them are of any cell, where the world becomes kind before what was aimed at was said."""

SHOWN_CHARACTERS = 60


@dataclass(slots=True)
class Order:
    """A process fault: from which round on, and at what."""

    round: int
    dice: Random
    aim: Cell | None = None
    left: int = AIMED_MESSAGES
    late: bool = False  # its moment has not come: some of anything will do meanwhile


@dataclass(slots=True)
class Ledger:
    """What was changed, and what of it an honest member was told."""

    heard: dict[Cell, int] = field(default_factory=dict)
    made: int = 0
    _frames: dict[bytes, Cell] = field(default_factory=dict)
    _once: dict[tuple[int, bytes], Cell] = field(default_factory=dict)  # repeated ones: counted from the second on

    def write(self, cell: Cell, frame: bytes) -> None:
        """This frame is changed so."""
        self.made += 1
        self._frames[frame] = cell

    def hears(self, member: int, frame: bytes) -> None:
        """An honest member takes a step with it."""
        cell = self._frames.get(frame)
        if cell is None:
            return
        if cell.operator == operators.REPEATED and (member, frame) not in self._once:
            self._once[member, frame] = cell
            return
        self.count(cell)

    def count(self, cell: Cell) -> None:
        """Such a message was heard, or was not where it should have been."""
        self.heard[cell] = self.heard.get(cell, 0) + 1


@dataclass(slots=True)
class _Said:
    """What leaves in place of a frame, for those whom it is meant for."""

    instead: tuple[bytes, ...]
    victims: tuple[int, ...]


def cells_of(message: str) -> tuple[Cell, ...]:
    """The cells of one kind."""
    return _BY_MESSAGE.get(message, ())


_BY_MESSAGE: dict[str, tuple[Cell, ...]] = {}
for _cell in cells():
    _BY_MESSAGE[_cell.message] = (*_BY_MESSAGE.get(_cell.message, ()), _cell)


def mutated(cell: Cell, raw: bytes, bank: Bank, pens: Pens, dice: Random) -> tuple[bytes, str]:
    """A message, changed as a cell says, and in words how. Raises Unchanged where there is nothing to change."""
    at = field_of(cell)
    try:
        whole = whole_of(cell.message, raw)
    except msgspec.DecodeError:
        # Others have believed the largest number of its own, and it goes on from there: no message any more.
        raise Unchanged from None
    found = places(whole, at.steps)
    if not found:
        raise Unchanged
    if cell.operator != UNSIGNED and dice.random() < SIGNABLE:
        found = [place for place in found if pens.signs(whole, place)] or found
    place = dice.choice(found)
    value = value_at(whole, place)
    source = Source(dice, lambda of: bank.value(at, of, dice))
    pens.drawn(dice, votes=at.last != "signature")
    if cell.operator == UNSIGNED:
        some = list(operators_of(at.type))
        dice.shuffle(some)
        new, mend = first_that_changes(some, value, at.type, source), _as_it_is
    else:
        new, mend = apply(cell.operator, value, at.type, source), pens.mend
    after = whole_as_bytes(changed(whole, place, new, mend))
    if after == raw:
        raise Unchanged
    return after, f"{_shown(value)} -> {_shown(new)}"


def whole_as_bytes(whole: Any) -> bytes:
    """Raises Unchanged where that cannot be written at all."""
    try:
        return encode(whole)
    except (OverflowError, TypeError, ValueError):
        raise Unchanged from None


def _as_it_is(value: Any, name: str) -> Any:
    return value


def _shown(value: Any) -> str:
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


class Mutator(Behaviour):
    """Changes what its member says, by its orders."""

    def __init__(
        self, dice: Random, orders: Sequence[Order], rounds: Rounds, ledger: Ledger, honest: tuple[int, ...]
    ) -> None:
        super().__init__(dice)
        self._honest = honest
        self._orders = orders
        self._rounds = rounds
        self._ledger = ledger
        self.bank = Bank()
        self.pens: Pens | None = None  # given when its member has keys
        self.unprovoked: Callable[[str], bytes | None] | None = None  # says a message of this kind
        self._frame = b""
        self._said: _Said | None = None

    def hear(self, sender: int, frame: bytes) -> None:
        message = name_of(frame)
        if message:
            self.bank.keep(message, frame)

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if frame is not self._frame:
            self._frame = frame
            self._said = self._instead_of(to, frame)
        said = self._said
        if said is None or to not in said.victims:
            return [(to, frame)]
        return [(to, raw) for raw in said.instead]

    def speak(self) -> None:
        """What nothing makes it say, it says of itself, changed."""
        for order in self._orders:
            if order.aim is None or not order.left or self.unprovoked is None:
                continue
            frame = self.unprovoked(order.aim.message)
            if frame is None:
                continue
            said = self._try(order, (order.aim,), frame, order.dice.choice(self._honest))
            self.bank.keep(order.aim.message, frame, own=True)
            if said is not None:
                for raw in said.instead:
                    self.liar.post(said.victims, raw)

    def hurry(self) -> None:
        """The world becomes kind: an aim that was not met gives way to whatever can be changed."""
        for order in self._orders:
            order.late = order.left == AIMED_MESSAGES and order.aim is not None

    # ---- how

    def _instead_of(self, to: int, frame: bytes) -> _Said | None:
        message = name_of(frame)
        said = None
        now = self._rounds.of(frame)
        for order in self._orders:
            if not order.left or now < order.round or said is not None:
                continue
            if order.aim is not None and order.aim.message == message:
                said = self._try(order, (order.aim,), frame, to)
            elif order.left > AIMED_MESSAGES - ANYTHING if order.late else order.aim is None and now == order.round:
                of = cells_of(message)
                said = self._try(order, tuple(order.dice.choice(of) for _ in range(TRIES)), frame, to)
        self.bank.keep(message, frame, own=True)
        return said

    def _try(self, order: Order, tried: Sequence[Cell], frame: bytes, to: int) -> _Said | None:
        """The first of these cells that can be had of this frame, of which `to` is the first that it is for."""
        for cell in (cell for cell in tried for _ in range(ATTEMPTS)):
            try:
                instead, how = self._changed(cell, frame, order.dice)
            except Unchanged:
                continue
            order.left -= 1
            victims = self._victims(self._one(to, cell.message, order.dice), order.dice)
            self._write(cell, frame, instead, victims)
            names = ", ".join(f"n{member}" for member in victims)
            self.liar.world.tell(self.liar.name, f"MUTATES {cell}, for {names}: {how}")
            return _Said(instead, victims)
        return None

    def _changed(self, cell: Cell, frame: bytes, dice: Random) -> tuple[tuple[bytes, ...], str]:
        assert self.pens is not None, "given by whoever made the world"
        match cell.operator:
            case operator if operator not in WHOLE:
                raw, how = mutated(cell, frame, self.bank, self.pens, dice)
                return (raw, *self._more(cell, frame, dice)), how
            case operators.OMITTED:
                return (), "it is not said"
            case operators.REPEATED:
                return (frame, frame), "it is said twice"
            case operators.RENEWED:
                return (frame, self._renewed(frame)), "it is said again under a fresh number"
            case _:
                return (self.bank.older(cell.message, frame, dice),), "an earlier one is said"

    def _more(self, cell: Cell, frame: bytes, dice: Random) -> list[bytes]:
        """Now and then a message is said many times, under fresh numbers and each time changed otherwise."""
        raws: list[bytes] = []
        if dice.random() >= MANY_TIMES or not self._is_own(frame):
            return raws
        for _ in range(MANY):
            try:
                assert self.pens is not None, "given by whoever made the world"
                raws.append(mutated(cell, self._renewed(frame), self.bank, self.pens, dice)[0])
            except Unchanged:
                continue
        return raws

    def _is_own(self, frame: bytes) -> bool:
        try:
            return open_frame(frame).sender == self.liar.member
        except Refused:
            return False

    def _renewed(self, frame: bytes) -> bytes:
        """The same under a fresh number."""
        try:
            opened = open_frame(frame)
            return self.liar.seal(Kind(opened.kind), open_body(opened), opened.payload)
        except Refused:
            raise Unchanged from None

    def _write(self, cell: Cell, frame: bytes, instead: Sequence[bytes], victims: Sequence[int]) -> None:
        if cell.operator == operators.OMITTED:
            self._ledger.made += 1
            self._ledger.count(cell)
        for raw in instead:
            if raw != frame or cell.operator == operators.REPEATED:
                self._ledger.write(cell, raw)

    def _one(self, to: int, message: str, dice: Random) -> int:
        """An honest member that is told: whom it is for, where it may be for one alone."""
        if to in self._honest and (message in TO_ONE or dice.random() < 0.5):
            return to
        return dice.choice(self._honest)

    def _victims(self, one: int, dice: Random) -> tuple[int, ...]:
        """Everybody, or some, one that is honest among them: the others hear what it had to say."""
        others = [member for member in self.others() if member != one]
        count = dice.choice((len(others), len(others), 0, dice.randint(0, len(others))))
        return tuple(sorted((one, *dice.sample(others, count))))
