"""The kernel refuses a call for one file, from the moment on that it is told to."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import errno, os, sys, threading
from pathlib import Path
from theatre.failing import descriptors_of, refuse

path, other = Path(sys.argv[1]), Path(sys.argv[2])
own, foreign = os.open(path, os.O_RDWR | os.O_CREAT), os.open(other, os.O_RDWR | os.O_CREAT)
started, refused = threading.Event(), threading.Event()

def attempt(where):
    for name, call in (
        ("fsync", os.fsync), ("fdatasync", os.fdatasync),
        ("pwrite", lambda file: os.pwrite(file, b"x", 0)), ("pwritev", lambda file: os.pwritev(file, [b"x"], 0)),
        ("fallocate", lambda file: os.posix_fallocate(file, 0, 4096)),
    ):
        try:
            call(where)
        except OSError as error:
            print(name, errno.errorcode[error.errno])

def beside():
    started.set()
    refused.wait()
    attempt(own)

thread = threading.Thread(target=beside)
thread.start()
started.wait()
attempt(own)
assert descriptors_of(path) == [own]
refuse(sys.argv[3], getattr(errno, sys.argv[4]), descriptors_of(path))
refused.set()
thread.join()
attempt(foreign)
"""


@pytest.mark.covers("D04", "D05")
@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        ("fsync", "EIO", ["fsync EIO", "fdatasync EIO"]),
        ("pwrite", "EIO", ["pwrite EIO", "pwritev EIO"]),
        ("fallocate", "ENOSPC", ["fallocate ENOSPC"]),
    ],
)
def test_a_call_is_refused_in_every_thread_for_one_file(tmp_path: Path, call: str, error: str, told: list[str]) -> None:
    """Before it nothing is, and for another file nothing ever."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "own"), str(tmp_path / "other"), call, error],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == told
