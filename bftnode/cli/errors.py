"""How the command line fails: one line that says what, one that helps, a stable code, and an exit code. Only here.

error: MESSAGE (CODE)
  hint: ...
"""

import errno
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import click

from bftnode.cli.output import printable
from bftnode.protocol.errors import Reason, Refused
from bftnode.storage.errors import StorageBroken

OK = 0
FAILURE = 1
USAGE = 2
NOT_READY = 3
INTEGRITY = 5
DENIED = 6
TIMEOUT = 7
CONFIGURATION = 78
INTERRUPTED = 130

EXIT_CODES: dict[Reason, int] = {
    Reason.CONFIGURATION: CONFIGURATION,
    Reason.AUTH_WEAK_KEY: CONFIGURATION,
    Reason.FOREIGN_DATA: CONFIGURATION,
    Reason.NEWER_DATA: CONFIGURATION,
    Reason.OLDER_DATA: CONFIGURATION,
    Reason.DATA_LOCKED: CONFIGURATION,
    Reason.WRONG_CHAIN: CONFIGURATION,
    Reason.WRONG_VERSION: CONFIGURATION,
    Reason.INTEGRITY: INTEGRITY,
    Reason.BAD_CERTIFICATE: INTEGRITY,
    Reason.BAD_BLOCK: INTEGRITY,
    Reason.EQUIVOCATION: INTEGRITY,
    Reason.NOTE_MALFORMED: INTEGRITY,
    Reason.NOTE_UNPROVED: INTEGRITY,
    Reason.TX_DENIED: DENIED,
    Reason.TX_UNKNOWN_CLIENT: DENIED,
    Reason.TX_SIGNATURE: DENIED,
    Reason.AUTH_UNKNOWN_KEY: DENIED,
    Reason.AUTH_SIGNATURE: DENIED,
    Reason.BUSY: NOT_READY,
    Reason.NOT_READY: NOT_READY,
    Reason.DISK_FULL: NOT_READY,
    Reason.CONN_LOST: NOT_READY,
    Reason.CONN_DEADLINE: NOT_READY,
    Reason.CONN_UNREACHABLE: NOT_READY,
}
"""What is not here is a FAILURE."""

HINTS: dict[Reason, str] = {
    Reason.FOREIGN_DATA: "each home has its own data/; nothing of another member or cluster belongs there",
    Reason.NEWER_DATA: "run the version of bftnode that wrote it, or a later one",
    Reason.OLDER_DATA: "it was written before the first release: run the version that wrote it, or begin a new cluster",
    Reason.DATA_LOCKED: "a running member holds it; stop that one first",
    Reason.WRONG_CHAIN: "compare `bftnode genesis show` here and there; --genesis names the file that is used",
    Reason.INTEGRITY: "`bftnode log verify` names the first record that is not proved; keep a copy of data/",
    Reason.TX_DENIED: "--key names the key that signs; an administrator's is needed here",
    Reason.TX_UNKNOWN_CLIENT: "an administrator admits it: bftnode client admit KEY",
    Reason.AUTH_UNKNOWN_KEY: "an administrator admits it: bftnode client admit KEY",
    Reason.BUSY: "try again shortly; `bftnode status` shows how much is pending",
    Reason.NOT_READY: "`bftnode why` says what is missing",
    Reason.DISK_FULL: "make room on that member's disk; it goes on by itself",
    Reason.CONN_UNREACHABLE: "`bftnode status` shows who answers; are the members running?",
    Reason.NOT_FOUND: "`bftnode status` shows how far the members are",
}

HINTS_BY_WORDS: tuple[tuple[str, str], ...] = (
    ("unknown key", "`bftnode config defaults` lists every key with its meaning and range"),
    ("is open to others", "whoever reads a key can speak in its name; if others have read it, make new keys"),
    ("no home is named", "for example: bftnode COMMAND --home demo/client"),
    ("never overwritten", "name another file; a key that is lost cannot be made again"),
    ("not overwritten", "name another file, or remove this one yourself"),
    ("genesis.toml: No such file", "bftnode genesis install FILE --home DIR"),
    ("client.key: No such file", "name a key with --key FILE; `bftnode client new` makes one"),
    ("is no member of the genesis", "use the home whose member.toml went into this genesis"),
    ("cannot listen", "another process has the port; --set peer.listen=HOST:PORT (client.listen) chooses another"),
    (
        "older than what was written",
        "put data/ back as a whole or not at all; or start with an empty one, and see `bftnode unsafe-rejoin --help`",
    ),
    ("no data directory", "the member makes it when it runs for the first time"),
    ("is not host:port", "for example 192.0.2.7:7000 or [2001:db8::7]:7000"),
    ("3f+1", "name one member.toml for each member: 4 tolerate one that lies, 7 two"),
    ("no application", "install the package that has it, on every member"),
)
"""For refusals whose reason is too broad for one hint: the first whose words are in the message."""


class Complaint(NamedTuple):
    """One failure, as it is shown."""

    message: str
    code: str
    hint: str
    exit_code: int


class CommandFailed(Exception):
    """A command's own verdict (a quorum is missing, a log is not proved): shown as it is."""

    def __init__(self, message: str, code: str, hint: str, exit_code: int) -> None:
        super().__init__(message)
        self.complaint = Complaint(message, code, hint, exit_code)


def complaint_of(error: BaseException) -> Complaint:
    """What to say of an exception, whoever raised it; of a group, the first part that we know."""
    complaints = [_complaint_of_one(leaf) for leaf in _leaves(error)]
    known = [complaint for complaint in complaints if complaint.code != "internal"]
    return (known or complaints)[0]


def say(complaint: Complaint) -> None:
    """On standard error, in lines that nobody's control characters can break."""
    lines = [f"error: {printable(complaint.message)} ({complaint.code})"]
    if complaint.hint:
        lines.append(f"  hint: {printable(complaint.hint)}")
    with suppress(OSError):  # where nobody listens, the exit code still speaks
        print("\n".join(lines), file=sys.stderr, flush=True)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _complaint_of_one(error: BaseException) -> Complaint:
    from bftnode.client.outcomes import OutcomeUnknown, ResultForgotten  # noqa: PLC0415  # 30 ms, when it is too late

    match error:
        case CommandFailed():
            return error.complaint
        case click.UsageError():
            path = error.ctx.command_path if error.ctx is not None else "bftnode"
            return Complaint(error.format_message(), "usage", f"{path} --help", USAGE)
        case click.ClickException():
            return Complaint(error.format_message(), "failure", "", FAILURE)
        case click.Abort() | KeyboardInterrupt():
            return Complaint("interrupted", "interrupted", "", INTERRUPTED)
        case Refused():
            return of_reason(error.reason, error.detail)
        case OutcomeUnknown():
            name = error.transaction.hex()
            return Complaint(str(error), "outcome_unknown", f"bftnode tx wait {name}", TIMEOUT)
        case ResultForgotten():
            hint = f"bftnode tx get {error.transaction.hex()} shows where it stands in the log"
            return Complaint(str(error), "result_forgotten", hint, FAILURE)
        case OSError():
            return _of_os_error(error)
    reason = getattr(error, "reason", None)  # DiskFull and IntegrityError have one, as Refused does
    if isinstance(reason, Reason):
        return of_reason(reason, str(error))
    if isinstance(error, StorageBroken):
        hint = "the disk or its file failed; look at the system's log, then start the member again"
        return Complaint(str(error), "storage.broken", hint, FAILURE)
    unknown = "a defect of bftnode; `bftnode --debug ...` shows where"
    return Complaint(f"{type(error).__name__}: {error}", "internal", unknown, FAILURE)


def of_reason(reason: Reason, detail: str) -> Complaint:
    by_words = (hint for words, hint in HINTS_BY_WORDS if words in detail)
    hint = next(by_words, HINTS.get(reason, "`bftnode COMMAND --help` has an example"))
    return Complaint(detail or str(reason), str(reason), hint, EXIT_CODES.get(reason, FAILURE))


def _of_os_error(error: OSError) -> Complaint:
    words = error.strerror or str(error) or type(error).__name__
    message = f"{error.filename}: {words}" if error.filename is not None else words
    hints = {
        errno.EACCES: "look at the owner and mode of the file and of its directories",
        errno.EADDRINUSE: "another process listens there; [peer] listen and [client] listen in node.toml choose",
        errno.ENOSPC: "make room on the disk",
    }
    code = errno.errorcode.get(error.errno or 0, "os").lower()
    return Complaint(message, f"os.{code}", hints.get(error.errno or 0, ""), FAILURE)
