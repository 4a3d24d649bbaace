"""The node's end of TLS towards clients. Who the client is, is shown after it (AUTH): TLS here proves the node, and
keeps the rest private."""

import ssl
from pathlib import Path

from bftnode.protocol.client_messages import ALPN
from bftnode.tls import contexts


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises OSError, ssl.SSLError for files that do not fit."""
    context = contexts.server_context(ALPN)
    context.load_cert_chain(certificate, key)
    return context
