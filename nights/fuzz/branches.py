"""How many branches of readers and judges the kept inputs reach: coverage.py over a replay, in a process of its own.

What is not reached is printed, line by line; `AT_LEAST` is what a test asks for.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nights.fuzz.corpus import CHECKOUT

AT_LEAST = 0.98

WHOLE = (
    "protocol/blocks.py",
    "protocol/certificates.py",
    "protocol/client_messages.py",
    "protocol/codec.py",
    "protocol/envelope.py",
    "protocol/evidence.py",
    "protocol/forensics.py",
    "protocol/forks.py",
    "protocol/framing.py",
    "protocol/genesis.py",
    "protocol/handshake.py",
    "protocol/membership.py",
    "protocol/messages.py",
    "protocol/mldsa.py",
    "protocol/receipts.py",
    "protocol/transactions.py",
    "protocol/tlog/checkpoints.py",
    "protocol/tlog/cosignatures.py",
    "protocol/tlog/encoding.py",
    "protocol/tlog/notes.py",
    "protocol/tlog/policy.py",
    "protocol/tlog/proofs.py",
    "protocol/tlog/witness.py",
    "node/config.py",
    "node/policies.py",
    "web/tiles.py",
    "web/witness.py",
    "verify_bundle.py",
    "verify_receipt.py",
)
"""Files of bftnode that are readers and judges from end to end; what their writers branch on counts as well."""

ONLY: dict[str, tuple[str, ...]] = {
    "apps/execution.py": ("open_system_operation",),
    "apps/kv.py": ("open_operation", "open_query", "open_result"),
    "apps/log.py": ("open_operation", "open_query", "open_answer"),
    "client/nonces.py": ("FileNonces.__init__", "FileNonces._read", "FileNonces._reserve", "FileNonces.take"),
    "node/identity.py": ("load_seed",),
    "protocol/cosigning.py": ("CheckpointKeys.valid",),
    "protocol/ed25519.py": ("verify", "check_public_key"),
    "protocol/merkle.py": ("verify_inclusion", "verify_consistency"),
    "protocol/nonces.py": ("ClientWindow.refusal", "ClientWindow.load"),
    "protocol/tlog/tiles.py": ("Tile.path", "node_reader.node_at", "parse_entry_bundle", "parse_tile_path"),
    "replica/proposals.py": (
        "Proposals._judged",
        "Proposals._look_for_second_proposal",
        "Proposals._open_transactions",
        "Proposals.hear",
        "Proposals.next_on",
        "Proposals.proposed",
    ),
    "replica/view_change.py": ("ViewChanges._check", "ViewChanges.check_new_view"),
    "storage/directory.py": ("identity_of", "_check_schema"),
    "storage/records.py": ("unseal", "opened"),
    "web/server.py": ("WebServer._serve_one", "WebServer._request"),
}
"""Readers and judges in files of other things, by name."""

ELSEWHERE: dict[str, str] = {
    "protocol/client_messages.py:pack_answers": "writes: frames of a megabyte, of a node's own answers",
    "protocol/client_messages.py:_array": "writes: the same",
    "protocol/genesis.py:make_genesis": "assembles a genesis of parts that are at hand; check_genesis judges it",
    "verify_receipt.py:": "a script's last lines",
    "verify_receipt.py:main": "a command; its exit codes are tested where commands are",
    "verify_bundle.py:": "a script's last lines",
    "verify_bundle.py:main": "the same",
    "web/witness.py:Record.write": "writes",
}
"""Functions in WHOLE files (file:name) that read nothing of anybody's, and what they do instead."""


NOT_REACHED = {
    "replica/view_change.py": "a VIEW-CHANGE for view 0 is asked for alone; a NEW-VIEW for view 0 ends before its own",
    "web/server.py": "h11 has no answer to give any more: the client would have to hang up while its answer is made",
}
"""Why the last ones are not: they need more than bytes. What is not in here and not reached is missing."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One file: branches, how many of them were reached, and those that were not, as (line, to line)."""

    file: str
    branches: int
    reached: int
    missing: list[tuple[int, int]]


def measure() -> list[Measured]:
    """Replay all kept inputs under coverage.py; some ten seconds. Raises subprocess.CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="bftnode-branches-") as folder:
        data, report = Path(folder, "data"), Path(folder, "report.json")
        coverage = [sys.executable, "-m", "coverage"]
        options = ["--branch", f"--data-file={data}", f"--source={CHECKOUT / 'bftnode'}"]
        subprocess.run([*coverage, "run", *options, "-m", "nights.fuzz", "replay"], cwd=CHECKOUT, check=True)
        made = ["json", "--quiet", f"--data-file={data}", "-o", str(report)]
        subprocess.run([*coverage, *made], cwd=CHECKOUT, check=True)
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    return [_of(name, files[f"bftnode/{name}"]["functions"]) for name in sorted((*WHOLE, *ONLY))]


def _of(file: str, functions: dict[str, Any]) -> Measured:
    chosen = ONLY.get(file, tuple(name for name in functions if f"{file}:{name}" not in ELSEWHERE))
    unknown = [name for name in chosen if name not in functions]
    assert not unknown, f"{file} has no {unknown}: it was renamed"
    parts = [functions[name] for name in chosen]
    return Measured(
        file,
        sum(part["summary"]["num_branches"] for part in parts),
        sum(part["summary"]["covered_branches"] for part in parts),
        sorted((line, to) for part in parts for line, to in part["missing_branches"]),
    )


def table(measured: list[Measured]) -> str:
    """For people: a line a file, the lines of what is missing, and the sum."""
    lines = []
    for one in measured:
        missing = ", ".join(f"{line}->{to if to > 0 else 'end'}" for line, to in one.missing)
        lines.append(f"{one.file:32} {one.reached:4} of {one.branches:4} {missing}".rstrip())
    lines.append(f"{'all':32} {sum(one.reached for one in measured):4} of {sum(one.branches for one in measured):4}")
    return "\n".join([*lines, f"{share(measured):.2%} of the branches are reached"])


def share(measured: list[Measured]) -> float:
    """Of all branches, how much was reached: 0 to 1."""
    return sum(one.reached for one in measured) / sum(one.branches for one in measured)
