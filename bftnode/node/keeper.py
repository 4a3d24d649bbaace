"""What a member does with payloads of private records (decision 020): keeps, shows, and erases them as the log says.

Nothing here is agreed upon but the erasures, which are in the log application's state. A payload is taken when its
record is executed here, opens its commitment and is not erased; so none is kept that nobody committed to, and what
was erased is never taken back. All of it runs in worker threads.
"""

from collections.abc import Callable
from threading import Lock

from bftnode.apps import log
from bftnode.protocol.commitments import SALT_BYTES, commitment_of
from bftnode.protocol.errors import Reason, Refused
from bftnode.storage.payloads import Payloads


class Keeper:
    """`query`: the log application's answer in this node's state of the moment, from any thread."""

    def __init__(self, payloads: Payloads, query: Callable[[bytes], bytes]) -> None:
        self._payloads = payloads
        self._query = query
        # What is taken is looked up and written in one go: else an erasure could come in between, and find nothing.
        self._lock = Lock()

    def keep(self, index: int, salt: bytes, payload: bytes) -> None:
        """Durable when it returns; again is the same. Raises Refused(NOT_FOUND | INTEGRITY | DISK_FULL), OSError."""
        with self._lock:
            record, commitment = self._private(index)
            if commitment_of(record.client, salt, payload) != commitment.hash:
                raise Refused(Reason.INTEGRITY, f"this payload does not open the commitment of record {index}")
            if self._payloads.get(index) != salt + payload:
                self._payloads.put(index, salt + payload)

    def read(self, index: int) -> tuple[bytes, bytes]:
        """(salt, payload) of a private record. Raises Refused(NOT_FOUND), OSError."""
        record, commitment = self._private(index)
        content = self._payloads.get(index)
        if content is not None:
            salt, payload = content[:SALT_BYTES], content[SALT_BYTES:]
            if len(salt) == SALT_BYTES and commitment_of(record.client, salt, payload) == commitment.hash:
                return salt, payload
        raise Refused(Reason.NOT_FOUND, f"the payload of record {index} is not kept here")

    def carry_out(self) -> int:
        """Erase what was ordered to be, and has not been yet; how many. Raises DiskFull, StorageBroken."""
        done = 0
        while True:
            first = self._payloads.erasures
            gone = log.open_answer(self._query(log.erasures(first)))
            assert isinstance(gone, log.Gone), "the application answers what it is asked"
            if not gone.indices:
                return done
            with self._lock:
                for index in gone.indices:
                    self._payloads.erase(index)
            self._payloads.carried_out(first + len(gone.indices))
            done += len(gone.indices)

    def _private(self, index: int) -> tuple[log.Record, log.Commitment]:
        """A private record that is not erased. Raises Refused(NOT_FOUND)."""
        answer = log.open_answer(self._query(log.read(index)))
        assert isinstance(answer, log.Found), "the application answers what it is asked"
        record = answer.record
        if record is None or isinstance(record.data, bytes):
            raise Refused(Reason.NOT_FOUND, f"no private record of index {index} is executed here")
        if record.data.erased is not None:
            raise Refused(Reason.NOT_FOUND, f"record {index} is erased, by log entry {record.data.erased.log_index}")
        return record, record.data
