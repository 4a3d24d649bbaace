"""The matrix of what was executed: claims of this code only, answers from the register, and an exit code."""

from pathlib import Path

import pytest

from simulations import coverage
from simulations.command import main
from tests.coverage_matrix import Executed
from tests.faults import FAULTS

SENTENCE = "it belongs to what is not built yet"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests write down is not what was executed."""
    monkeypatch.setattr(coverage, "EXECUTED", tmp_path / "executed.json")


def state_of(fault: str) -> str:
    (row,) = (row for row in coverage.rows(coverage.executed(coverage.fingerprint())) if row.fault == fault)
    return row.state


def test_the_catalogue_and_the_list_of_ids_agree() -> None:
    """docs/faults.md has exactly the ids of tests/faults.txt, each once."""
    faults, answers = coverage.catalogue(coverage.CATALOGUE.read_text(encoding="utf-8"))
    assert sorted(faults) == sorted(FAULTS)
    assert set(answers) <= FAULTS


def test_what_was_executed_on_this_code_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records add up; those of other code are worth nothing."""
    assert state_of("V03") == "OPEN"
    coverage.record([("V03", "a test"), ("V04", "a test")])
    coverage.record([("V03", "another test")])
    assert coverage.executed(coverage.fingerprint()) == {"V03": ["a test", "another test"], "V04": ["a test"]}
    assert state_of("V03") == "executed"
    monkeypatch.setattr(coverage, "fingerprint", lambda: "other code")
    assert state_of("V03") == "OPEN"


def test_a_file_that_was_cut_short_is_no_record() -> None:
    """Nothing that an interrupted or older version left is believed, or stops anybody."""
    for text in (
        "",
        "{",
        "[]",
        '{"fingerprint": "x"}',
        f'{{"fingerprint": "{coverage.fingerprint()}", "executed": []}}',
    ):
        coverage.EXECUTED.write_text(text)
        assert coverage.executed(coverage.fingerprint()) == {}


def test_any_change_of_a_source_changes_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content, name, and to which file what belongs."""
    monkeypatch.setattr(coverage, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    marks = []
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", ""), ("b.py", "2")):
        (tmp_path / "tests" / name).write_text(text)
        marks.append(coverage.fingerprint())
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize(
    "line",
    [
        f"| V99 | later: {SENTENCE} |",
        f"| V17 | never: {SENTENCE} |",
        "| V17 | later: |",
        "| V17 | later: tokens |",
        f"| V17 | later: {SENTENCE} |\n| V17 | later: {SENTENCE} |",
    ],
)
def test_a_register_that_cannot_be_read_is_refused(line: str) -> None:
    """A misspelt answer would close an id that is open."""
    text = f"| V17 | a name | what |\n\n{coverage.REGISTER}\n"
    assert coverage.catalogue(text + f"| V17 | later: {SENTENCE} |")[1] == {"V17": coverage.Answer("later", SENTENCE)}
    with pytest.raises(coverage.BadCatalogue):
        coverage.catalogue(text + line)


def test_the_command_prints_writes_and_judges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--strict is exit code 1 while an id is open, and 0 once each is executed or answered."""
    assert main(["coverage", "--strict"]) == 1
    told = capsys.readouterr()
    assert "| V03 | OPEN |  |" in told.out
    assert " V03" in told.err.splitlines()[-1]
    answers = coverage.catalogue(coverage.CATALOGUE.read_text(encoding="utf-8"))[1]
    coverage.record((fault, "everything") for fault in FAULTS - set(answers))
    assert main(["coverage", "--strict", "--write", str(tmp_path / "matrix.md")]) == 0
    assert "| V03 | executed | everything |" in (tmp_path / "matrix.md").read_text(encoding="utf-8")
    assert f"244 ids: {244 - len(answers)} executed" in capsys.readouterr().err


def test_an_id_that_is_planted_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row more in the catalogue, and --strict fails until it is executed or answered in a sentence; and it fails
    while it is both."""
    text = coverage.CATALOGUE.read_text(encoding="utf-8")
    planted = tmp_path / "faults.md"
    monkeypatch.setattr(coverage, "CATALOGUE", planted)
    body, title, register = text.partition(coverage.REGISTER)
    body += "| V99 | a thing that nobody has thought of | what | how | S |\n\n"
    planted.write_text(body + title + register, encoding="utf-8")
    coverage.record((fault, "everything") for fault in FAULTS - set(coverage.catalogue(text)[1]))
    assert main(["coverage", "--strict"]) == 1
    assert capsys.readouterr().err.endswith("1 OPEN, 0 ANSWERED TWICE\nopen: V99\n")
    planted.write_text(body + title + register + "| V99 | later |\n", encoding="utf-8")
    assert main(["coverage", "--strict"]) == 2
    capsys.readouterr()
    planted.write_text(body + title + register + f"| V99 | later: {SENTENCE} |\n", encoding="utf-8")
    assert main(["coverage", "--strict"]) == 0
    capsys.readouterr()
    coverage.record([("V99", "a test")])
    assert main(["coverage", "--strict"]) == 1
    assert capsys.readouterr().err.endswith("answered twice: V99\n")


def test_a_scenario_that_was_played_counts() -> None:
    """`run` writes down what its story covers."""
    assert main(["run", "silent-primary", "--quiet"]) == 0
    assert "scenario silent-primary" in coverage.executed(coverage.fingerprint())["N03"]


def test_only_what_passed_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that fails, in one of its cases or in its fixtures, shows nothing."""
    (tmp_path / "test_sample.py").write_text(
        "import pytest\n"
        "@pytest.mark.covers('W01')\ndef test_passes(): pass\n"
        "@pytest.mark.covers('W02')\ndef test_fails(): assert 0\n"
        "@pytest.mark.covers('W03')\n@pytest.mark.parametrize('n', [0, 1])\ndef test_half(n): assert n\n"
        "@pytest.mark.covers('W04')\ndef test_broken(absent): pass\n"
    )
    plugin = Executed()
    options = [
        "-q",
        "-c",
        str(tmp_path / "none.ini"),
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
        "--rootdir",
        str(tmp_path),
    ]
    (tmp_path / "none.ini").write_text("[pytest]\n")
    assert pytest.main([*options, str(tmp_path)], plugins=[plugin]) == pytest.ExitCode.TESTS_FAILED
    capsys.readouterr()
    known = coverage.executed(coverage.fingerprint())
    assert known["W01"] == ["test_sample.py::test_passes"]
    assert not known.keys() & {"W02", "W03", "W04"}
