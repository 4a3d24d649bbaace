"""Sends again what was sent before: its own frames, others' frames over its own link, others' NEW-VIEWs."""

from random import Random

from simulations.adversaries.liar import Behaviour, Letter

covers = ("R03", "R09", "R10", "R14", "V06")

KEPT = 200


class Replayer(Behaviour):
    """A memory full of old frames."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self._frames: list[bytes] = []

    def hear(self, sender: int, frame: bytes) -> None:
        self._keep(frame)

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        self._keep(frame)
        return [(to, frame)]

    def _keep(self, frame: bytes) -> None:
        if len(self._frames) < KEPT:
            self._frames.append(frame)
        else:
            self._frames[self.random.randrange(KEPT)] = frame

    def act(self) -> None:
        for _ in range(min(len(self._frames), self.random.randint(1, 10))):
            self.liar.post(self.some(1), self.random.choice(self._frames))
