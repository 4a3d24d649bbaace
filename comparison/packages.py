"""etcd, and a load generator made of etcd's own client library, out of Debian's packages.

Nothing is installed on the system and no service is started (Debian's etcd-server would start one): the packages are
downloaded with apt, unpacked in a directory of ours, and the generator is compiled there, with Debian's Go and Debian's
libraries, without the network. What is kept are three programs; the rest is deleted.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from comparison.failures import Failed

WANTED = ("etcd-server", "etcd-client", "golang-go", "golang-etcd-server-dev")
UNPACKED = ("etcd-", "golang-")
"""Beginnings of the names of packages that are needed; what else they depend on is for running a service."""
SOURCES = (Path(__file__).parent / "load.go", Path(__file__).parent / "etcd_load.go")
LIBRARY, LIBRARY_OF_35 = "go.etcd.io/etcd/clientv3", "go.etcd.io/etcd/client/v3"
"""Where etcd 3.4 (Debian 12) has its client library, and where 3.5 (Debian 13) has it."""
LISTS_HINT = "apt-get update (as root) fetches the lists of packages"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Tools:
    """The programs, and the versions of the packages that they are from."""

    etcd: Path
    etcdctl: Path
    load: Path
    versions: Mapping[str, str]

    @property
    def compiler(self) -> str:
        """Debian's golang-go only names the package that the compiler is in, golang-1.19-go and the like."""
        return next(version for name, version in self.versions.items() if re.fullmatch(r"golang-\d.*-go", name))


def ensure(path: Path, tell: Tell) -> Tools:
    """The programs in `path`, made there at first use (a minute). Raises Failed."""
    tools = Tools(path / "etcd", path / "etcdctl", path / "etcd_load", {})
    stamp = path / "versions.json"
    source = digest(SOURCES)
    if stamp.exists():
        made = json.loads(stamp.read_text())
        if made["source"] == source:
            return Tools(tools.etcd, tools.etcdctl, tools.load, made["versions"])
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Failed(f"etcd is taken from Debian's packages ({', '.join(WANTED)}), and there is no apt-get here")
    tell("Fetching etcd and its client library from Debian (once), compiling the load generator ...")
    shutil.rmtree(path, ignore_errors=True)
    debs, root = path / "debs", path / "root"
    debs.mkdir(parents=True)
    versions = fetch(debs)
    for deb in sorted(debs.glob("*.deb")):
        run(["dpkg-deb", "--extract", str(deb), str(root)])
    for name in ("etcd", "etcdctl"):
        shutil.move(root / "usr" / "bin" / name, path / name)
    build(root, path / "build", tools.load)
    for scratch in (debs, root, path / "build"):
        shutil.rmtree(scratch)
    stamp.write_text(json.dumps({"source": source, "versions": versions}))
    return Tools(tools.etcd, tools.etcdctl, tools.load, versions)


def fetch(debs: Path) -> dict[str, str]:
    """Download what is needed; versions by package."""
    # With no package taken as installed apt names all that are needed, whatever this system has.
    plan = ["apt-get", "install", "--simulate", "--no-install-recommends", "-o", "Dir::State::status=/dev/null"]
    try:
        simulated = run([*plan, *WANTED])
    except Failed:
        if os.geteuid() != 0:
            raise Failed(f"apt does not know {', '.join(WANTED)}: {LISTS_HINT}") from None
        run(["apt-get", "update"])
        simulated = run([*plan, *WANTED])
    versions = {name: version for name, version in planned(simulated).items() if name.startswith(UNPACKED)}
    # As root apt downloads as another user, who must be let in; without that it warns and goes on.
    run(["apt-get", "download", *(f"{name}={version}" for name, version in versions.items())], cwd=debs)
    return versions


def planned(simulated: str) -> dict[str, str]:
    """Names and versions out of what `apt-get install --simulate` says: `Inst NAME (VERSION SUITE [ARCH]) ...`."""
    found = {}
    for line in simulated.splitlines():
        words = line.split()
        if words[:1] == ["Inst"]:
            version = next(word for word in words[2:] if word.startswith("("))
            found[words[1]] = version.removeprefix("(")
    return found


def build(root: Path, scratch: Path, program: Path) -> None:
    """Compile the load generator with what has been unpacked in `root` and nothing else."""
    compilers = sorted((root / "usr" / "lib").glob("go-*/bin/go"))
    if not compilers:
        raise Failed("Debian's golang-go brought no compiler")
    sources = root / "usr" / "share" / "gocode"
    scratch.mkdir()
    for source in SOURCES:
        text = source.read_text()
        if not (sources / "src" / LIBRARY).is_dir():
            text = text.replace(f'"{LIBRARY}"', f'clientv3 "{LIBRARY_OF_35}"')
        (scratch / source.name).write_text(text)
    environment = {
        "PATH": os.defpath,
        "HOME": str(scratch),
        "GOROOT": str(compilers[-1].parent.parent),
        "GOPATH": str(sources),
        "GOCACHE": str(scratch / "cache"),
        "GO111MODULE": "off",  # Debian's libraries are a GOPATH, not modules
        "GOPROXY": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",  # so that no C compiler is needed
    }
    run(
        [str(compilers[-1]), "build", "-o", str(program), *(source.name for source in SOURCES)],
        cwd=scratch,
        environment=environment,
    )


def digest(sources: Sequence[Path]) -> str:
    """Of the text of these files: what was compiled from others is not used."""
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def run(
    command: Sequence[str],
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    within_s: float | None = None,
) -> str:
    """What it prints. Raises Failed with its last words, or when time is up."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=within_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{command[0]}: {error}") from None
    if done.returncode:
        words = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise Failed(f"{' '.join(command[:3])} ... has failed:\n  {words}")
    return done.stdout
