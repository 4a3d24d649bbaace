"""What the members of a cluster may agree on: each bound, to the last one that is allowed."""

import pytest

from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.limits import TRANSACTION_BYTES_MAX
from bftnode.protocol.membership import Parameters

BOUNDS = {
    "block_transactions_max": (1, 20_000),
    "block_bytes_max": (2 * TRANSACTION_BYTES_MAX, 1024 * 1024),
    "window": (1, 8),
    "checkpoint_interval": (1, 1_000_000),
    "clock_skew_ms": (1, 86_400_000),
    "clients_max": (1, 1_000_000),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_parameter_has_bounds(name: str) -> None:
    """Either one is allowed, and nothing beyond it; the refusal names the parameter."""
    least, most = BOUNDS[name]
    for value in (least, most):
        Parameters(**{name: value}).check()
    for value in (least - 1, most + 1):
        with pytest.raises(Refused) as refusal:
            Parameters(**{name: value}).check()
        assert refusal.value.reason is Reason.CONFIGURATION
        assert f"parameters.{name} " in refusal.value.detail
