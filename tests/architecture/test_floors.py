"""The house has floors: who may import whom, and what thinking may not look at (ARCHITECTURE.md)."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FLOORS: dict[str, float] = {
    "protocol": 0,
    "replica": 1,
    "apps": 1,
    "tls": 2,
    "storage": 2,
    "net": 2.5,
    "api": 2.5,
    "client": 2.5,
    "web": 2.5,
    "node": 3,
    "cli": 4,
}
# The third party that a room may use; msgspec.Meta wherever a room declares Wire structs of its own. The roof
# delegates, so it is free; in the simulations it is for reading off the structs what a message is made of (mutation/).
GUESTS: dict[str, set[str]] = {
    "protocol": {"msgpack", "msgspec", "nacl", "cryptography"},
    "replica": {"msgspec"},
    "apps": {"msgspec"},
    "storage": {"lmdb", "nacl", "msgspec"},
    "tls": {"trio"},
    "net": {"trio", "structlog"},
    "api": {"trio", "structlog", "msgspec"},
    "client": {"trio", "msgspec"},
    "web": {"trio", "h11"},
    "node": {"trio", "structlog", "msgspec", "cryptography", "nacl"},
    "simulations": {"msgspec"},
    "theatre": {"trio", "msgspec", "lmdb"},
    "comparison": {"trio", "cryptography", "nacl", "lmdb"},
    "nights": {"distributed", "atheris", "coverage", "msgpack", "msgspec", "trio"},
}
# The theatre plays the garden's scenarios with the house's own processes: it sees both, and only the garden's command
# line, which hands over to it, sees the theatre. It opens members' data itself, to damage them.
STAGE_DOOR = ROOT / "simulations" / "command.py"
# The nights play sets of every room; only the garden's command line hands over to them.
# The comparison runs daemons and command lines, as users do: it sees the house, and of the stage only the ports.
SCALES_SEE = ("bftnode", "theatre.ports", "comparison")
# Time is passed in, randomness is the operating system's, and a set's order is nobody's business (P37, R17).
WORLDLY = {"time", "datetime", "random", "os", "secrets", "socket", "ssl", "threading", "asyncio", "subprocess"}
GARDEN_WITHOUT = {"trio", "lmdb", "socket", "ssl", "time", "datetime", "asyncio", "threading"}
GARDEN_SEES = ("bftnode.protocol", "bftnode.replica", "bftnode.apps", "bftnode.client.session", "simulations")

ROOMS = ("bftnode", "simulations", "theatre", "comparison", "nights")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
EVERY_FILE = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports; `from a import b` counts as a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: Path) -> str:
    """bftnode/net/links.py -> net; bftnode/cli.py -> cli; simulations/world.py -> simulations."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "bftnode" else parts[0]


@EVERY_FILE
def test_a_room_uses_only_rooms_on_floors_below(path: Path) -> None:
    """Never one beside or above: whoever lives above introduces them."""
    room = room_of(path)
    for name in sorted(imports(path)):
        first, _, rest = name.partition(".")
        assert first != "tests", f"{path}: nothing sees the tests"
        if room == "comparison":
            known = first not in {"bftnode", "simulations", "theatre", "nights"} or name.startswith(SCALES_SEE)
            assert known, f"{path} imports {name}: the comparison sees the house and the theatre's ports"
            continue
        assert first != "comparison", f"{path} imports {name}: nothing sees the comparison"
        if first == "nights":
            assert room == "nights" or path == STAGE_DOOR, f"{path} imports {name}: only `campaign` goes there"
        if room == "nights":
            continue
        if first == "theatre":
            assert room == "theatre" or path == STAGE_DOOR, f"{path} imports {name}: only `run --real` goes there"
        if room == "theatre":
            continue
        if room == "simulations":
            if first == "bftnode":
                assert name.startswith(GARDEN_SEES), f"{path} imports {name}: the garden sees floors 0 and 1 only"
        elif first == "simulations":
            assert room == "cli", f"{path} imports {name}: only the roof may start a simulation"
        elif first == "bftnode":
            other = rest.split(".")[0]
            below = other == room or FLOORS.get(other, -1) < FLOORS.get(room, 5)
            assert below, f"{path} ({room}, floor {FLOORS[room]}) imports {name}, which is not on a floor below it"


@EVERY_FILE
def test_a_room_invites_only_its_own_guests(path: Path) -> None:
    """A third party has one or two rooms, so that it can be replaced, and the core depends on nobody."""
    room = room_of(path)
    known = sys.stdlib_module_names | {"bftnode", "simulations", "theatre", "comparison", "nights"}
    third = {name.split(".")[0] for name in imports(path)} - known
    if room in GUESTS:
        extra = third - GUESTS[room]
        assert not extra, f"{path}: {room} may not use {', '.join(sorted(extra))} (ARCHITECTURE.md)"


@pytest.mark.covers("R17", "P37", "K10")
@EVERY_FILE
def test_thought_looks_at_no_clock_and_no_dice(path: Path) -> None:
    """Below floor 2, and in the garden, time and randomness are handed in."""
    room, roots = room_of(path), {name.split(".")[0] for name in imports(path)}
    if FLOORS.get(room, 9) < 2:
        assert not roots & WORLDLY, f"{path} imports {', '.join(sorted(roots & WORLDLY))}: pass it in"
    if room == "simulations":
        assert not roots & GARDEN_WITHOUT, f"{path} imports {', '.join(sorted(roots & GARDEN_WITHOUT))}"


@pytest.mark.covers("R17")
@EVERY_FILE
def test_randomness_is_the_operating_systems_or_has_a_seed(path: Path) -> None:
    """Production draws from SystemRandom or secrets; the simulator from random.Random(seed), never the module's own."""
    allowed = "Random" if room_of(path) in {"simulations", "theatre", "nights"} else "SystemRandom"
    for name in imports(path):
        assert not name.startswith("random.") or name == f"random.{allowed}", f"{path} imports {name}"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            assert node.attr == allowed, f"{path}:{node.lineno}: random.{node.attr}; here only random.{allowed}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"random.Random", "Random"}:
            assert node.args, f"{path}:{node.lineno}: Random() without a seed"


@pytest.mark.covers("C10")
@EVERY_FILE
def test_msgpack_is_read_in_one_shot(path: Path) -> None:
    """The streaming Unpacker, its hooks and skip() have corrupted memory after an error (CVE-2026-57585)."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        names = {getattr(node, "attr", None), getattr(node, "id", None), getattr(node, "name", None)}
        assert "Unpacker" not in names, f"{path}:{node.lineno}: use codec.decode"
        if isinstance(node, ast.keyword):
            assert node.arg not in {"ext_hook", "object_hook", "object_pairs_hook", "list_hook"}, f"{path}: no hooks"
