"""Situations: what the world is like, so that a kind of message is said by the liar, and heard for what it is.

Most kinds are said all the time. A NEW-VIEW is said by a liar that is the next primary, while the first one cannot be
heard; a run of blocks is served to who was absent; a single block to who got everything but the proposal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind
from simulations.judges import kind_of
from simulations.mutation.rounds import Loss
from simulations.mutation.shapes import ENVELOPE
from simulations.world import World

ANY, CHECKED, FIRST, SECOND, UNHEARD, AWAY, ABSENT, HEADLESS, SPEAKS, COSIGNS = (
    "any member",
    "checkpoints",
    "first primary",
    "next primary",
    "primary unheard",
    "liar away",
    "member absent",
    "proposals lost",
    "speaks unprovoked",
    "cosigning",
)

STORIES: dict[str, str] = {
    ANY: "the liar is any member",
    CHECKED: "the liar is any member, and every block is followed by checkpoints",
    FIRST: "the liar is the primary of view 0",
    SECOND: "the liar is the primary of view 1, and that of view 0 is cut off",
    UNHEARD: "the primary of view 0, which is correct, is cut off; the liar is no primary",
    AWAY: "the liar is cut off while blocks are committed, and comes back",
    ABSENT: "a correct member is cut off while blocks are committed, comes back, and asks the liar first",
    HEADLESS: "a correct member gets no proposal, learns what was committed, and asks the liar for the block first",
    SPEAKS: "the liar says, of itself, what a correct member hardly ever says",
    COSIGNS: "members cosign checkpoints of the log",
}

SITUATIONS: dict[str, tuple[str, ...]] = {
    Kind.PRE_PREPARE.name: (FIRST, FIRST, SECOND),
    Kind.PREPARE.name: (ANY, FIRST, SECOND),
    Kind.COMMIT.name: (ANY, FIRST, SECOND),
    Kind.CHECKPOINT.name: (CHECKED,),
    Kind.VIEW_CHANGE.name: (SECOND, UNHEARD),
    Kind.NEW_VIEW.name: (SECOND,),
    Kind.STATUS.name: (ANY, UNHEARD, ABSENT),
    Kind.FETCH_RUN.name: (SPEAKS, SPEAKS, AWAY),
    Kind.RUN.name: (ABSENT,),
    Kind.FETCH_BLOCK.name: (SPEAKS,),
    Kind.BLOCK.name: (HEADLESS,),
    Kind.RELAY.name: (SPEAKS, SPEAKS, UNHEARD),
    Kind.EVIDENCE.name: (SPEAKS,),
    Kind.FORK.name: (SPEAKS,),
    Kind.COSIGNATURE.name: (COSIGNS,),
    Kind.SLOW.name: (SPEAKS,),
    ENVELOPE: (ANY, FIRST),
}
"""Where a kind is said. A kind that is not here is said unprovoked."""

SMALL = Parameters(block_transactions_max=4, window=2, checkpoint_interval=3)
OFTEN = Parameters(block_transactions_max=4, window=2, checkpoint_interval=1)
SINGLE = Parameters(block_transactions_max=2, window=1, checkpoint_interval=2)
"""One block after the other, so that who was absent lacks more than a window."""

FIRST_BLOCK_MS = 60
"""By when a first block is committed in a fair world."""

SPAN_MS = 220
"""Within which clients ask for what they ask for while the world is unkind."""

UNDECIDED_MS = (FIRST_BLOCK_MS + 2, FIRST_BLOCK_MS + 32)
"""Between these a block is prepared and not committed, where a scene asks for it."""

CUT_OFF_MS = 580
"""Until when who is cut off stays so: timeouts run out, and another primary takes over."""

AWAY_MS = 300
"""Until when who is to miss some blocks is away."""

BACK_MS = AWAY_MS + 400
"""Until when it has only the liar to ask."""

SPEAKS_MS = (120, 220, 320)
"""When the liar speaks of itself: after a first block, and some."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A situation with its parts given out."""

    name: str
    liars: tuple[int, ...]
    unkind_ms: int
    parameters: Parameters = SMALL
    cut_off: tuple[int, int, int] | None = None  # (place, from ms, until ms)
    undecided: bool = False  # before, a block is prepared, and no COMMIT for it arrives: it is for the next view
    only_the_liar: tuple[int, int] | None = None  # until then this place hears and reaches no other: (place, ms)
    without_proposals: int | None = None  # this place gets none
    speaks_ms: tuple[int, ...] = ()  # when the liar says something of itself
    first_fault: int = 3  # the round from which on rounds lose messages: after the first block
    cosigns: bool = False

    @property
    def out_of_reach(self) -> int | None:
        """Whom it makes no sense to lie to: who is cut off, and has nothing to ask when it is back."""
        return None if self.cut_off is None or self.only_the_liar is not None else self.cut_off[0]

    def losses(self, world: World) -> Iterable[Loss]:
        """What is lost in it, beside the rounds with faults."""
        if self.cut_off is not None:
            alone, begins_ms, ends_ms = self.cut_off

            def unheard(place: int, to: int, _frame: bytes) -> bool:
                return alone in (place, to) and begins_ms <= world.now_ms < ends_ms

            yield unheard
        if self.undecided:

            def undecided(_place: int, _to: int, frame: bytes) -> bool:
                return kind_of(frame) == Kind.COMMIT and UNDECIDED_MS[0] <= world.now_ms < UNDECIDED_MS[1]

            yield undecided
        if self.only_the_liar is not None:
            asker, until_ms = self.only_the_liar

            def elsewhere(place: int, to: int, _frame: bytes) -> bool:
                return asker in (place, to) and self.liars[0] not in (place, to) and world.now_ms < until_ms

            yield elsewhere
        if self.without_proposals is not None:
            headless = self.without_proposals

            def headless_of(_place: int, to: int, frame: bytes) -> bool:
                return to == headless and kind_of(frame) == Kind.PRE_PREPARE

            yield headless_of


def scene(message: str, n: int, f: int, dice: Random, *, certified: bool) -> Scene:
    """A situation in which a kind of message is said, with f liars; `certified`: after something was prepared."""
    name = dice.choice(SITUATIONS.get(message, (SPEAKS,)))
    begins_ms = FIRST_BLOCK_MS if certified else dice.choice((0, FIRST_BLOCK_MS))
    undecided = dice.random() < 0.6
    if undecided:
        begins_ms = UNDECIDED_MS[1] - 5
    cut_off = (0, begins_ms, CUT_OFF_MS)
    match name:
        case "checkpoints":
            return Scene(name, _with(dice.randrange(n), n, f, dice), SPAN_MS, OFTEN)
        case "first primary":
            return Scene(name, _with(0, n, f, dice), SPAN_MS, first_fault=0)
        case "next primary":
            return Scene(name, _with(1, n, f, dice, (0,)), CUT_OFF_MS + 20, cut_off=cut_off, undecided=undecided)
        case "primary unheard":
            liar = dice.randrange(2, n)
            return Scene(name, _with(liar, n, f, dice, (0, 1)), CUT_OFF_MS + 20, cut_off=cut_off, undecided=undecided)
        case "liar away":
            liar = dice.randrange(1, n)
            return Scene(name, _with(liar, n, f, dice), AWAY_MS + 200, SINGLE, cut_off=(liar, 0, AWAY_MS))
        case "member absent":
            return Scene(
                name,
                _with(0, n, f, dice, (n - 1,)),
                BACK_MS,
                SINGLE,
                cut_off=(n - 1, 0, AWAY_MS),
                only_the_liar=(n - 1, BACK_MS),
            )
        case "proposals lost":
            return Scene(name, _with(0, n, f, dice, (n - 1,)), AWAY_MS, without_proposals=n - 1)
        case "speaks unprovoked":
            return Scene(name, _with(dice.randrange(n), n, f, dice), SPEAKS_MS[-1] + 20, speaks_ms=SPEAKS_MS)
        case "cosigning":
            return Scene(name, _with(dice.randrange(n), n, f, dice), SPAN_MS, OFTEN, cosigns=True)
        case _:
            liars = _with(dice.randrange(n), n, f, dice)
            return Scene(name, liars, SPAN_MS, dice.choice((SMALL, SINGLE)), first_fault=0)


def _with(liar: int, n: int, f: int, dice: Random, honest: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The liar that matters first, and f - 1 others that are not among those who must be honest."""
    others = [member for member in range(n) if member != liar and member not in honest]
    return (liar, *sorted(dice.sample(others, f - 1)))
