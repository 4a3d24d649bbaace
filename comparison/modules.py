"""CometBFT, and a load generator for it, compiled with this machine's Go from the Go module proxy.

Nothing is installed: what is downloaded and compiled lies in a directory of ours and, but for two programs, is deleted
again. Versions are pinned, and Go checks what it downloads against its checksum database.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from comparison.failures import Failed
from comparison.packages import digest, run

VERSION = "0.38.17"
MODULE = f"github.com/cometbft/cometbft/cmd/cometbft@v{VERSION}"
SOURCES = (Path(__file__).parent / "load.go", Path(__file__).parent / "cometbft_load.go")
GO_MOD = """\
module load

go 1.20

require github.com/gorilla/websocket v1.5.3
"""
GO_SUM = """\
github.com/gorilla/websocket v1.5.3 h1:saDtZ6Pbx/0u+bgYQ3q96pZgCzfhKXGPqt7kZ72aNNg=
github.com/gorilla/websocket v1.5.3/go.mod h1:YR8l580nyteQvAITg2hZ9XVh4b55+EU/adAjf1fMHhE=
"""
GO_WHERE = Path("/usr/local/go/bin/go")
"""Where Go's own archive is unpacked, which is not on everybody's PATH."""
BUILD_S = 1200.0
"""It takes two minutes on two idle cores; past this it is given up."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Tools:
    """The programs, and what compiled them."""

    cometbft: Path
    load: Path
    compiler: str  # 1.26.8


def ensure(path: Path, tell: Tell) -> Tools:
    """The programs in `path`, made there at first use (some minutes). Raises Failed."""
    compiler = path / "compiler"
    tools = Tools(path / f"cometbft-{VERSION}", path / f"load-{digest(SOURCES)[:12]}", "")
    if not (tools.cometbft.exists() and tools.load.exists() and compiler.exists()):
        go = _go()
        tell(f"Compiling CometBFT {VERSION} and a load generator with {go} (once, some minutes) ...")
        scratch = path / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            _build(go, scratch, tools)
            compiler.write_text(run([go, "env", "GOVERSION"], environment=_environment(scratch)).strip())
        finally:
            shutil.rmtree(scratch)
    return Tools(tools.cometbft, tools.load, compiler.read_text().strip().removeprefix("go"))


def _go() -> str:
    """Raises Failed."""
    found = shutil.which("go") or (str(GO_WHERE) if GO_WHERE.exists() else None)
    if found is None:
        raise Failed(f"no Go toolchain on the PATH or at {GO_WHERE}")
    return found


def _build(go: str, scratch: Path, tools: Tools) -> None:
    """What is missing of them; each takes its name when it is whole."""
    environment = _environment(scratch)
    if not tools.cometbft.exists():
        run([go, "install", MODULE], scratch, environment, BUILD_S)
        (scratch / "bin" / "cometbft").replace(tools.cometbft)
    if not tools.load.exists():
        source = scratch / "load"
        source.mkdir()
        for file in SOURCES:
            shutil.copy(file, source)
        (source / "go.mod").write_text(GO_MOD)
        (source / "go.sum").write_text(GO_SUM)
        run([go, "build", "-o", "../made", "."], source, environment, BUILD_S)
        (scratch / "made").replace(tools.load)


def _environment(scratch: Path) -> dict[str, str]:
    """The user's, as to proxies and certificates; the rest ours."""
    ours = {
        "GOPATH": str(scratch / "go"),
        "GOBIN": str(scratch / "bin"),
        "GOCACHE": str(scratch / "cache"),
        "GOTOOLCHAIN": "local",  # a newer compiler than is here would be downloaded otherwise
        "GOFLAGS": "-modcacherw",  # so that it can be deleted
        "GOWORK": "off",
        "CGO_ENABLED": "0",  # so that no C compiler is needed
    }
    return {**os.environ, **ours}
