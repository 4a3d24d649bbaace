"""What has a form on real processes is a decision that stands in a table, for everything that a file can say."""

from dataclasses import fields, replace

import pytest

from simulations.adversaries import BEHAVIOURS
from simulations.catalogue import SCRIPTS
from simulations.script import ACTIONS, Expect, LiarScript, Script, Step, load
from theatre import actions, words
from theatre.words import why_formless

PLAIN = Script(story="Nothing happens.", covers=(), step=(Step(at_ms=0, do="submit"),))


def test_every_word_is_in_exactly_one_table() -> None:
    """A new word of the simulator has to be thought about here."""
    tables = [frozenset(words.WORDS), frozenset(words.FORMLESS_WORDS), words.WORDS_NOT_YET]
    for word in ACTIONS:
        assert sum(word in table for table in tables) == 1, word


def test_every_word_with_a_form_is_played() -> None:
    """The table of meanings and the table of actions are of the same words."""
    assert list(words.WORDS) == list(actions.ACTIONS)


@pytest.mark.parametrize("kind", [Step, LiarScript, Expect, Script])
def test_every_field_is_in_a_table(kind: type) -> None:
    """A new field of the simulator has to be thought about here."""
    known = words.FIELDS[kind] | words.FIELDS_NOT_YET[kind]
    assert [item.name for item in fields(kind) if item.name not in known] == []


def test_every_behaviour_is_in_exactly_one_table() -> None:
    """A new behaviour of the simulator has to be thought about here."""
    tables = [words.BEHAVIOURS, frozenset(words.FORMLESS_BEHAVIOURS), words.BEHAVIOURS_NOT_YET]
    for name in BEHAVIOURS:
        assert sum(name in table for table in tables) == 1, name


@pytest.mark.parametrize("word", sorted(words.FORMLESS_WORDS))
def test_a_word_without_a_form_says_why(word: str) -> None:
    """The reason is the table's."""
    script = replace(PLAIN, step=(*PLAIN.step, Step(at_ms=1, do=word)))
    assert why_formless(script) == f"{word!r}: {words.FORMLESS_WORDS[word]}"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            replace(PLAIN, step=(Step(at_ms=0, do="line", members=(0,), kbit_s=16),)),
            "'line' of 16 kbit/s: STATUS alone fills it, and TCP drops nothing",
        ),
        (replace(PLAIN, liars={0: LiarScript(("twins",))}), f"'twins': {words.FORMLESS_BEHAVIOURS['twins']}"),
    ],
)
def test_what_has_no_form_yet_says_so(script: Script, reason: str) -> None:
    """A scenario that needs it is not played."""
    assert why_formless(script) == reason


def test_what_is_not_asked_for_is_named_and_really_asked_there() -> None:
    """Each exception is of a scenario that there is, and leaves everything else as its file has it."""
    for name, (left_out, _) in words.MATTERS_OF_MILLISECONDS.items():
        written = load(SCRIPTS / f"{name}.toml").expect
        usual = getattr(Expect(), left_out)
        assert getattr(written, left_out) != usual, name
        assert words.asked(name, written) == replace(written, **{left_out: usual})
    assert words.asked("another", Expect(accused=(1,))) == Expect(accused=(1,))


def test_a_new_word_or_behaviour_has_no_form_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until somebody gives it one, or says why it has none."""
    monkeypatch.setattr(words, "BEHAVIOURS", words.BEHAVIOURS - {"silent"})
    script = replace(PLAIN, liars={0: LiarScript(("silent",))})
    assert why_formless(script) == "behaviour 'silent' has no form on real processes yet"
    monkeypatch.delitem(words.WORDS, "storm")
    script = replace(PLAIN, step=(Step(at_ms=0, do="storm"),))
    assert why_formless(script) == "'storm' has no form on real processes yet"


def test_a_field_without_a_form_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field counts where it is set, and only there."""
    monkeypatch.setitem(words.FIELDS, Step, words.FIELDS[Step] - {"height"})
    assert why_formless(PLAIN) is None
    script = replace(PLAIN, step=(Step(at_ms=0, do="submit", height=1),))
    assert why_formless(script) == "Step.height has no form on real processes yet"
