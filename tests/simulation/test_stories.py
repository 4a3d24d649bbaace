"""The scenarios that are files: each is played, each claim is of the catalogue, and a wrong file is a sentence."""

from pathlib import Path

import pytest

from simulations.catalogue import SCRIPTS, find
from simulations.command import main
from simulations.script import ACTIONS, BadScript, Play, load
from simulations.world import Violation
from tests.faults import FAULTS

STORIES = sorted(path.stem for path in SCRIPTS.glob("*.toml"))

STORY = """
story = "One sentence."
covers = ["N03"]
[[step]]
at_ms = 100
do = "submit"
count = 2
"""


@pytest.mark.parametrize("name", STORIES)
def test_a_story_holds(name: str) -> None:
    """Safe all the time, and at its end what it promises; its ids are of docs/faults.md."""
    scenario = find(name)
    assert set(scenario.covers) <= FAULTS
    assert scenario.story.endswith(".")
    scenario.play()


def test_a_story_is_one_run() -> None:
    """The same file gives the same world, to the last event."""
    traces = []
    for _ in range(2):
        play = Play(load(SCRIPTS / "conspiracy-of-f.toml"))
        play.run()
        traces.append((play.stage.world.trace(), play.stage.world.happened))
    assert traces[0] == traces[1]


def test_every_action_is_played_somewhere() -> None:
    """An action that no story uses is one that nobody has seen work."""
    used = {step.do for name in STORIES for step in load(SCRIPTS / f"{name}.toml").step}
    assert used == set(ACTIONS)


def written(path: Path, text: str) -> Path:
    path = path / "story.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("covers", "cover"), "cover: unknown; there are story, covers"),
        (('story = "One sentence."', ""), "story: missing"),
        (('"One sentence."', '" "'), "story: a sentence is expected"),
        (("count = 2", 'count = "2"'), "step 1: count: int is expected"),
        (("count = 2", "count = 2000"), "step 1: at most 1000 at once"),
        (("count = 2", "members = [4]"), "there is no member 4 among 4"),
        (('"submit"', '"sumbit"'), "step 1: 'sumbit' is nothing to do; there are"),
        (("at_ms = 100", "at_ms = -1"), "step 1: at_ms: steps are in order of time"),
        (("[[step]]", "[step]"), "step is written [[step]]"),
        (('covers = ["N03"]', 'covers = ["N03"]\nn = 3'), "n: 4 to 64 members"),
        (("[[step]]", '[liars.0]\nbehaviours = ["lazy"]\n[[step]]'), "liars.0: 'lazy' is no behaviour; there are"),
        (("[[step]]", "[liars.first]\nbehaviours = []\n[[step]]"), "liars.first: a member is named by its index"),
        (("story", "story = = "), "story.toml: "),
        (("count = 2", 'what = "cellar"'), "step 1: 'cellar' is not kept on a disk; there are journal, blocks"),
        (("count = 2", "ppm = 1000000"), "step 1: ppm: less than a million"),
        (
            ("[[step]]", '[liars.0]\nbehaviours = ["silent"]\nkinds = ["VOTE"]\n[[step]]'),
            "'VOTE' is no kind; there are",
        ),
        (("[[step]]", '[liars.0]\nbehaviours = ["silent"]\nprobability = "0.5"\n[[step]]'), "float is expected"),
        (("[[step]]", '[liars.0]\nbehaviours = ["twins", "silent"]\n[[step]]'), "'twins' is no behaviour"),
        (("[[step]]", '[liars.0]\nbehaviours = ["twins"]\nviews = [1]\n[[step]]'), "twins are two all the time"),
        (("count = 2", "members = [5]"), "there is no member 5 among 4"),
    ],
)
def test_a_wrong_file_is_a_sentence_with_the_key(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    """Never a traceback out of the middle of a world."""
    with pytest.raises(BadScript) as refused:
        load(written(tmp_path, STORY.replace(*change, 1)))
    assert said in str(refused.value)
    assert str(refused.value).startswith("story.toml: ")


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("view_at_least = 1", "the highest view is 0"),
        ("accused = [1]", "accused are [], not [1]"),
        ("within_ms = 0", "are not executed everywhere in time"),
    ],
)
def test_what_a_story_expects_is_asked(expect: str, said: str, tmp_path: Path) -> None:
    """An expectation that does not hold is a violation."""
    script = load(written(tmp_path, f"{STORY}[expect]\n{expect}\n"))
    with pytest.raises(Violation, match=said.replace("[", "\\[").replace("]", "\\]")):
        Play(script).run()


def test_a_story_can_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`run` tells steps, messages and how it ended."""
    assert main(["run", "silent-primary"]) == 0
    told = capsys.readouterr().out
    assert "n0 === is a liar from now on: silent" in told
    assert "=== submit" in told
    assert told.endswith("silent-primary: safe, and everything that was asked for is done\n")


def test_a_story_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file by its path; a name that is nearly right; a file that cannot be played: exit codes 0, 2 and 2."""
    path = str(written(tmp_path, STORY))
    assert main(["run", path, "--quiet"]) == 0
    assert capsys.readouterr().out == f"{path}: safe, and everything that was asked for is done\n"
    assert main(["run", "silent-primry"]) == 2
    assert capsys.readouterr().err == "error: no scenario silent-primry; silent-primary?\n"
    assert main(["run", str(written(tmp_path, STORY.replace("submit", "sumbit")))]) == 2
    assert "step 1: 'sumbit' is nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ('do = "refused"\nmembers = [1]', "n1 runs on a damaged disk"),
        ('do = "flip bit"\nmembers = [1]\nwhat = "log"', "n1 has nothing on its disk that could rot"),
        ('do = "put disk back"\nmembers = [1]', "no copy of n1's disk was kept"),
        ('do = "height at least"\nheight = 1', "height 1 is not reached"),
    ],
)
def test_a_step_that_cannot_be_is_a_violation(step: str, said: str, tmp_path: Path) -> None:
    """What a step takes for granted is looked at."""
    text = STORY.replace("[[step]]", f"[[step]]\nat_ms = 50\n{step}\n[[step]]", 1)
    with pytest.raises(Violation, match=said):
        Play(load(written(tmp_path, text))).run()


def test_a_member_that_lives_twice_has_two_places(tmp_path: Path) -> None:
    """Steps name its second self by the place after the members; there are as many as twins."""
    twins = '[liars.2]\nbehaviours = ["twins"]\n[[step]]'
    text = STORY.replace("[[step]]", twins, 1).replace("count = 2", "count = 2\n[[step]]\nat_ms = 900\ndo = 'crash'")
    script = load(written(tmp_path, text + "members = [4]\n"))
    play = Play(script)
    play.run()
    assert [node.up for node in play.stage.everywhere] == [True, True, True, True, False]
    assert play.stage.everywhere[4].member == 2
    with pytest.raises(BadScript, match="there is no member 5 among 5"):
        load(written(tmp_path, text + "members = [5]\n"))
