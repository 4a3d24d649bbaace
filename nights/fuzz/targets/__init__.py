"""Every target, by name. Imported where the instrumentation is on, or where none is wanted."""

from nights.fuzz.oracle import Target
from nights.fuzz.targets import clients, disk, files, http, logs, peers

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (*peers.TARGETS, *clients.TARGETS, *logs.TARGETS, *files.TARGETS, *disk.TARGETS, *http.TARGETS)
}
