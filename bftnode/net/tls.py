"""TLS 1.3 between members: contexts that trust exactly the pinned certificates, and names for what can go wrong.

There is no authority whose theft would mint members (faults.md O09): each member's self-signed certificate is a
trust anchor of its own (X509_V_FLAG_PARTIAL_CHAIN), the system's trust store is never loaded, and who was proven
is decided by the SHA-256 of the certificate shown. Dates, key usage and the possession of the key are OpenSSL's
to check. No session tickets, so no resumption and no early data (W12).
"""

import hashlib
import ssl
from collections.abc import Iterable
from pathlib import Path

from bftnode.protocol.errors import Reason, Refused

ALPN = "bftnode-peer/1"

# https://www.openssl.org/docs/man3.0/man3/X509_STORE_CTX_get_error.html
_X509_NOT_YET_VALID = 9
_X509_EXPIRED = 10

# OpenSSL's reasons, ours as the one who checks and (ALERT) the peer's verdict on us.
_REASONS = {
    "WRONG_VERSION_NUMBER": Reason.TLS_NOT_TLS,
    "HTTP_REQUEST": Reason.TLS_NOT_TLS,
    "HTTPS_PROXY_REQUEST": Reason.TLS_NOT_TLS,
    "UNEXPECTED_MESSAGE": Reason.TLS_NOT_TLS,
    "BAD_RECORD_TYPE": Reason.TLS_NOT_TLS,
    "RECORD_LAYER_FAILURE": Reason.TLS_NOT_TLS,
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


def server_context(certificate: Path, key: Path, trusted_pems: Iterable[str]) -> ssl.SSLContext:
    """For those who dial us. Raises OSError, ssl.SSLError for files that do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    return _pinned(context, certificate, key, trusted_pems)


def client_context(certificate: Path, key: Path, trusted_pems: Iterable[str]) -> ssl.SSLContext:
    """For those whom we dial. Raises OSError, ssl.SSLError for files that do not fit."""
    return _pinned(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key, trusted_pems)


def _pinned(context: ssl.SSLContext, certificate: Path, key: Path, trusted_pems: Iterable[str]) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the pin names the member; its address may change
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata="\n".join(pem.strip() for pem in trusted_pems))
    return context


def shown_pin(tls: ssl.SSLObject) -> bytes:
    """SHA-256 of the certificate that the peer proved to hold the key of. Call after the handshake.

    Raises Refused(HANDSHAKE | TLS_NO_CERTIFICATE).
    """
    if tls.selected_alpn_protocol() != ALPN:
        raise Refused(Reason.HANDSHAKE, f"did not offer the protocol {ALPN}")
    der = tls.getpeercert(binary_form=True)
    if der is None:
        raise Refused(Reason.TLS_NO_CERTIFICATE, "showed no certificate")
    return hashlib.sha256(der).digest()


def valid_until(tls: ssl.SSLObject) -> float:
    """When the peer's certificate ends, in seconds since 1970. Call after the handshake."""
    certificate = tls.getpeercert()
    assert certificate is not None, "CERT_REQUIRED lets nobody through without one"
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))


def refusal_of(error: ssl.SSLError) -> Refused:
    """Our name for what OpenSSL says; the detail is OpenSSL's own constant, never bytes of the peer."""
    name = error.reason or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (_X509_EXPIRED, _X509_NOT_YET_VALID):
            return Refused(Reason.TLS_EXPIRED, error.verify_message)
        return Refused(Reason.TLS_UNTRUSTED, error.verify_message)
    if isinstance(error, ssl.SSLEOFError):
        return Refused(Reason.CONN_LOST, "ended within TLS")
    detail = f"they refused us: {name}" if "ALERT" in name else name
    return Refused(_REASONS.get(name, Reason.TLS_FAILED), detail)
