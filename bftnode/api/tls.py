"""The node's end of TLS towards clients: 1.3 only, its own certificate, no client certificates, no tickets.

Who the client is, is shown after it (AUTH): TLS here proves the node, and keeps the rest private. Without tickets
there is no resumption and no early data (faults.md W12).
"""

import ssl
from pathlib import Path

from bftnode.protocol.client_messages import ALPN
from bftnode.protocol.errors import Reason, Refused

# OpenSSL's reasons for what does not speak TLS at all (W01), or not 1.3 (W02).
_REASONS = {
    "WRONG_VERSION_NUMBER": Reason.TLS_NOT_TLS,
    "HTTP_REQUEST": Reason.TLS_NOT_TLS,
    "HTTPS_PROXY_REQUEST": Reason.TLS_NOT_TLS,
    "UNEXPECTED_MESSAGE": Reason.TLS_NOT_TLS,
    "BAD_RECORD_TYPE": Reason.TLS_NOT_TLS,
    "RECORD_LAYER_FAILURE": Reason.TLS_NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": Reason.TLS_NOT_TLS,
    "BAD_PACKET_LENGTH": Reason.TLS_NOT_TLS,
    "UNSUPPORTED_PROTOCOL": Reason.TLS_VERSION,
    "NO_PROTOCOLS_AVAILABLE": Reason.TLS_VERSION,
    "VERSION_TOO_LOW": Reason.TLS_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": Reason.TLS_VERSION,
}


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises OSError, ssl.SSLError for files that do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    context.load_cert_chain(certificate, key)
    return context


def refusal_of(error: BaseException) -> Refused:
    """Our name for how a TLS handshake failed; the detail is OpenSSL's own constant, never bytes of the client."""
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if not isinstance(cause, ssl.SSLError) or isinstance(cause, ssl.SSLEOFError):
        return Refused(Reason.CONN_LOST, "ended within TLS")
    name = cause.reason or type(cause).__name__
    return Refused(_REASONS.get(name, Reason.TLS_FAILED), name)
