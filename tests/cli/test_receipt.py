"""`receipt` from the shell: what is proved, and exit code 5 for what is not."""

import json
from pathlib import Path

import pytest

from bftnode.cli.errors import INTEGRITY
from bftnode.protocol.genesis import write_genesis
from bftnode.protocol.tlog.policy import parse_policy
from tests.cli.commands import bftnode
from tests.vectors.make import genesis
from tests.vectors.receipts import make

POLICY = str(make.FOLDER / "policies" / "ed25519.policy")
VALID, INVALID = make.FOLDER / "valid", make.FOLDER / "invalid"


@pytest.mark.parametrize("name", ["standard-and-its-record.tlog-proof", "quick-and-its-record.receipt"])
def test_a_receipt_is_verified_with_its_record(name: str) -> None:
    """Both kinds, for people and for programs."""
    record = str((VALID / name).with_suffix(".record"))
    result = bftnode("receipt", "verify", str(VALID / name), "--policy", POLICY, "--record", record)
    assert result.exit_code == 0, result.stderr
    assert make.TREE.origin in result.stdout
    shown = bftnode("receipt", "verify", str(VALID / name), "--policy", POLICY, "--record", record, "--json")
    assert json.loads(shown.stdout)["index"] == make.INDEX


@pytest.mark.parametrize("name", ["cosignature-altered.tlog-proof", "quick-one-vote-short.receipt"])
def test_what_is_not_proved_has_a_code_and_a_sentence(name: str) -> None:
    """Exit code 5, nothing on standard output."""
    result = bftnode("receipt", "verify", str(INVALID / name), "--policy", POLICY)
    assert result.exit_code == INTEGRITY
    assert result.stdout == ""
    assert "is not proved: " in result.stderr


def test_a_policy_that_is_none_proves_nothing(tmp_path: Path) -> None:
    """Nor does an empty receipt, or one that is too long."""
    empty, long = tmp_path / "empty", tmp_path / "long"
    empty.write_bytes(b"")
    long.write_bytes(bytes(3 * 2**20))
    good = str(VALID / "standard.tlog-proof")
    for receipt, policy in ((good, str(empty)), (str(empty), POLICY), (str(long), POLICY), (good, str(long))):
        assert bftnode("receipt", "verify", receipt, "--policy", policy).exit_code == INTEGRITY
    assert bftnode("receipt", "verify", str(tmp_path / "missing"), "--policy", POLICY).exit_code == 1


def test_the_policy_of_a_genesis(tmp_path: Path) -> None:
    """Both ways of printing it; it is read back as what it is."""
    (tmp_path / "genesis.toml").write_text(write_genesis(genesis()), encoding="utf-8")
    printed = bftnode("genesis", "policy", str(tmp_path / "genesis.toml"))
    assert printed.exit_code == 0, printed.stderr
    policy = parse_policy(printed.stdout.encode())
    keys = [bytes.fromhex(member.log_key) for member in genesis().members]
    assert [log.key.public_key for log in policy.logs] == [one.key.public_key for one in policy.witnesses] == keys
    assert policy.consensus is not None
    assert policy.consensus.public_keys == genesis().membership().public_keys
    shown = json.loads(bftnode("genesis", "policy", str(tmp_path / "genesis.toml"), "--json").stdout)
    names = [f"{member.name}.ed25519" for member in genesis().members]
    assert shown["groups"] == {"cluster.quorum": [3, *names]}
