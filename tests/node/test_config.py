"""The configuration: strict, with origins, and documented by the file that is made from it."""

from pathlib import Path

import pytest

from bftnode.api.limits import ApiLimits
from bftnode.net.limits import NetLimits
from bftnode.node.config import NodeConfig, default_toml, host_and_port, known_keys, load_config
from bftnode.protocol.errors import Reason, Refused
from bftnode.replica.position import Timing

DOCUMENTED = Path(__file__).parent.parent.parent / "configs" / "node.toml"


def refusal(path: Path | None, environment: dict[str, str], flags: dict[str, str]) -> str:
    """What the configuration is refused for."""
    with pytest.raises(Refused) as caught:
        load_config(path, environment, flags)
    assert caught.value.reason is Reason.CONFIGURATION
    assert "\n" not in caught.value.detail
    return caught.value.detail


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "node.toml"


def test_the_documented_file_is_the_defaults() -> None:
    """configs/node.toml says exactly what `config defaults` prints, and reading it gives what no file gives."""
    assert DOCUMENTED.read_text(encoding="utf-8") == default_toml()
    assert load_config(DOCUMENTED, {}, {}).config == load_config(None, {}, {}).config == NodeConfig()


def test_every_key_is_documented_with_its_default() -> None:
    """Each key stands in the file, under its section, after at least one sentence."""
    lines = default_toml().splitlines()
    for section, key in known_keys():
        begin = next(i for i, line in enumerate(lines) if line.startswith(f"[{section}]"))
        places = [i for i in range(begin, len(lines)) if lines[i].removeprefix("# ").startswith(f"{key} = ")]
        assert places, f"{section}.{key} is not in the file"
        assert lines[places[0] - 1].startswith("# "), f"{section}.{key} is not explained"


def test_the_defaults_are_those_of_the_rooms_below() -> None:
    """What the configuration hands on by default is what each room would have taken by itself."""
    assert NodeConfig().net_limits() == NetLimits()
    assert NodeConfig().api_limits() == ApiLimits()
    assert NodeConfig().replica_timing() == Timing()


def test_no_file_is_the_defaults(file: Path) -> None:
    """A home without node.toml runs on defaults."""
    assert load_config(file, {}, {}).config == NodeConfig()


def test_flag_before_environment_before_file_before_default(file: Path) -> None:
    """Precedence, and each value's origin."""
    file.write_text("[timing]\nstatus_interval_ms = 100\nfetch_timeout_ms = 100\ncourtesy_delay_ms = 100\n")
    environment = {"BFTNODE_TIMING__FETCH_TIMEOUT_MS": "200", "BFTNODE_TIMING__COURTESY_DELAY_MS": "200"}
    loaded = load_config(file, environment, {"timing.courtesy_delay_ms": "300"})
    timing = loaded.config.timing
    assert (timing.status_interval_ms, timing.fetch_timeout_ms, timing.courtesy_delay_ms) == (100, 200, 300)
    assert loaded.origins["timing.view_change_timeout_ms"] == "default"
    assert loaded.origins["timing.status_interval_ms"] == f"file {file}"
    assert loaded.origins["timing.fetch_timeout_ms"] == "environment BFTNODE_TIMING__FETCH_TIMEOUT_MS"
    assert loaded.origins["timing.courtesy_delay_ms"] == "flag --set"


def test_other_variables_are_not_configuration() -> None:
    """BFTNODE_HOME names a home; only names with two underscores are keys."""
    assert load_config(None, {"BFTNODE_HOME": "x", "BFTNODE_KEY": "x", "PATH": "x"}, {}).config == NodeConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[peer]\nlisen = "a:1"\n', "unknown key peer.lisen; the nearest known one is peer.listen"),
        ("[peer]\ngrace_ms = 1\n", "unknown key peer.grace_ms; the nearest known one is shutdown.grace_ms"),
        ("[timeing]\n", "unknown key timeing; the nearest known one is timing"),
        ('[shutdown]\ngrace_ms = "5s"\n', "shutdown.grace_ms: Expected int, got str"),
        ("[shutdown]\ngrace_ms = -1\n", "shutdown.grace_ms: Expected int >= 0"),
        ("[shutdown]\ngrace_ms = true\n", "shutdown.grace_ms: Expected int, got bool"),
        ("[shutdown]\ngrace_ms = 1.5\n", "shutdown.grace_ms: Expected int, got float"),
        ('[node]\nlog_level = "loud"\n', "node.log_level: Invalid value 'loud'; one of debug, info, warning, error"),
        ('[peer]\nlisten = "nowhere"\n', "peer.listen: Expected str matching regex"),
        ('[peer]\nlisten = "a:99999"\n', "peer.listen: 'a:99999' is not host:port"),
        ("node = 3\n", "node is a table: write [node]"),
        ("[node\n", "not TOML"),
        (f"[shutdown]\ngrace_ms = {'9' * 5000}\n", "not TOML"),
        ("[timing]\nview_change_timeout_ms = 70000\n", "timing.view_change_timeout_ms is above"),
        ("[peer]\nread_idle_timeout_ms = 1000\n", "peer.read_idle_timeout_ms is not above twice"),
        ("[storage]\nmap_bytes_max = 2000000\n", "storage.map_bytes_initial is above storage.map_bytes_max"),
        ("#" + "x" * 300_000, "longer than"),
    ],
)
def test_a_wrong_file_is_refused_naming_file_and_key(file: Path, text: str, said: str) -> None:
    """One line: the file, the key, what is wrong, and for a misspelt key the nearest one."""
    file.write_text(text)
    detail = refusal(file, {}, {})
    assert said in detail
    assert str(file) in detail or "default" in detail


@pytest.mark.parametrize(
    ("environment", "flags", "said"),
    [
        ({"BFTNODE_PEER__LISEN": "a:1"}, {}, "variable BFTNODE_PEER__LISEN: unknown key peer.lisen"),
        ({"BFTNODE_SHUTDOWN__GRACE_MS": "5s"}, {}, "BFTNODE_SHUTDOWN__GRACE_MS: shutdown.grace_ms is a whole number"),
        ({"BFTNODE_SHUTDOWN__GRACE_MS": "٣"}, {}, "is a whole number"),
        ({"BFTNODE_SHUTDOWN__GRACE_MS": "-1"}, {}, "environment BFTNODE_SHUTDOWN__GRACE_MS: shutdown.grace_ms"),
        ({}, {"shutdown.grace": "1"}, "flag --set shutdown.grace: unknown key"),
        ({}, {"loglevel": "debug"}, "the nearest known one is node.log_level"),
        ({}, {"node.log_level": "loud"}, "flag --set: node.log_level"),
    ],
)
def test_wrong_variables_and_flags_are_refused_by_name(
    environment: dict[str, str], flags: dict[str, str], said: str
) -> None:
    """Who reads the message knows where to look."""
    assert said in refusal(None, environment, flags)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A directory in its place, or bytes that are no text."""
    assert "Is a directory" in refusal(tmp_path, {}, {})
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "not TOML" in refusal(tmp_path / "binary", {}, {})


@pytest.mark.parametrize(
    ("address", "parts"),
    [("a.example:1", ("a.example", 1)), ("[::1]:65535", ("::1", 65_535)), ("0.0.0.0:7", ("0.0.0.0", 7))],
)
def test_addresses_have_two_parts(address: str, parts: tuple[str, int]) -> None:
    """host:port, with brackets around the colons of IPv6."""
    assert host_and_port(address) == parts


@pytest.mark.parametrize("address", ["", "a", "a:", ":1", "a:0", "a:65536", "a:-1", "a:1x", "a:²"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """Ports go from 1 to 65535."""
    with pytest.raises(Refused):
        host_and_port(address)
