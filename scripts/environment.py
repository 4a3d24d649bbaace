"""The virtual environment of a checkout, made on first use with nothing but python3 and python3-venv.

Used by scripts/cluster and scripts/test. Needs the network once, for PyPI; every file is checked against the hashes in
requirements/.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("BFTNODE_VENV", CHECKOUT / ".venv"))
PYTHON = VENV / "bin" / "python"


def fail(message: str, hint: str) -> "None":
    """End with one line that says what is wrong and one that says what to do."""
    print(f"error: {message}\n  hint: {hint}", file=sys.stderr)
    raise SystemExit(1)


def ensure(requirements: str) -> Path:
    """The environment's python, with requirements/<requirements>.txt and bftnode itself installed (editable)."""
    if sys.version_info < (3, 11):
        fail(f"python {sys.version.split()[0]} is too old", "bftnode needs Python 3.11 or later")
    files = [CHECKOUT / "requirements" / f"{name}.txt" for name in ("build", requirements)]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in [*files, CHECKOUT / "pyproject.toml"]))
    stamp = VENV / f"installed-{requirements}"
    if stamp.exists() and stamp.read_text() == wanted.hexdigest() and PYTHON.exists():
        return PYTHON
    began = time.monotonic()
    print(f"Setting up {VENV} (once; needs PyPI) ...", file=sys.stderr, flush=True)
    if not PYTHON.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
        if made.returncode:
            detail = (made.stdout + made.stderr).strip().splitlines()[:1]
            fail(f"cannot make a virtual environment: {' '.join(detail)}", "apt install python3-venv")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Older pips refuse hashes together with an editable install: two calls.
    hashed = [argument for file in files for argument in ("-r", str(file))]
    for arguments in (["--require-hashes", *hashed], ["--no-deps", "--no-build-isolation", "-e", str(CHECKOUT)]):
        if subprocess.run([*pip, *arguments], check=False).returncode:
            fail("pip could not install the requirements", "see its message above; is PyPI reachable?")
    stamp.write_text(wanted.hexdigest())
    print(f"Installed in {time.monotonic() - began:.0f} s.", file=sys.stderr, flush=True)
    return PYTHON
