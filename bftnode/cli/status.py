"""`status`: every member as it sees itself, and what two of them contradict each other in."""

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from bftnode.cli.cluster import Access, access_options
from bftnode.cli.errors import NOT_READY, CommandFailed
from bftnode.cli.options import example
from bftnode.cli.output import note, print_json, print_table
from bftnode.protocol.client_messages import NodeStatus
from bftnode.protocol.genesis import Genesis

Statuses = Mapping[int, NodeStatus | str]

STATUS_TIMEOUT_S = 5.0


@click.command(epilog=example("bftnode status --home demo/client", "bftnode status --json --home demo/client"))
@access_options
def status(access: Access, as_json: bool) -> None:
    """Show every member as it sees itself.

    Each line is that member's own word. Exit code 3 when fewer than a quorum answer and take part.
    """
    genesis = access.genesis()
    found = access.run(lambda client: client.status_all(min(STATUS_TIMEOUT_S, access.timeout_s)))
    if as_json:
        for member in sorted(found):
            print_json(status_json(genesis, member, found[member]))
    else:
        rows = [_row(genesis, member, found[member]) for member in sorted(found)]
        print_table(
            ["#", "name", "state", "view", "primary", "committed", "executed", "log", "pending", "peers", "head"], rows
        )
    for line in contradictions(genesis, found):
        note(f"warning: {line}")
    need_quorum(genesis, found)


def need_quorum(genesis: Genesis, found: Statuses) -> None:
    """Raises CommandFailed when fewer than a quorum answer and take part."""
    quorum = genesis.membership().quorum
    taking_part = [answer for answer in found.values() if isinstance(answer, NodeStatus) and answer.state == "ok"]
    if len(taking_part) < quorum:
        raise CommandFailed(
            f"no quorum: {len(taking_part)} of {len(genesis.members)} members answer and take part, {quorum} must",
            "no_quorum",
            "`bftnode why` says who is missing and what they say",
            NOT_READY,
        )


def contradictions(genesis: Genesis, found: Statuses) -> list[str]:
    """Members that executed equally many blocks and name different ones. At most f of them lie, or worse happened."""
    heads: dict[int, dict[bytes, list[str]]] = {}
    for member, answer in sorted(found.items()):
        if isinstance(answer, NodeStatus):
            same = heads.setdefault(answer.executed, {}).setdefault(answer.head, [])
            same.append(genesis.members[member].name)
    return [
        f"at height {height} {' and '.join(', '.join(names) for names in by_head.values())} name different blocks"
        for height, by_head in sorted(heads.items())
        if len(by_head) > 1
    ]


def status_json(genesis: Genesis, member: int, answer: NodeStatus | str) -> dict[str, Any]:
    """One member: with all of its status, or with the reason why there is none."""
    named = {"member": member, "name": genesis.members[member].name, "address": genesis.members[member].client_address}
    if isinstance(answer, str):
        return {**named, "reachable": False, "reason": answer}
    fields = _plain(answer)
    assert isinstance(fields, dict), "a struct has fields"
    return {**named, "reachable": True, **fields, "member": member}


def _plain(value: Any) -> Any:
    """Structs as objects with their field names, bytes in hexadecimal digits. (On the wire structs are arrays.)"""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _row(genesis: Genesis, member: int, answer: NodeStatus | str) -> tuple[object, ...]:
    name = genesis.members[member].name
    if isinstance(answer, str):
        return (member, name, answer, "", "", "", "", "", "", "", "")
    primary = genesis.members[answer.primary].name if answer.primary < len(genesis.members) else answer.primary
    return (
        member,
        name,
        answer.state,
        f"{answer.view}" if answer.active else f"{answer.view} (changing)",
        primary,
        answer.committed,
        answer.executed,
        answer.log_size,
        answer.pending,
        f"{sum(peer.connected for peer in answer.peers)}/{len(genesis.members) - 1}",
        answer.head.hex()[:12],
    )
