"""CHECKPOINTs of a state that nobody has, of heights that nobody has reached, and two for one height."""

from random import Random

from bftnode.protocol.envelope import open_frame
from bftnode.protocol.messages import Checkpoint, Kind, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("K01", "K02", "V09")


class CheckpointLiar(Behaviour):
    """Wrong digests to all or to some, and digests before their time."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice)
        self.to_all = dice.random() < 0.5
        self.lie = dice.choice(("state", "block", "log"))

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if kind_of(frame) != Kind.CHECKPOINT:
            return [(to, frame)]
        body = open_body(open_frame(frame))
        assert isinstance(body, Checkpoint), "of its kind"
        if not self.to_all and to % 2:
            return [(to, frame)]
        return [(to, self.liar.seal(Kind.CHECKPOINT, self._wrong(body)))]

    def act(self) -> None:
        """The next checkpoint, with today's state."""
        liar = self.liar
        interval = liar.members.parameters.checkpoint_interval
        head = liar.disk.log[-1][0]
        if head.seq == 0:
            return
        seq = (head.seq // interval + self.random.choice((1, 2, 10))) * interval
        header = head.header
        early = Checkpoint(liar.members.epoch, seq, head.hash, header.log_size, header.log_root, bytes(32))
        liar.post(self.some(1), liar.seal(Kind.CHECKPOINT, early))

    def _wrong(self, body: Checkpoint) -> Checkpoint:
        wrong = bytes((body.state_digest[0] ^ 1,)) + body.state_digest[1:]
        match self.lie:
            case "state":
                return Checkpoint(body.epoch, body.seq, body.block, body.log_size, body.log_root, wrong)
            case "block":
                return Checkpoint(body.epoch, body.seq, wrong, body.log_size, body.log_root, body.state_digest)
            case _:
                return Checkpoint(body.epoch, body.seq, body.block, body.log_size + 1, wrong, body.state_digest)
