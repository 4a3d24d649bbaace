"""The receipt verifier that stands alone: the published vectors, the node's opinion, and receipts that were changed."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode import verify_receipt
from bftnode.verify_receipt import NotProved, sentence, verify
from tests.protocol import mutants
from tests.protocol.mutants import SUBJECTS, Subject, byte_by_byte, here, there
from tests.vectors.receipts import make

ROWS = json.loads((make.FOLDER / "vectors.json").read_text(encoding="ascii"))
ABOUT_THE_ENTRY = ("the entry", "the receipt does not hold", "a value", "there is more than a value")
"""What the verifier says of what is inside an entry, which a node knows before it is in the log."""


def test_the_published_vectors_are_what_the_script_makes() -> None:
    """Byte for byte, and nothing else lies there."""
    made = make.files()
    there = {
        str(path.relative_to(make.FOLDER)): path.read_bytes()
        for path in make.FOLDER.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert there.keys() == made.keys()
    assert [name for name in made if made[name] != there[name]] == []


@pytest.mark.covers("A08", "R06")
@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_every_published_vector(row: dict[str, str]) -> None:
    """The verdict and the words; and the node's own code agrees where it asks the same."""
    receipt, policy = (make.FOLDER / row[name] for name in ("receipt", "policy"))
    record, salt = ((make.FOLDER / row[name]).read_bytes() if name in row else None for name in ("record", "salt"))
    if row["valid"]:
        assert sentence(verify(receipt.read_bytes(), policy.read_bytes(), record, salt)) == row["says"]
    else:
        with pytest.raises(NotProved) as refusal:
            verify(receipt.read_bytes(), policy.read_bytes(), record, salt)
        assert str(refusal.value) == row["says"]
    if record is None and not row["says"].startswith(ABOUT_THE_ENTRY):
        assert (here(Subject(receipt.read_bytes(), policy.read_bytes())) is None) is row["valid"]


def test_a_verdict_says_what_is_proved() -> None:
    """Who cosigned and when, who wrote it, and where it is."""
    verdict = verify(*SUBJECTS[0], make.RECORDS[make.INDEX])
    assert (verdict.index, verdict.size, verdict.root) == (make.INDEX, make.SIZE, make.TREE.root)
    assert (verdict.log, verdict.entry) == (make.TREE.origin, make.ENTRIES[make.INDEX])
    assert set(verdict.signers.values()) == {make.WHEN}
    assert verdict.client == make.public_key_of(make.seed(7, "client"))
    quick = verify(*SUBJECTS[1])
    assert quick.signers == {f"member {number}": make.BLOCK.header.time_ms // 1000 for number in range(3)}


@pytest.mark.long
@pytest.mark.covers("A08", "X07")
@pytest.mark.parametrize("which", [0, 1])
def test_no_receipt_with_a_changed_byte_is_accepted(which: int) -> None:
    """Each byte flipped, left out, doubled, and each beginning; by neither implementation."""
    subject = SUBJECTS[which]
    assert there(subject) is here(subject) is None
    refused = sum(mutants.check(mutant, subject) for mutant in byte_by_byte(subject.receipt))
    assert refused > 3 * len(subject.receipt)


@pytest.mark.covers("A08", "X07")
@given(st.randoms(use_true_random=False), st.sampled_from(SUBJECTS))
def test_no_changed_receipt_is_accepted(dice: mutants.random.Random, subject: Subject) -> None:
    """Lines, stretches, numbers, and parts of other receipts."""
    others = [other.receipt for other in SUBJECTS]
    mutants.check(mutants.at_random(subject.receipt, others, dice), subject)


@given(st.binary(max_size=300), st.binary(max_size=300), st.none() | st.binary(max_size=20))
def test_no_bytes_break_it(receipt: bytes, policy: bytes, record: bytes | None) -> None:
    """Whatever they are, it is a verdict and not a traceback; with a good beginning as well."""
    trusted = make.POLICIES["log-only"].encode()
    for one, by in (
        (receipt, policy),
        (make.GOOD, trusted + policy),
        (make.GOOD[:100] + receipt, trusted),
        (make.QUICK[:60] + receipt, make.POLICIES["ed25519"].encode()),
        (make.quick(envelope=receipt), make.POLICIES["ed25519"].encode()),
        (make.alone(receipt), make.POLICIES["ed25519"].encode()),
    ):
        try:
            verify(one, by, record)
        except NotProved:
            continue


@given(st.recursive(st.integers(0, 2**64) | st.binary(max_size=70), lambda kids: st.lists(kids, max_size=20)))
def test_it_reads_bytes_as_the_nodes_do(value: object) -> None:
    """Its reader of msgpack takes what the codec writes, gives the same values, and takes no other spelling."""
    try:
        raw = make.encode(value)
    except OverflowError:
        return
    known = verify_receipt._unpack
    try:
        read = known(raw)
    except NotProved:
        assert any(number >= 2**63 for number in numbers(value)) or depth(value) > 3
    else:
        assert make.encode(read) == raw
    with pytest.raises(NotProved):
        known(raw + b"\x00")
    with pytest.raises(NotProved):
        known(raw[:-1])


def numbers(value: object) -> list[int]:
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int) else []


def depth(value: object) -> int:
    return 1 + max((depth(item) for item in value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize(
    "raw",
    [
        *("cc7f", "cd00ff", "ce0000ffff", "cf00000000ffffffff", "c500016a", "c60000000100", "dc000100", "dd0000000100"),
        *("c0", "c2", "80", "a161", "d000", "ca00000000", "c1", "", "91", "c402ff", "cfffffffffffffffff"),
        "91919191919100",
    ],
)
def test_a_value_has_one_spelling(raw: str) -> None:
    """Longer forms, types that the log does not have, and what ends too early."""
    with pytest.raises(NotProved):
        verify_receipt._unpack(bytes.fromhex(raw))


def test_too_long_files_are_refused() -> None:
    """Before anything in them is looked at."""
    for receipt, policy in ((make.GOOD + bytes(2**21), b""), (make.GOOD, bytes(2**21))):
        with pytest.raises(NotProved, match="too long"):
            verify(receipt, policy)


def test_the_command_as_a_file_on_its_own(tmp_path: Path) -> None:
    """Isolated from every installed bftnode, without msgpack and msgspec: exit code 0, 5 or 2."""
    copy = tmp_path / "verify_receipt.py"
    copy.write_bytes(Path(verify_receipt.__file__).read_bytes())
    policy, folder = make.FOLDER / "policies" / "ed25519.policy", make.FOLDER
    codes = {}
    for name in ("valid/standard.tlog-proof", "valid/quick.receipt", "invalid/quick-a-vote-twice.receipt", "missing"):
        command = [sys.executable, "-P", str(copy), str(folder / name), "--policy", str(policy)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        codes[name] = (done.returncode, done.stdout.startswith("valid: "), done.stderr.startswith("NOT PROVED: "))
    good, bad = (0, True, False), (5, False, True)
    assert list(codes.values()) == [good, good, bad, bad]
    with pytest.raises(SystemExit) as usage:
        verify_receipt.main([])
    assert usage.value.code == 2


def test_json_is_stable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fields that a program reads."""
    receipt, policy, record = tmp_path / "r", tmp_path / "p", tmp_path / "record"
    receipt.write_bytes(make.GOOD)
    policy.write_text(make.POLICIES["ed25519"], encoding="ascii")
    record.write_bytes(make.RECORDS[make.INDEX])
    assert verify_receipt.main([str(receipt), "--policy", str(policy), "--record", str(record), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert list(shown) == ["kind", "log", "index", "size", "root", "signers", "entry", "client"]
    assert shown["entry"] == make.ENTRIES[make.INDEX].hex()


def test_it_stands_alone() -> None:
    """It imports nothing of the node, two libraries at most, and can be read in one sitting."""
    text = Path(verify_receipt.__file__).read_text(encoding="utf-8")
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert names - sys.stdlib_module_names == {"nacl", "cryptography"}
    assert len(text.splitlines()) < 500
