"""What goes wrong with a disk, by what the node has to do about it.

None of these is a `Refused`: an application's operation may be refused, and execution swallows that; a disk that
cannot be read or written is no property of an operation.
"""

import errno

from bftnode.protocol.errors import Reason

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""What the kernel says where there is no room."""


class DiskFull(Exception):
    """No room: nothing of the turn was written, and the same turn can be committed again later (faults.md D04)."""

    reason = Reason.DISK_FULL


class StorageBroken(Exception):
    """The disk failed us and the node must stop.

    After a failed fsync the kernel may have dropped the very pages that it could not write and will call the next
    fsync a success ("fsyncgate", 2018), so a commit that failed is never tried again in this process: the last
    turn counts as unknown until a restart has read what is there (D05).
    """


class IntegrityError(StorageBroken):
    """A record of ours is missing, damaged or contradicts another one (D06, D14). `record` names it."""

    reason = Reason.INTEGRITY

    def __init__(self, record: str, detail: str) -> None:
        super().__init__(f"{record}: {detail}")
        self.record = record
        self.detail = detail
