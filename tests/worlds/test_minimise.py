"""Less of a seed that fails: exactly what it takes, in words that play it again."""

import shlex
from unittest.mock import patch

import pytest

from bftnode.protocol import quorums
from simulations.campaign import SWARM
from simulations.command import main
from simulations.minimise import BadWord, Less, minimise, parts, reduced
from simulations.swarm import Plan, draw

SEED = 22
"""Several faults, weather, and a liar with two behaviours (looked at below)."""


@pytest.fixture
def plan() -> Plan:
    found = draw(SEED)
    assert len(found.faults) >= 3
    assert any(len(names) >= 2 for names in found.liars.values())
    assert max(found.faults.values()) > 1
    return found


def test_what_it_takes_is_what_is_left(plan: Plan) -> None:
    """A failure that needs one fault twice, one behaviour, three envelopes and 700 ms is reduced to just that."""
    fault = max(plan.faults, key=lambda name: plan.faults[name])
    member, names = next((member, names) for member, names in plan.liars.items() if len(names) >= 2)

    def fails(smaller: Plan) -> bool:
        return (
            smaller.faults.get(fault, 0) >= 2
            and names[1] in smaller.liars.get(member, ())
            and smaller.transactions >= 3
            and smaller.unkind_ms >= 700
        )

    assert fails(plan)
    least = reduced(plan, minimise(plan, fails))
    assert least.faults == {fault: 2}
    assert least.liars == {member: (names[1],)}
    assert (least.transactions, least.unkind_ms, least.amnesiacs) == (3, 700, ())
    assert set(parts(least)) == {fault, f"n{member}"}, "the weather is calm, and what is left cannot be taken away"


def test_nothing_is_taken_away_where_all_of_it_is_needed(plan: Plan) -> None:
    """And the words are none."""
    less = minimise(plan, lambda smaller: smaller == plan)
    assert reduced(plan, less) == plan
    assert less.words() == ""


def test_it_has_a_bound(plan: Plan) -> None:
    """So many smaller plans are played, and no more."""
    asked: list[Plan] = []

    def fails(smaller: Plan) -> bool:
        asked.append(smaller)
        return len(asked) % 2 == 0

    minimise(plan, fails, 17)
    assert len(asked) == 17


def test_the_words_give_the_same_plan_again(plan: Plan) -> None:
    """Whatever is taken away: through the shell, and back."""
    for word in parts(plan):
        less = Less((word,), (), 1, 500)
        options = shlex.split(less.words())
        assert options == ["--without", word, "--transactions", "1", "--ms", "500"]
        assert reduced(plan, Less(tuple(options[1].split(",")), (), 1, 500)) == reduced(plan, less)
        assert word not in parts(reduced(plan, less))


@pytest.mark.parametrize(
    ("less", "said"),
    [
        (Less(("earthquake",)), f"seed {SEED} has no 'earthquake'; it has "),
        (Less((), (("earthquake", 1),)), f"seed {SEED} has 0 x 'earthquake', not 1 or more"),
        (Less(transactions=1000), f"seed {SEED} has .* transactions, of which at least one is needed"),
        (Less(ms=99), "at least 100 are needed"),
        (Less(ms=1_000_000), f"seed {SEED} is unkind for"),
    ],
)
def test_what_is_not_there_cannot_be_taken_away(plan: Plan, less: Less, said: str) -> None:
    """One sentence says what there is."""
    with pytest.raises(BadWord, match=said):
        reduced(plan, less)


def test_the_command_that_is_printed_fails_again(capsys: pytest.CaptureFixture[str]) -> None:
    """A replica that certifies with too few votes: the smaller seed violates the same property when it is replayed."""
    with patch.object(quorums, "quorum", lambda n: 2 * quorums.max_faulty(n)):
        (finding,) = SWARM.play(1, 2).findings
        smaller = SWARM.smaller(finding)
        assert "--without" in smaller.replay
        assert "--transactions 1 --ms 100" in smaller.replay
        python, _, module, *words = shlex.split(smaller.replay)
        assert (python, module) == ("python", "simulations")
        assert main(words) == 1
        assert f"VIOLATED {finding.judge}" in capsys.readouterr().out.splitlines()[-1]
    assert main(words) == 0, "and holds where nothing is planted"


def test_the_command_refuses_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and what the seed has."""
    assert main(["replay", str(SEED), "--without", "earthquake"]) == 2
    assert "has no 'earthquake'; it has" in capsys.readouterr().err
    for wrong in (["--at-most", "crash"], ["--transactions", "0"], ["--ms", "soon"]):
        with pytest.raises(SystemExit) as ended:
            main(["replay", str(SEED), *wrong])
        assert ended.value.code == 2
        assert repr(wrong[1]) in capsys.readouterr().err
