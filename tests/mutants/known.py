"""What is known of the mutants, as text in the repository: known.json, so that a night's work outlives its checkout.

Of a function that has not changed (mutmut's hash of it) a verdict stays, whatever changed elsewhere: as with nights, it
says what was seen once. A line a function: its hash, and a letter a mutant, in mutmut's order.
"""

import json
from collections.abc import Container, Mapping
from pathlib import Path

KNOWN = Path(__file__).with_name("known.json")
MARK = "__mutmut_"

Codes = dict[str, int | None]
"""Mutant, by mutmut's name -> the exit code that mutmut wrote down; None: not played yet."""

VERDICTS = {
    None: "not played",
    2: "not played",  # interrupted
    0: "survived",
    5: "no test",
    33: "no test",
    34: "skipped",
    **dict.fromkeys((-24, 24, 36, 152, 255), "timeout"),
}
"""What mutmut's exit codes mean; all others (a test that failed, a signal) mean that the mutant was killed."""

ALIVE = frozenset({"survived", "no test"})
"""The verdicts of those that live."""

LETTERS = {".": None, "s": 0, "n": 33, "-": 34, "t": 36, "k": 1}
"""A code that says the same to mutmut."""

_LETTER_OF = {verdict: letter for letter, code in LETTERS.items() for verdict in [VERDICTS.get(code, "killed")]}


def verdict(code: int | None) -> str:
    """One word for an exit code of mutmut's."""
    return VERDICTS.get(code, "killed")


def metas(folder: Path) -> dict[str, Path]:
    """Source file -> where mutmut keeps what it knows of it; `folder` is the one that mutmut calls mutants."""
    return {str(path.relative_to(folder))[: -len(".meta")]: path for path in sorted(folder.rglob("*.meta"))}


def load(folder: Path) -> dict[str, Codes]:
    """Source file -> its mutants' codes, of files that have any."""
    found: dict[str, Codes] = {
        file: json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"] for file, path in metas(folder).items()
    }
    return {file: codes for file, codes in found.items() if codes}


def remember(folder: Path, known: Path = KNOWN) -> None:
    """Write down what mutmut knows. What is known of other functions, here or in other checkouts, is not kept: they are
    not in the code any more."""
    files: dict[str, dict[str, tuple[str, str]]] = {}
    before = _read(known)
    for file, path in metas(folder).items():
        meta = json.loads(path.read_text(encoding="utf-8"))
        letters = _letters(meta["exit_code_by_key"])
        lines = {}
        for function, digest in sorted(meta["hash_by_function_name"].items()):
            old = before.get(file, {}).get(function, ("", ""))
            lines[function] = digest, _merged(letters[function], old[1] if old[0] == digest else "")
        if lines:
            files[file] = lines
    known.write_text(_text(files), encoding="utf-8")


def restore(folder: Path, known: Path = KNOWN) -> None:
    """Tell mutmut what is known and it does not know (any more). It drops what it is told of functions that have
    changed since, when it generates their mutants."""
    for file, functions in _read(known).items():
        path = folder / f"{file}.meta"
        meta = {
            "exit_code_by_key": {},
            "hash_by_function_name": {},
            "type_check_error_by_key": {},
            "durations_by_key": {},
            "estimated_durations_by_key": {},
        }
        if path.exists():
            meta = json.loads(path.read_text(encoding="utf-8"))
        codes, hashes = meta["exit_code_by_key"], meta["hash_by_function_name"]
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for function, (digest, letters) in functions.items():
            if hashes.setdefault(function, digest) != digest:
                continue
            for number, letter in enumerate(letters, 1):
                name = f"{module}.{function}{MARK}{number}"
                if codes.get(name) is None:
                    codes[name] = LETTERS[letter]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(meta), encoding="utf-8")


def forget(folder: Path, mutants: Container[str]) -> int:
    """Have mutmut play these again: tests may have come since. How many these are."""
    count = 0
    for path in metas(folder).values():
        meta = json.loads(path.read_text(encoding="utf-8"))
        again = [name for name, code in meta["exit_code_by_key"].items() if code is not None and name in mutants]
        meta["exit_code_by_key"].update(dict.fromkeys(again))
        path.write_text(json.dumps(meta), encoding="utf-8")
        count += len(again)
    return count


def function_of(mutant: str) -> tuple[str, int]:
    """Its function, by mutmut's name in the module, and its number, from 1."""
    function, _, number = mutant.rpartition(".")[2].partition(MARK)
    return function, int(number)


def _letters(codes: Codes) -> dict[str, str]:
    found: dict[str, dict[int, str]] = {}
    for name, code in codes.items():
        function, number = function_of(name)
        found.setdefault(function, {})[number] = _LETTER_OF[verdict(code)]
    return {function: "".join(numbers[at] for at in range(1, len(numbers) + 1)) for function, numbers in found.items()}


def _merged(new: str, old: str) -> str:
    """What is new; where it is nothing, what was known."""
    return "".join(b if a == "." else a for a, b in zip(new, old.ljust(len(new), "."), strict=False))


def _read(known: Path) -> Mapping[str, Mapping[str, tuple[str, str]]]:
    if not known.exists():
        return {}
    read: dict[str, dict[str, tuple[str, str]]] = json.loads(known.read_text(encoding="utf-8"))
    return read


def _text(files: Mapping[str, Mapping[str, tuple[str, str]]]) -> str:
    """JSON, a line a function: a change of one is a line in a diff."""
    parts = []
    for file, functions in sorted(files.items()):
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(list(line))}" for name, line in functions.items())
        parts.append(f" {json.dumps(file)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
