"""Answers and relays that are as large as a frame may be, or say that they are larger."""

from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import BlockAnswer, FetchBlock, FetchRun, Kind, PrePrepare, Relay, Run, open_body
from simulations.adversaries.liar import Behaviour, Letter
from simulations.judges import kind_of

covers = ("K08", "C15", "C14", "P39")

PADDING = bytes(128 * 1024)
COPIES = 300
"""More blocks than a run may have."""
ENVELOPES = 2000


class SizeBomber(Behaviour):
    """What it sends costs the receiver as much as it may."""

    def hear(self, sender: int, frame: bytes) -> None:
        if kind_of(frame) not in (Kind.FETCH_RUN, Kind.FETCH_BLOCK):
            return
        try:
            body = open_body(open_frame(frame))
        except Refused:
            return
        liar = self.liar
        run = liar.disk.read_run(body.first, body.last) if isinstance(body, FetchRun) else None
        if isinstance(body, FetchRun) and run is not None:
            blocks = encode((*run[0], *[run[0][-1]] * COPIES))
            liar.post([sender], liar.seal(Kind.RUN, Run(liar.members.epoch, body.first, run[1]), blocks))
        elif isinstance(body, FetchBlock):
            block = liar.replica.chain.get(body.block)
            if block is not None:
                answer = BlockAnswer(liar.members.epoch, block.block.header_raw)
                liar.post([sender], liar.seal(Kind.BLOCK, answer, block.block.payload + PADDING))

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        if kind_of(frame) != Kind.PRE_PREPARE or self.random.random() < 0.5:
            return [(to, frame)]
        opened = open_frame(frame)
        body = open_body(opened)
        assert isinstance(body, PrePrepare), "of its kind"
        return [(to, self.liar.seal(Kind.PRE_PREPARE, body, opened.payload + PADDING))]

    def act(self) -> None:
        if self.random.random() < 0.2:
            relay = encode(tuple(self.random.randbytes(40) for _ in range(ENVELOPES)))
            self.liar.post(self.some(1), self.liar.seal(Kind.RELAY, Relay(self.liar.members.epoch), relay))
