"""A primary never orders one client and sends one member no proposal; the client knows that member only.

The member follows by what the others commit. It must still notice that its client waits, and tell the others, though
the world around it makes progress all the time.
"""

from random import Random

from simulations.adversaries.censor import Censor
from simulations.scenarios.stage import Stage

covers = ("N02", "N05", "P16", "P31")

LEFT_OUT, CENSORED, BUSY = 3, 1, 0


class OneMemberOneClient(Censor):
    """Censors client 1, leaves out n3."""

    def __init__(self, client: bytes) -> None:
        super().__init__(Random("censor"))
        self.lag_ms = 0
        self._client = client

    def censored(self, client: bytes) -> bool:
        return client == self._client

    def left_out(self) -> list[int]:
        return [LEFT_OUT]


def play() -> None:
    # Keys are the same in every world.
    censor = OneMemberOneClient(Stage().keyring.clients[CENSORED])
    stage = Stage(liars={0: [censor]})
    stage.submit(client=BUSY)
    stage.expect_height(1)
    wanted = stage.submit(LEFT_OUT, client=CENSORED)
    for _ in range(200):
        # Somebody else is served all the time.
        stage.submit(0, 1, 2, client=BUSY)
        if stage.run(100, lambda: wanted.key in stage.judge.executed):
            return
    stage.expect_executed(wanted, within_ms=1)
