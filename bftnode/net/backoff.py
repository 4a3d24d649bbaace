"""How long to wait before dialling again: doubling, bounded, jittered so that peers do not return in step."""

import random

_random = random.SystemRandom()


class Backoff:
    """`next_s` after each failure, `reset` after success."""

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._step_s = first_s

    def next_s(self) -> float:
        """A pause between half of this step and all of it; the step after it is twice as long, up to the bound."""
        step_s = self._step_s
        self._step_s = min(2 * step_s, self._max_s)
        return step_s * (0.5 + 0.5 * _random.random())

    def reset(self) -> None:
        self._step_s = self._first_s
