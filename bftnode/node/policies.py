"""Policy files that an operator names in node.toml: whom to ask as a witness, and for whom to be one."""

from collections.abc import Sequence
from pathlib import Path

from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.tlog.notes import VerifierKey
from bftnode.protocol.tlog.policy import POLICY_BYTES_MAX, Policy, Witness, parse_policy


def witnesses_to_ask(path: Path) -> Sequence[Witness]:
    """The witnesses of a policy file; each has a URL. Raises Refused(CONFIGURATION) naming the file."""
    witnesses = _read(path).witnesses
    if not witnesses:
        raise Refused(Reason.CONFIGURATION, f"{path}: no witness to ask")
    for witness in witnesses:
        if not witness.url.startswith(("https://", "http://")):
            raise Refused(Reason.CONFIGURATION, f"{path}: the witness {witness.name!r} has no http or https URL")
    return witnesses


def logs_to_witness(path: Path, own_origin: str) -> dict[str, tuple[VerifierKey, ...]]:
    """Trusted keys by origin. Our own log is no other log: a member cosigns it as a member.

    Raises Refused(CONFIGURATION) naming the file.
    """
    logs: dict[str, tuple[VerifierKey, ...]] = {}
    for log in _read(path).logs:
        logs[log.key.name] = (*logs.get(log.key.name, ()), log.key)
    if not logs:
        raise Refused(Reason.CONFIGURATION, f"{path}: no log to be a witness for")
    if own_origin in logs:
        raise Refused(Reason.CONFIGURATION, f"{path}: {own_origin} is this cluster's own log")
    return logs


def _read(path: Path) -> Policy:
    try:
        with path.open("rb") as file:
            return parse_policy(file.read(POLICY_BYTES_MAX + 1))
    except OSError as error:
        raise Refused(Reason.CONFIGURATION, f"{path}: {error.strerror}") from None
    except Refused as refused:
        raise Refused(Reason.CONFIGURATION, f"{path}: {refused.detail}") from None
