"""Applications by name."""

from pathlib import Path

import pytest

from bftnode.apps import kv, log
from bftnode.apps.registry import installed_applications, load_application
from bftnode.protocol.errors import Reason, Refused


def refusal(name: str) -> Refused:
    with pytest.raises(Refused) as caught:
        load_application(name)
    assert caught.value.reason is Reason.CONFIGURATION
    return caught.value


def test_the_built_in_applications_are_installed() -> None:
    """They register like everybody else's."""
    assert isinstance(load_application("kv"), kv.KeyValue)
    assert isinstance(load_application("log"), log.Records)
    assert {"kv", "log"} <= set(installed_applications())


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    """An operator sees what there is."""
    assert "kv, log" in refusal("kvv").detail


def install(folder: Path, package: str, entries: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real distribution, as pip leaves it on the path."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[bftnode.applications]\n{entries}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)


def test_somebody_elses_application_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point of any installed package."""
    install(tmp_path, "theirs", "ledger = bftnode.apps.log:Records", monkeypatch)
    assert isinstance(load_application("ledger"), log.Records)


def test_a_name_that_two_packages_claim_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that load different code for one name would diverge."""
    install(tmp_path, "one", "ledger = bftnode.apps.log:Records", monkeypatch)
    install(tmp_path, "two", "ledger = bftnode.apps.kv:KeyValue", monkeypatch)
    assert "more than one" in refusal("ledger").detail


def test_what_is_no_application_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point that makes something else."""
    install(tmp_path, "odd", "odd = builtins:dict", monkeypatch)
    assert "does not make" in refusal("odd").detail
