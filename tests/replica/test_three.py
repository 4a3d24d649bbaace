"""Three correct replicas, whose power fails, and one liar: the primary, who shows each what it likes (X01, N01, D01).

The swarm's liars and crashes are many and independent. Here one of each kind has a single aim: two branches of a view.
"""

from random import Random

import pytest

from bftnode.protocol.blocks import Block, genesis_block
from bftnode.protocol.certificates import COMMIT, Certificate, Vote, VoteSignature, rank_of
from bftnode.protocol.envelope import Frame, encode_frame
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind, NewView, Status, ViewChange
from tests.replica.conversation import CHAIN, Conversation

SEEDS = (*range(24), 78, 124, 186, 385, 410)
"""The last ones tell a replica that abstains up to a height from one that waits until its log is there."""
STEPS = 250
LIAR, HONEST = 0, (1, 2, 3)


class Three:
    """The correct members' letters are delivered in any order, some never; the liar hears all of them."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        parameters = Parameters(window=self.dice.choice((2, 3)), checkpoint_interval=1000)
        self.talks = {me: Conversation(me=me, parameters=parameters, introduced=False) for me in HONEST}
        self.letters: list[tuple[int, int, Frame]] = []
        self.read = dict.fromkeys(HONEST, 0)
        self.blocks: dict[bytes, Block] = {}
        self.ballots: dict[tuple[int, int, int, bytes], dict[int, VoteSignature]] = {}
        self.asked: dict[int, dict[int, Frame]] = {}  # view -> sender -> VIEW-CHANGE
        for talk in self.talks.values():
            talk.step_behind = True
            talk.hear(LIAR, Kind.STATUS, self.talks[1].replica.sync._status())
        self.moves = [self.propose] * 10 + [self.vote] * 12 + [self.deliver] * 12
        self.moves += [self.crash, self.wait, self.change_view, self.open_view, self.tell]

    # ---- what is said

    def collect(self) -> None:
        for me, talk in self.talks.items():
            for item in talk.said[self.read[me] :]:
                frame, body = item.frame, item.body
                to = [other for other in HONEST if other != me and item.to in (None, other)]
                self.letters += [(me, other, frame) for other in to]
                if isinstance(body, Vote):
                    ballot = VoteSignature(me, frame.boot, frame.counter, frame.signature)
                    place = (frame.kind, body.view, body.seq, body.block)
                    self.ballots.setdefault(place, {}).setdefault(me, ballot)
                if isinstance(body, ViewChange) and frame.sender == me:
                    self.asked.setdefault(body.view, {})[me] = frame
            self.read[me] = len(talk.said)

    def deliver(self) -> None:
        for _ in range(min(3, len(self.letters))):
            sender, to, frame = self.letters.pop(self.dice.randrange(min(12, len(self.letters))))
            if self.dice.random() < 0.9:
                self.talks[to].deliver(frame, sender)

    # ---- what fails

    def crash(self) -> None:
        talk = self.talks[self.dice.choice(HONEST)]
        if self.dice.random() < 0.3:
            talk.disk.sync()
        talk.restart(introduced=False)
        self.introduce(talk)

    def introduce(self, talk: Conversation) -> None:
        """Everybody says where it is, the liar too."""
        for me, other in self.talks.items():
            if other is not talk:
                other.replica.sync.send_status()
                other.tick()
                status = [item.frame for item in other.said if item.frame.kind == Kind.STATUS][-1]
                talk.deliver(status, me)
        self.greet(talk)

    def greet(self, talk: Conversation) -> None:
        position = talk.replica.position
        status = talk.replica.sync._status()
        talk.hear(LIAR, Kind.STATUS, Status(0, position.view, True, 0, 0, 0, status.seen))

    def wait(self) -> None:
        after_ms = self.dice.choice((10, 100, 600))
        for talk in self.talks.values():
            talk.tick(after_ms)
            self.greet(talk)

    # ---- what the liar does

    def some(self) -> list[Conversation]:
        return [self.talks[me] for me in self.dice.sample(HONEST, self.dice.randint(1, 3))]

    def propose(self) -> None:
        """A block on somebody's tip, to whoever stands there; one that there is, or a new one."""
        talk = self.talks[self.dice.choice(HONEST)]
        view, tip = talk.replica.position.view, talk.replica.agreement.tip.block
        if view % 4 != LIAR or tip.hash not in {*self.blocks, genesis_block(CHAIN).hash}:
            return
        known = [item for item in self.blocks.values() if (item.parent, item.header.view) == (tip.hash, view)]
        if known and self.dice.random() < 0.7:
            block = self.dice.choice(known)
        else:
            block = self.talks[1].block(self.chain(tip), view=view)
            self.blocks[block.hash] = block
        for other in [talk, *self.some()]:
            other.propose(block, view)

    def chain(self, tip: Block) -> list[Block]:
        found: list[Block] = []
        while tip.hash in self.blocks:
            found.append(tip)
            if tip.parent not in self.blocks:
                break
            tip = self.blocks[tip.parent]
        return found[::-1]

    def vote(self) -> None:
        """For anything that anybody voted for; rather late than early."""
        if self.ballots:
            phase, view, seq, block = self.dice.choice(list(self.ballots)[-8:])
            for talk in self.some():
                talk.hear(LIAR, Kind(phase), Vote(0, view, seq, block))

    def certificates(self) -> list[Certificate]:
        """All that can be made of what was said and of the liar's own votes."""
        found = []
        for (phase, view, seq, block), votes in self.ballots.items():
            if len(votes) >= 2 and block in self.blocks:
                own = self.talks[1].certificate(phase, self.blocks[block], view, senders=(0, 1, 2)).votes[0]
                chosen = (own, *(votes[sender] for sender in sorted(votes)[:2]))
                found.append(Certificate(phase, 0, view, seq, block, chosen))
        return found

    def change_view(self) -> None:
        """Ask for a view with any certificate of before."""
        view = max(talk.replica.position.view for talk in self.talks.values()) + self.dice.randint(0, 1)
        reports = [item for item in self.certificates() if item.view < view]
        if view > 0:
            report = max(reports, key=rank_of) if reports and self.dice.random() < 0.7 else None
            body = ViewChange(0, view, report)
            self.asked.setdefault(view, {})[LIAR] = self.talks[1].seal(LIAR, Kind.VIEW_CHANGE, body)
            for talk in self.some():
                talk.hear(LIAR, Kind.VIEW_CHANGE, body)

    def open_view(self) -> None:
        """As its primary, with any quorum of VIEW-CHANGEs."""
        for view, asked in sorted(self.asked.items()):
            if view % 4 == LIAR and len(asked) >= 3:
                chosen = sorted(self.dice.sample(sorted(asked), 3))
                body = NewView(0, view, tuple(encode_frame(asked[sender]) for sender in chosen))
                frame = self.talks[1].seal(LIAR, Kind.NEW_VIEW, body)
                for talk in self.some():
                    talk.deliver(frame)

    def tell(self) -> None:
        """Show somebody a commit certificate."""
        found = [item for item in self.certificates() if item.phase == COMMIT]
        if found:
            certificate = self.dice.choice(found)
            view = max(talk.replica.position.view for talk in self.talks.values()) + 1
            for talk in self.some():
                talk.ask_for_view(LIAR, max(view, certificate.view + 1), certificate)

    # ---- what came of it

    def play(self) -> None:
        for talk in self.talks.values():
            self.introduce(talk)
        for _ in range(STEPS):
            self.dice.choice(self.moves)()
            self.collect()
            self.judge()
        self.judge_certificates()

    def descends(self, block: bytes, ancestor: bytes) -> bool:
        """Whether one of them is on the way to the other."""
        high, low = sorted((block, ancestor), key=lambda name: -self.blocks[name].seq)
        while high in self.blocks and self.blocks[high].seq > self.blocks[low].seq:
            high = self.blocks[high].parent
        return high == low

    def judge_certificates(self) -> None:
        """docs/protocol.md, "Safety": what can be committed contradicts nothing that can be prepared in its view or a
        later one."""
        certificates = self.certificates()
        for committed in (item for item in certificates if item.phase == COMMIT):
            for prepared in (item for item in certificates if item.view >= committed.view):
                assert self.descends(prepared.block, committed.block), (committed.rank, prepared.rank)

    def judge(self) -> None:
        logs = [[block.hash for block, _ in talk.disk.log] for talk in self.talks.values()]
        longest = max(logs, key=len)
        for me, log in zip(HONEST, logs, strict=True):
            assert log == longest[: len(log)], f"{me} holds another history"
            assert not self.talks[me].replica.position.halted, me
            assert {item.culprit for item in self.talks[me].accused} <= {LIAR}


@pytest.mark.covers("X01", "N01", "D01", "P13", "X07")
@pytest.mark.parametrize("seed", SEEDS)
def test_one_liar_and_any_number_of_crashes_make_no_fork_and_stop_nobody(seed: int) -> None:
    """Their logs are one history, nobody stops, and only the liar is accused."""
    Three(seed).play()
