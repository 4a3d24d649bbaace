"""The two spellings that all formats of this room share: standard base64 and plain decimal numbers, each value one way.

A value that could be written in two ways could be accepted by one reader and refused by the next.
"""

import base64

from bftnode.protocol.errors import Reason, Refused

NUMBER_MAX = 2**63 - 1
"""Of sizes, indices and timestamps: what c2sp.org/tlog-cosignature allows, and what every tool's integers hold."""


def malformed(detail: str) -> Refused:
    """The refusal of text that is not of its format."""
    return Refused(Reason.NOTE_MALFORMED, detail)


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str, what: str) -> bytes:
    """The bytes of RFC 4648, section 4, in their one spelling. Raises Refused(NOTE_MALFORMED)."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are both
        raise malformed(f"{what} is not base64") from None
    if to_base64(data) != text:
        raise malformed(f"{what} is not in the one spelling of its base64")
    return data


def from_decimal(text: str, what: str) -> int:
    """A number of ASCII digits without leading zeroes. Raises Refused(NOTE_MALFORMED)."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and (text[0] != "0" or text == "0")):
        raise malformed(f"{what} is not a decimal number")
    value = int(text)
    if value > NUMBER_MAX:
        raise malformed(f"{what} is beyond 2^63 - 1")
    return value
