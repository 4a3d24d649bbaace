"""Operations as they stand in an envelope: an application's, an administrator's, and one that does nothing."""

from bftnode.apps.execution import ADMIT, REMOVE, SystemOperation, application_operation, system_operation
from bftnode.protocol.errors import Reason

__all__ = ["BARRIER", "BARRIER_CODES", "admit_client", "application_operation", "remove_client"]


def admit_client(public_key: bytes, role: int) -> bytes:
    """Admit a client as nonces.CLIENT or nonces.ADMINISTRATOR. For administrators."""
    return system_operation(SystemOperation(ADMIT, public_key, role))


def remove_client(public_key: bytes) -> bytes:
    """Remove a client. For administrators."""
    return system_operation(SystemOperation(REMOVE, public_key, 0))


BARRIER = system_operation(SystemOperation(REMOVE, bytes(32), 0))
"""Is ordered like any operation and changes nothing: a key of zeros is of small order, so it was never admitted."""

BARRIER_CODES = frozenset((str(Reason.TX_DENIED), str(Reason.NOT_FOUND)))
"""What becomes of it: a client may not remove anybody, an administrator finds nobody."""
