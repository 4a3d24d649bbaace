"""A recorded member whose disk fails: `python -m theatre.failing --home DIR --words DIR --call CALL --error EIO`.

From SIGUSR1 on the kernel refuses this system call in all of its threads: a seccomp filter (seccomp(2)), which needs no
root, no compiler and no file system of its own, and cannot be taken back: only a new process has a disk that works.
What writes is refused for the data file alone, so that the member can still say what happened.
"""

import argparse
import ctypes
import errno
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bftnode.node.daemon import main as run_daemon
from bftnode.node.home import find_home
from bftnode.storage.directory import LMDB_NAME
from bftnode.storage.environment import DATA_NAME
from theatre.recorded import Recorder

SYSTEM_CALLS = {
    "x86_64": {
        "seccomp": 317,
        "fsync": 74,
        "fdatasync": 75,
        "pwrite64": 18,
        "pwritev": 296,
        "pwritev2": 328,
        "fallocate": 285,
    },
    "aarch64": {
        "seccomp": 277,
        "fsync": 82,
        "fdatasync": 83,
        "pwrite64": 68,
        "pwritev": 70,
        "pwritev2": 287,
        "fallocate": 47,
    },
}
"""Numbers by machine, of the kernel's tables."""

CALLS = ("fsync", "pwrite", "fallocate")
KERNEL_CALLS = {
    "fsync": ("fsync", "fdatasync"),
    "pwrite": ("pwrite64", "pwritev", "pwritev2"),
    "fallocate": ("fallocate",),
}
ERRORS = ("EIO", "ENOSPC")

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_NUMBER_AT, _FIRST_ARGUMENT_AT = 0, 16  # in struct seccomp_data
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _ALL_THREADS = 1, 1


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def refuse(call: str, error: int, files: Sequence[int]) -> None:
    """From now on, of the whole process. `files`: descriptors that it is refused for. Raises OSError."""
    numbers = SYSTEM_CALLS[platform.machine()]
    lines: list[tuple[int, int, int, int]] = []
    for name in KERNEL_CALLS[call]:
        # Each call: skip to the next one unless it is this; then refuse it for each of the files.
        lines += [(_LOAD, 0, 0, _NUMBER_AT), (_EQUAL, 0, 2 * len(files) + 1, numbers[name])]
        lines.append((_LOAD, 0, 0, _FIRST_ARGUMENT_AT))
        for file in files:
            lines += [(_EQUAL, 0, 1, file), (_RETURN, 0, 0, _ERROR | error)]
    lines.append((_RETURN, 0, 0, _ALLOW))
    array = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    program = _Program(len(lines), array)
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or kernel.syscall(
        numbers["seccomp"], _SET_FILTER, _ALL_THREADS, ctypes.byref(program)
    ):
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def descriptors_of(path: Path) -> list[int]:
    """Which of this process lead to the file."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.readlink() == path:
                found.append(int(entry.name))
        except OSError:
            continue  # it was the one for this directory
    return sorted(found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m theatre.failing", description="A member whose disk fails.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--words", type=Path, required=True, metavar="DIR", help="one file a life is added to it")
    parser.add_argument("--call", choices=CALLS, required=True, help="what fails from SIGUSR1 on")
    parser.add_argument("--error", choices=ERRORS, required=True, help="as what")
    options = parser.parse_args(arguments)
    home = find_home(options.home, os.environ)
    data = (home.data_path / LMDB_NAME / DATA_NAME).resolve()

    def fail(*_: object) -> None:
        files = descriptors_of(data)
        assert files, "a member that runs has its data file open"
        refuse(options.call, getattr(errno, options.error), files)

    signal.signal(signal.SIGUSR1, fail)
    return run_daemon(home, home.load_config(os.environ, {}).config, Recorder(options.words))


if __name__ == "__main__":
    sys.exit(main())
