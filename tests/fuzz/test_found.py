"""Every input that is kept, for its code or because it once broke something, is put to its target again."""

import pytest

from nights.fuzz.corpus import CORPUS, FOUND, inputs_of, kept
from nights.fuzz.oracle import Examiner
from nights.fuzz.schedule import SHARES
from nights.fuzz.targets import TARGETS

CORPUS_BYTES_MAX = 1_000_000


@pytest.mark.covers("C17")
@pytest.mark.parametrize("name", TARGETS)
def test_all_holds_of_every_input_that_is_kept(name: str) -> None:
    """Seeds, corpus and what was found: refused by name or taken, in little memory and time."""
    examiner = Examiner(TARGETS[name])
    broken = [(raw.hex(), breach) for raw in inputs_of(TARGETS[name]) if (breach := examiner.examine(raw, traced=True))]
    assert not broken
    assert examiner.taken, "a target that takes nothing shows nothing"


def test_nothing_is_kept_for_no_target() -> None:
    """A file that no target reads would never be played."""
    folders = {path.name for folder in (CORPUS, FOUND) for path in folder.iterdir() if path.is_dir()}
    assert folders <= set(TARGETS)
    assert set(SHARES) == set(TARGETS)


def test_the_corpus_is_small() -> None:
    """It is in everybody's clone."""
    assert sum(path.stat().st_size for name in TARGETS for path in kept(CORPUS, name)) < CORPUS_BYTES_MAX
