"""Views, heights and blocks that are far away or do not exist, and requests that cost the other work."""

from bftnode.protocol.certificates import Vote
from bftnode.protocol.messages import Checkpoint, FetchBlock, FetchRun, Kind, Seen, Status
from simulations.adversaries.liar import Behaviour

covers = ("N13", "K05", "K06", "P35", "P39", "R11", "A18")

FAR = (2**62, 2**63 - 1, 10**6)


class Flooder(Behaviour):
    """Absurd numbers in every field that takes one."""

    def act(self) -> None:
        liar, dice = self.liar, self.random
        epoch, view = liar.members.epoch, liar.replica.position.view
        height = liar.replica.chain.height
        block = dice.randbytes(32)
        far = dice.choice(FAR)
        to = self.some(1)
        for _ in range(dice.randint(1, 6)):
            seq = dice.choice((far, height + 1, height + 2, height + 16, height + 17))
            vote = Vote(epoch, dice.choice((view, view + 1, far)), seq, dice.randbytes(32))
            liar.post(to, liar.seal(dice.choice((Kind.PREPARE, Kind.COMMIT)), vote))
        match dice.randint(0, 4):
            case 0:
                seen = tuple(Seen(far, far, 0) for _ in range(liar.members.n))
                body = Status(epoch, far, True, far, far, far, seen)
                liar.post(to, liar.seal(Kind.STATUS, body))
            case 1:
                liar.post(to, liar.seal(Kind.FETCH_BLOCK, FetchBlock(epoch, block)))
            case 2:
                liar.post(to, liar.seal(Kind.FETCH_RUN, FetchRun(epoch, dice.choice((0, 1, far)), far)))
            case 3:
                interval = liar.members.parameters.checkpoint_interval
                seq = dice.choice((far // interval * interval, (height // interval + 1) * interval))
                liar.post(to, liar.seal(Kind.CHECKPOINT, Checkpoint(epoch, seq, block, 1, block, block)))
            case _:
                pass
