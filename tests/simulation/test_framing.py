"""Framing: whatever happens, whoever conspires, and with all that was said in hand, nobody honest is named (X07)."""

from itertools import combinations
from random import Random

import pytest

from bftnode.protocol.certificates import Certificate, Vote, VoteSignature
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import Frame, encode_frame, open_frame, seal
from bftnode.protocol.forensics import Findings, Testimony, investigate
from bftnode.protocol.messages import Kind, NewView, ViewChange, open_body
from simulations.adversaries import BEHAVIOURS
from simulations.judges import Judge
from simulations.judges.observer import testimony_of as kept_on
from simulations.scenarios.stage import Stage

LIES = ("equivocating primary", "lying view change", "vote equivocator")


class Wiretap:
    """Remembers what was said on a stage; what is sent from or to `cut` is lost."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cut: set[int] = set()
        self.votes: dict[tuple[int, int, int, bytes], dict[int, VoteSignature]] = {}
        self.view_changes: dict[tuple[int, int], dict[bytes, Frame]] = {}  # one of each content
        self.new_views: dict[bytes, None] = {}
        stage.network.rule = self._pass

    def _pass(self, place: int, to: int, raw: bytes) -> bool:
        frame = open_frame(raw)
        body = open_body(frame)
        if isinstance(body, Vote):
            senders = self.votes.setdefault((frame.kind, body.view, body.seq, body.block), {})
            senders.setdefault(frame.sender, VoteSignature(frame.sender, frame.boot, frame.counter, frame.signature))
        elif isinstance(body, ViewChange):
            self.view_changes.setdefault((frame.sender, body.view), {}).setdefault(frame.body, frame)
        elif isinstance(body, NewView):
            self.new_views[raw] = None
        return place not in self.cut and to not in self.cut

    def everything(self, forger: int) -> Testimony:
        """All that was said by anybody, as one would put it together who wants to frame somebody."""
        stage, q = self.stage, self.stage.members.quorum
        certificates = []
        for (phase, view, seq, block), senders in self.votes.items():
            votes = [senders[sender] for sender in sorted(senders)]
            for chosen in (votes[:q], votes[-q:]):
                certificates.append(Certificate(phase, 0, view, seq, block, tuple(chosen)))
        frames = [encode_frame(frame) for said in self.view_changes.values() for frame in said.values()]
        sign = stage.keyring.member_signer(forger)
        forged = [
            encode_frame(seal(stage.members.chain_id, Kind.NEW_VIEW, forger, 1, 10**6, encode(body), sign))
            for body in (NewView(0, 10**6, tuple(frames[at : at + 64])) for at in range(0, len(frames), 64))
        ]
        return Testimony((), tuple(certificates), (*self.new_views, *forged))


def history(n: int, seed: str) -> tuple[Stage, Wiretap]:
    """One primary after the other is cut off while the others work, and comes back."""
    stage = Stage(n, seed=seed)
    tap = Wiretap(stage)
    for view in range(4):
        for _ in range(3):
            stage.submit()
        stage.run(stage.world.random(f"history {view}").randint(3, 60))
        tap.cut = {stage.members.primary_of(view)}
        stage.submit()
        stage.run(1500)
        tap.cut = set()
        stage.run(1500)
    return stage, tap


@pytest.mark.covers("X07", "O12")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [4, 7])
def test_honest_histories_name_nobody(n: int, seed: int) -> None:
    """Several view changes, votes of all views: of no pair of members, and of all that was said, anybody is named."""
    stage, tap = history(n, f"honest {seed}")
    assert max(node.replica.position.view for node in stage.nodes) >= 3
    assert len(tap.new_views) >= 3
    assert {phase for phase, *_ in tap.votes} == {Kind.PREPARE, Kind.COMMIT}
    nothing = Findings(None, ())
    for left, right in combinations(range(n), 2):
        pair = kept_on(stage.nodes[left].disk), kept_on(stage.nodes[right].disk)
        assert pair[0].certificates
        assert investigate(*pair, stage.members, stage.keyring.verify) == nothing
    # A forger that signs NEW-VIEWs of its own fabrication incriminates itself at most.
    found = investigate(tap.everything(0), kept_on(stage.nodes[1].disk), stage.members, stage.keyring.verify)
    assert found.fork_height is None
    assert {culprit.member for culprit in found.culprits} <= {0}


def conspiracy(n: int, seed: int) -> tuple[Stage, Wiretap]:
    """f+1 lie in all ways at once. No judge ends it: what the honest ones say of a fork, and after it, counts."""
    liars = {
        member: [BEHAVIOURS[name](Random(f"{seed} {member} {name}")) for name in LIES] for member in range((n + 2) // 3)
    }
    honest = tuple(range(len(liars), n))
    stage = Stage(n, seed=f"conspiracy {seed}", liars=liars, faulty=honest)
    tap = Wiretap(stage)
    for _ in range(12):
        stage.submit()
        stage.run(400)
    return stage, tap


@pytest.mark.covers("X02", "X03", "X07")
@pytest.mark.parametrize(("n", "forks_least"), [(4, 3), (7, 6)])
def test_beyond_f_each_fork_names_its_makers_and_nobody_else(
    n: int, forks_least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sound: with all that was ever said in hand, liars alone are named. Complete: where two honest members' logs
    forked, what these two keep names f+1."""
    # A fork is what is looked for: nobody ends the run at it.
    monkeypatch.setattr(Judge, "on_committed", lambda *_: None)
    forks = 0
    for seed in range(24):
        stage, tap = conspiracy(n, seed)
        members, verify = stage.members, stage.keyring.verify
        liars = set(range(members.some_correct))
        everything = investigate(tap.everything(0), tap.everything(1), members, verify)
        assert {culprit.member for culprit in everything.culprits} <= liars, seed
        for left, right in combinations(range(len(liars), n), 2):
            found = investigate(kept_on(stage.nodes[left].disk), kept_on(stage.nodes[right].disk), members, verify)
            if found.fork_height is not None:
                forks += 1
                assert {culprit.member for culprit in found.culprits} == liars, (seed, left, right)
        accused = {culprit for node in stage.nodes[len(liars) :] for culprit in node.replica.voice._accused}
        assert accused <= liars, seed
    assert forks >= forks_least
