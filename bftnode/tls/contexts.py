"""What every TLS context here has in common, and names for what can go wrong with TLS.

Versions 1.3 only, no tickets and so no resumption and no early data (faults.md W12), no compression. Whom a context
trusts is decided where it is made: exactly the certificates that the genesis pins, never the system's trust store.
"""

import ssl
from collections.abc import Iterable

from bftnode.protocol.errors import Reason, Refused

# https://www.openssl.org/docs/man3.0/man3/X509_STORE_CTX_get_error.html
_X509_NOT_YET_VALID = 9
_X509_EXPIRED = 10

# OpenSSL's reasons, ours as the one who checks and (ALERT) the peer's verdict on us (W01, W02).
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
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Reason.TLS_NO_CERTIFICATE,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": Reason.TLS_NO_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": Reason.TLS_EXPIRED,
    "TLSV1_ALERT_UNKNOWN_CA": Reason.TLS_UNTRUSTED,
    "SSLV3_ALERT_BAD_CERTIFICATE": Reason.TLS_UNTRUSTED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": Reason.TLS_UNTRUSTED,
}


def server_context(alpn: str) -> ssl.SSLContext:
    """For those who dial us; without a certificate yet, trusting nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    return _strict(context, alpn)


def client_context(alpn: str, trusted_pems: Iterable[str]) -> ssl.SSLContext:
    """For those whom we dial. Raises ssl.SSLError for what is no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the pin names the member; its address may change (decision 006)
    trust(context, trusted_pems)
    return _strict(context, alpn)


def trust(context: ssl.SSLContext, pems: Iterable[str]) -> None:
    """Demand one of these certificates of the other side; each is a trust anchor of its own. Raises ssl.SSLError."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata="\n".join(pem.strip() for pem in pems))


def _strict(context: ssl.SSLContext, alpn: str) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([alpn])
    return context


def refusal_of(error: Exception) -> Refused:
    """Our name for how a connection ended (ssl.SSLError is an OSError); the detail is OpenSSL's own constant, never
    bytes of the other side."""
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError):
        return Refused(Reason.CONN_LOST, "ended within TLS" if isinstance(error, ssl.SSLError) else "ended")
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (_X509_EXPIRED, _X509_NOT_YET_VALID):
            return Refused(Reason.TLS_EXPIRED, error.verify_message)
        return Refused(Reason.TLS_UNTRUSTED, error.verify_message)
    name = error.reason or type(error).__name__
    detail = f"they refused us: {name}" if "ALERT" in name else name
    return Refused(_REASONS.get(name, Reason.TLS_FAILED), detail)
