"""TLS between members: contexts that trust exactly the pinned certificates, and who it was that showed one.

There is no authority whose theft would mint members (faults.md O09): each member's self-signed certificate is a
trust anchor of its own, and who was proven is decided by the SHA-256 of the certificate shown. Dates, key usage and
the possession of the key are OpenSSL's to check.
"""

import hashlib
import ssl
from collections.abc import Iterable
from pathlib import Path

from bftnode.protocol.errors import Reason, Refused
from bftnode.tls import contexts

ALPN = "bftnode-peer/1"


def server_context(certificate: Path, key: Path, trusted_pems: Iterable[str]) -> ssl.SSLContext:
    """For those who dial us. Raises OSError, ssl.SSLError for files that do not fit."""
    context = contexts.server_context(ALPN)
    contexts.trust(context, trusted_pems)
    context.load_cert_chain(certificate, key)
    return context


def client_context(certificate: Path, key: Path, trusted_pems: Iterable[str]) -> ssl.SSLContext:
    """For those whom we dial. Raises OSError, ssl.SSLError for files that do not fit."""
    context = contexts.client_context(ALPN, trusted_pems)
    context.load_cert_chain(certificate, key)
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
