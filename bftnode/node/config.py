"""Reading the daemon's configuration: flag, environment (BFTNODE_SECTION__KEY), file, default, in this order.

Strict: a key that is not in sections.py is refused with the nearest one that is, a value out of its range with the
place it came from. `default_toml` is the documented file (`config defaults`, configs/node.toml), made from the same
structs. docs/operations.md, "Configuration and home".
"""

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import Meta

from bftnode.node.sections import NodeConfig, Section
from bftnode.protocol.errors import Reason, Refused

__all__ = ["Loaded", "NodeConfig", "default_toml", "host_and_port", "known_keys", "load_config"]

FILE_BYTES_MAX = 256 * 1024
"""A longer node.toml is refused."""

ENVIRONMENT_PREFIX = "BFTNODE_"
SEPARATOR = "__"


class Loaded(NamedTuple):
    """A configuration and whence each value is: "section.key" -> "default", "file ...", "environment ...", "flag"."""

    config: NodeConfig
    origins: dict[str, str]


def load_config(path: Path | None, environment: Mapping[str, str], flags: Mapping[str, str]) -> Loaded:
    """The configuration from a file (None, or absent: defaults), the environment and "section.key" flags.

    Raises Refused(CONFIGURATION) naming the file, variable or flag, the key, and the nearest known key.
    """
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    origins = {f"{section}.{key}": "default" for section, key in known_keys()}
    if path is not None:
        for section, key, value in _from_file(path):
            values[section][key] = value
            origins[f"{section}.{key}"] = f"file {path}"
    for variable, text in sorted(environment.items()):
        if variable.startswith(ENVIRONMENT_PREFIX) and SEPARATOR in variable:
            named = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace(SEPARATOR, ".", 1)
            _override(values, named, text, f"environment variable {variable}")
            origins[named] = f"environment {variable}"
    for named, text in flags.items():
        _override(values, named, text, f"flag --set {named}")
        origins[named] = "flag --set"
    config = _convert(values, origins)
    _check_together(config, origins)
    return Loaded(config, origins)


def default_toml() -> str:
    """A node.toml with every key, its meaning, its range and its default: the text of configs/node.toml."""
    lines = [
        "# The configuration of one bftnode member. Every value below is the default: keep only what you change.",
        "# Precedence: flag (--set section.key=value), environment (BFTNODE_SECTION__KEY), this file, default.",
        "# `bftnode config check` says whether it is right, `bftnode config show --origin` where a value is from.",
        "# What all members must agree on is not here but in genesis.toml, [parameters].",
    ]
    for name, section in SECTIONS.items():
        lines += ["", f"[{name}]  # {section.__doc__}"]
        for field in msgspec.structs.fields(section):
            meta = _meta_of(section, field.name)
            lines += _wrap(meta.description or "")
            if meta.ge is not None:
                lines.append(f"# From {meta.ge} to {meta.le}.")
            if field.default is None:
                assert meta.examples, f"{name}.{field.name} has no default, so it has an example"
                lines.append(f"# {field.name} = {_toml(meta.examples[0])}")
            else:
                lines.append(f"{field.name} = {_toml(field.default)}")
    return "\n".join(lines) + "\n"


def known_keys() -> Iterator[tuple[str, str]]:
    """(section, key) of everything that can be configured, in the order of the file."""
    for name, section in SECTIONS.items():
        for field in msgspec.structs.fields(section):
            yield name, field.name


SECTIONS: dict[str, type[Section]] = {field.name: field.type for field in msgspec.structs.fields(NodeConfig)}


def _from_file(path: Path) -> Iterator[tuple[str, str, Any]]:
    try:
        with open(path, "rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Refused(Reason.CONFIGURATION, f"{path}: {error.strerror}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise Refused(Reason.CONFIGURATION, f"{path}: longer than {FILE_BYTES_MAX} bytes")
    try:
        tables = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # tomllib and decode raise kinds of ValueError
        raise Refused(Reason.CONFIGURATION, f"{path}: not TOML: {error}") from None
    for section, table in tables.items():
        if section not in SECTIONS:
            raise _unknown(str(path), section, SECTIONS)
        if not isinstance(table, dict):
            raise Refused(Reason.CONFIGURATION, f"{path}: {section} is a table: write [{section}]")
        for key, value in table.items():
            _check_known(str(path), f"{section}.{key}")
            yield section, key, value


def _override(values: dict[str, dict[str, Any]], named: str, text: str, source: str) -> None:
    _check_known(source, named)
    section, _, key = named.partition(".")
    values[section][key] = _from_text(section, key, text, source)


def _from_text(section: str, key: str, text: str, source: str) -> str | int:
    """What a variable's or flag's text means for this key."""
    field = next(field for field in msgspec.structs.fields(SECTIONS[section]) if field.name == key)
    if not isinstance(field.default, int):
        return text
    try:
        if not text.isascii():
            raise ValueError
        return int(text)
    except ValueError:
        raise Refused(Reason.CONFIGURATION, f"{source}: {section}.{key} is a whole number") from None


def _check_known(source: str, named: str) -> None:
    known = [f"{section}.{key}" for section, key in known_keys()]
    if named not in known:
        raise _unknown(source, named, known)


def _unknown(source: str, named: str, known: Iterable[str]) -> Refused:
    """Names the nearest key: the same one of another section, or else the most alike in spelling."""
    candidates = list(known)
    key = named.rpartition(".")[2]
    same = [candidate for candidate in candidates if "." in named and candidate.endswith("." + key)]
    alike = difflib.SequenceMatcher(b=named)

    def likeness(candidate: str) -> float:
        alike.set_seq1(candidate if "." in named else candidate.rpartition(".")[2])
        return alike.ratio()

    nearest = same[0] if same else max(candidates, key=likeness)
    return Refused(Reason.CONFIGURATION, f"{source}: unknown key {named}; the nearest known one is {nearest}")


def _convert(values: Any, origins: Mapping[str, str]) -> NodeConfig:
    try:
        return msgspec.convert(values, NodeConfig, strict=True)
    except msgspec.ValidationError as error:
        # msgspec ends with " - at `$.section.key`": the key is said first, and where its value is from.
        problem, _, path = str(error).rpartition(" - at `$.")
        named = path.rstrip("`")
        source = origins.get(named, "configuration").removeprefix("file ")
        problem = problem.replace("`", "").replace("str | null", "str").replace("enum value", "value")
        raise Refused(Reason.CONFIGURATION, f"{source}: {named}: {problem}{_choices(named)}") from None


def _choices(named: str) -> str:
    """The values that a key of few values may have, to be added to a complaint."""
    section, _, key = named.partition(".")
    choices = get_args(get_args(get_type_hints(SECTIONS[section], include_extras=True)[key])[0])
    words = [choice for choice in choices if isinstance(choice, str)]
    return f"; one of {', '.join(words)}" if words else ""


def _check_together(config: NodeConfig, origins: Mapping[str, str]) -> None:
    """What no single key can say: ports, and bounds between two keys."""
    for named, address in (
        ("peer.listen", config.peer.listen),
        ("client.listen", config.client.listen),
        ("web.listen", config.web.listen),
    ):
        try:
            host_and_port(address or "default:1")
        except Refused as refused:
            source = origins[named].removeprefix("file ")
            raise Refused(Reason.CONFIGURATION, f"{source}: {named}: {refused.detail}") from None
    for section, low, high in (
        ("timing", "view_change_timeout_ms", "view_change_timeout_max_ms"),
        ("peer", "backoff_first_ms", "backoff_max_ms"),
        ("storage", "map_bytes_initial", "map_bytes_max"),
        ("client", "connections_per_client_max", "connections_max"),
    ):
        table = getattr(config, section)
        if getattr(table, low) > getattr(table, high):
            source = origins[f"{section}.{low}"].removeprefix("file ")
            raise Refused(Reason.CONFIGURATION, f"{source}: {section}.{low} is above {section}.{high}")
    if config.witness.logs is not None and config.web.listen is None:
        source = origins["witness.logs"].removeprefix("file ")
        raise Refused(Reason.CONFIGURATION, f"{source}: witness.logs needs web.listen, where the logs are to come")
    if config.peer.read_idle_timeout_ms <= 2 * config.timing.status_interval_ms:
        source = origins["peer.read_idle_timeout_ms"].removeprefix("file ")
        raise Refused(
            Reason.CONFIGURATION, f"{source}: peer.read_idle_timeout_ms is not above twice timing.status_interval_ms"
        )


def _meta_of(section: type[Section], key: str) -> Meta:
    hint = get_type_hints(section, include_extras=True)[key]
    arguments = [*get_args(hint), *(inner for item in get_args(hint) for inner in get_args(item))]
    return next(item for item in arguments if isinstance(item, Meta))


def _wrap(text: str, width: int = 110) -> list[str]:
    """`text` as comment lines."""
    lines, line = [], "#"
    for word in text.split():
        if len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "#"
        line += " " + word
    return [*lines, line]


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of "host:port" or "[v6]:port". Raises Refused(CONFIGURATION)."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise Refused(Reason.CONFIGURATION, f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)
