"""Clients in a closed loop: each asks again when f+1 correct members have answered, as the client library does.

What they get done in a while is the goodput of a cluster; of two such numbers of one run the ratio is what an attack
takes (docs/faults.md, T10 of the performance targets).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bftnode.protocol.transactions import Transaction
from simulations.scenarios.stage import CLIENTS, Stage

POLL_MS = 1
WAY_MS = (1, 10)
"""From a client to a member, drawn evenly: as far as members are from each other in fair weather."""


@dataclass(slots=True)
class _Caller:
    client: int
    waits_for: Transaction | None = None
    asks_at_ms: int = 0


class Load:
    """`callers` of them, from now on. `tells` says which places the envelope of a caller goes to; all, by default."""

    def __init__(self, stage: Stage, callers: int, tells: Callable[[int], Sequence[int]] | None = None) -> None:
        self._stage = stage
        self._dice = stage.world.random(f"load of {callers}")
        self._tells = tells
        self._callers = [_Caller(number % CLIENTS) for number in range(callers)]
        self.answered = 0
        self.longest_ms = 0
        for number in range(callers):
            self._ask(number)
        self._poll()

    def _ask(self, number: int) -> None:
        stage, caller = self._stage, self._callers[number]
        caller.waits_for = stage.transaction(caller.client)
        caller.asks_at_ms = stage.world.now_ms
        places = range(len(stage.nodes)) if self._tells is None else self._tells(number)
        for place in places:
            stage.world.after(self._dice.randint(*WAY_MS), stage.nodes[place].submit, caller.waits_for)

    def _poll(self) -> None:
        stage, judge = self._stage, self._stage.judge
        heights = sorted(node.disk.height for node in stage.nodes if judge.is_correct(node))
        answered = heights[-stage.members.some_correct]  # so high are f+1 correct ones
        for number, caller in enumerate(self._callers):
            if caller.waits_for is None or judge.executed.get(caller.waits_for.key, answered + 1) > answered:
                continue
            caller.waits_for = None
            self.answered += 1
            self.longest_ms = max(self.longest_ms, stage.world.now_ms - caller.asks_at_ms)
            stage.world.after(self._dice.randint(*WAY_MS), self._ask, number)
        stage.world.after(POLL_MS, self._poll)

    def goodput(self, ms: int) -> float:
        """Let so much time pass; what was answered, a second."""
        before = self.answered
        self._stage.run(ms)
        return (self.answered - before) * 1000 / ms
