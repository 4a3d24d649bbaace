"""The client's end of TLS: 1.3 only, and exactly the certificate that the genesis pins for the member.

No authority and no system trust store: the pinned certificate is the one trust anchor, and what was shown is compared
with it once more. Names are not checked, a machine may move (decision 006).
"""

import hashlib
import ssl

from bftnode.protocol.client_messages import ALPN
from bftnode.protocol.errors import Reason, Refused


def client_context(pem: str) -> ssl.SSLContext:
    """Trusts one certificate. Raises ssl.SSLError for what is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    context.load_verify_locations(cadata=pem)
    return context


def check_shown(protocol: str | None, der: bytes | None, pin: bytes) -> None:
    """After the handshake. Raises Refused(HANDSHAKE | ID_MISMATCH)."""
    if protocol != ALPN:
        raise Refused(Reason.HANDSHAKE, f"the node does not speak {ALPN}")
    if der is None or hashlib.sha256(der).digest() != pin:
        raise Refused(Reason.ID_MISMATCH, "not the certificate that the genesis pins for this member")


def refusal_of(error: BaseException) -> Refused:
    """Our name for how TLS failed; the detail is OpenSSL's own constant."""
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Refused(Reason.TLS_UNTRUSTED, cause.verify_message)
    if not isinstance(cause, ssl.SSLError) or isinstance(cause, ssl.SSLEOFError):
        return Refused(Reason.CONN_LOST, "the connection ended")
    name = cause.reason or type(cause).__name__
    return Refused(Reason.TLS_VERSION if "PROTOCOL_VERSION" in name else Reason.TLS_FAILED, name)
