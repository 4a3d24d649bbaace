"""kill -9 again and again: four real members under load, their wires cut, their clocks stopped, one of them a liar.

A unit is one cycle: one member or more are killed at a random moment, all that are down are started again, and while
they start one may be killed once more; in some cycles a member is paused or cut off as well. It ends when the cluster
has made progress and everybody is up. One cluster lives through all cycles of a slice, and is judged at its end
(`Town.close_down`). faults.md D01, T04, T07, T11, T12, X01.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import trio

from bftnode.apps.execution import application_operation
from bftnode.apps.log import append
from bftnode.client.outcomes import OutcomeUnknown
from bftnode.protocol.transactions import Transaction
from simulations.script import LiarScript
from simulations.work import Done
from theatre.nights.night import Night, play
from theatre.nights.town import MEMBERS, Load, Town, raised
from theatre.troupe import Failed

CLIENTS = 2
CALLERS = 6
PAUSE_S = 0.04
"""Some hundred envelopes a second: load enough that every kill finds something under way, and little enough that a
slice's logs are verified in seconds."""

PROGRESS = 6
PROGRESS_S = 60.0
SUBMIT_S = 120.0
"""An outcome may take a few view changes; then it is unknown, which is allowed and counted."""

KILLED = {1: 55, 2: 20, 3: 5, 4: 20}  # how many at once -> weight
WAIT_S = 0.3  # before a kill, at most
START_S = 1.2  # of a start, at most, after which a second kill comes
TROUBLE_S = (0.3, 2.0)

LIARS = (
    ("vote equivocator",),
    ("equivocating primary",),
    ("lying view change", "selective"),
    ("late equivocator",),
    ("hidden certificate",),
    ("silent",),
)


class Kills:
    """The set."""

    name = "kills"
    story = "one cycle of kill -9, restart and progress of four real members under load"
    units = None
    full = 1000
    chunk = 20
    alone = True

    def play(self, first: int, last: int) -> Done:
        return play(self.name, range(first, last), _night)


KILLS = Kills()


def liars_of(first: int) -> Mapping[int, LiarScript]:
    """Who lies in the slice that begins with this cycle: in one of three somebody does."""
    dice = Random(f"kills/liars/{first}")
    if dice.random() >= 1 / 3:
        return {}
    return {dice.randrange(MEMBERS): LiarScript(dice.choice(LIARS), probability=dice.choice((0.1, 0.5)))}


async def _night(night: Night, path: Path, units: Sequence[int]) -> None:
    liars = liars_of(units[0])
    acknowledged: list[bytes] = []
    async with raised(path, f"kills/{units[0]}", "log", liars, CLIENTS) as town:
        night.town = town
        for member, liar in liars.items():
            town.say(f"n{member} lies: {' + '.join(liar.behaviours)}, {liar.probability}")
            night.count("slices with a liar")

        load = Load(appending(town, acknowledged), PAUSE_S)
        async with trio.open_nursery() as nursery:
            for caller in range(CALLERS):
                nursery.start_soon(load.caller, caller)
            await load.progress(PROGRESS, PROGRESS_S, town)
            for unit in units:
                night.unit = unit
                await _cycle(night, town, load, Random(f"kills/{unit}"))
                night.count("runs")
            load.stop()
        await town.close_down(acknowledged)
        night.count("acknowledged", load.acknowledged)
        night.count("outcomes unknown", load.unknown)
        if load.acknowledged < PROGRESS * len(units):
            raise Failed(f"only {load.acknowledged} submissions in {len(units)} cycles")


def appending(town: Town, acknowledged: list[bytes]) -> Callable[[int, int], Awaitable[bool]]:
    """What a load submits: records, by the clients in turn; the ids of those that are acknowledged are added."""

    async def submit(caller: int, number: int) -> bool:
        ids: list[bytes] = []

        def remember(transaction: Transaction) -> None:
            ids.append(transaction.id)

        operation = application_operation(append(b"%d/%d" % (caller, number)))
        client = town.clients[caller % len(town.clients)]
        try:
            result = await client.submit((operation,), timeout_s=SUBMIT_S, on_signed=remember)
        except OutcomeUnknown:
            return False
        if result.code:
            raise Failed(f"a submission was rejected: {result.code}")
        acknowledged.extend(ids)
        return True

    return submit


async def _cycle(night: Night, town: Town, load: Load, dice: Random) -> None:
    troupe = town.troupe
    town.asking = "progress"
    await trio.sleep(dice.uniform(0.0, WAIT_S))
    many = dice.choices(list(KILLED), list(KILLED.values()))[0]
    victims = dice.sample(range(MEMBERS), many)
    trouble = dice.choices(("none", "pause", "cut", "split"), (70, 12, 12, 6))[0]
    patient = dice.randrange(MEMBERS)
    if trouble == "pause" and patient not in victims:
        troupe.pause(patient)
        night.count("pauses")
    elif trouble in ("cut", "split"):
        town.apart([patient] if trouble == "cut" else [patient, (patient + 1) % MEMBERS])
        night.count("cuts")
    town.say(f"cycle {night.unit}: kill {victims}, {trouble} n{patient}")
    await _kill(night, town, victims)
    if dice.random() < 1 / 3:
        again = [member for member in victims if dice.random() < 1 / 2] or victims[:1]
        await trio.sleep(dice.uniform(0.0, START_S))
        town.say(f"kill {again} while they start")
        await _kill(night, town, again)
        night.count("kills while starting")
    if trouble != "none":
        await trio.sleep(dice.uniform(*TROUBLE_S))
        troupe.resume(patient)
        town.wires.sky.join()
    await troupe.started(*range(MEMBERS))
    await load.progress(PROGRESS, PROGRESS_S, town)


async def _kill(night: Night, town: Town, victims: list[int]) -> None:
    await town.troupe.kill(*victims)
    for member in victims:
        town.troupe.launch(member)
    night.count("kills", len(victims))
