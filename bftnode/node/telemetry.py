"""Logs: structured events on standard error, a console form for people and JSON lines for machines.

Writing never blocks agreement (faults.md T15): lines go through a bounded queue to one thread, and what does not fit
is dropped and counted. Event names are stable snake_case (dotted where a room names them); fields are flat.
What a peer can provoke is counted always and logged at most once per peer and reason in NOTICE_INTERVAL_S.
"""

import logging
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from bftnode.replica.effects import Note

QUEUE_LINES_MAX = 10_000
NOTICE_INTERVAL_S = 10.0
NOTICE_KEYS_MAX = 1024

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

LOUD = frozenset(
    {"fork_detected", "state_diverged", "quarantined", "disk_full", "cosigned_otherwise", "cosigned_another_log"}
)
QUIET = frozenset({"checkpoint_stable", "checkpoint_cosigned"})
PROVOKED = frozenset({"refused", "checkpoint_divergent", "cosigned_otherwise"})
"""What a member can make this one say as often as it likes."""


class LineWriter:
    """A structlog logger that hands lines to a thread. Closing it writes out what is queued."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE_LINES_MAX)
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def msg(self, message: str) -> None:
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self.dropped += 1

    log = debug = info = warning = error = critical = exception = msg

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._queue.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                self.dropped += 1  # a closed or broken standard error must not stop the node

    def close(self, timeout_s: float = 1.0) -> None:
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout_s)


def _printable(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """No control character of anybody's reaches a terminal (faults.md A19)."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event


def configure(level: str, form: str, writer: LineWriter, common: Mapping[str, Any]) -> None:
    """Set structlog up. `form`: console, json, or auto (console on a terminal). May be called again (SIGHUP)."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
    )

    def add_common(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in common.items():
            event.setdefault(key, value)
        return event

    structlog.configure(
        processors=[
            add_common,
            _printable,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )


class Notes:
    """The replica's notes as counters and log lines."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._said: dict[tuple[str, int | str, int | str], float] = {}

    def say(self, note: Note) -> None:
        """Count; log, unless the same was said of the same peer a moment ago."""
        reason = note.fields.get("reason", "")
        self.counters[f"{note.name}.{reason}" if reason else note.name] += 1
        if note.name in PROVOKED:
            key = (note.name, note.fields.get("member", ""), reason)
            now = time.monotonic()
            if now - self._said.get(key, -1e9) < NOTICE_INTERVAL_S:
                return
            if len(self._said) >= NOTICE_KEYS_MAX:
                self._said.clear()
            self._said[key] = now
        log = structlog.get_logger("replica")
        say = log.error if note.name in LOUD else log.debug if note.name in QUIET else log.info
        say(note.name, **note.fields)
