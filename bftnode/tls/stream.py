"""A TLS byte stream over one trio socket: many records per read, one syscall per write, no task and no timer.

Used instead of trio.SSLStream because it decrypts all that one recv brought before it yields (SSLStream yields
once per 16 KiB record) and because it counts bytes, which is all that a watchdog needs: deadlines are not this
module's. One task may send and one may receive at a time; OpenSSL is only entered between awaits, so they do not
meet there. What OpenSSL wants to send because of something read (the answer to a key update) leaves with the next
write.

No close_notify is sent or asked for: frames say where they end, and a frame cut short is discarded (W13).
"""

import contextlib
import errno
import os
import ssl
import struct
import sys

import trio

from bftnode.protocol.errors import Reason, Refused

RECORD_BYTES_MAX = 16_384
READ_BYTES = 256 * 1024
WRITE_BYTES = 256 * 1024
UNSENT_BYTES_MAX = 64 * 1024
"""Answers that OpenSSL owes and no write has carried off yet; more than this is a peer that abuses key updates."""

_TCP_INFO_RTT = struct.Struct("=68xI")  # linux/tcp.h: struct tcp_info, tcpi_rtt, microseconds


class TlsStream:
    """`handshake` first, then `receive` and `send`; `close` at any time. Raises OSError and ssl.SSLError."""

    def __init__(self, socket: trio.socket.SocketType, context: ssl.SSLContext, *, server_side: bool) -> None:
        with contextlib.suppress(OSError):  # a socket that is dead already says so at the first recv
            socket.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
            if sys.platform == "linux":  # trio's 16 KiB makes a wake-up of every record of a block
                socket.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NOTSENT_LOWAT, WRITE_BYTES)
        self._socket = socket
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._left = b""  # encrypted, not sent
        self.bytes_in = 0
        self.bytes_out = 0

    async def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()  # the alert that tells the peer why
                raise
            else:
                await self._flush()
                return
            if not await self._fill():
                raise ConnectionAbortedError("ended within the TLS handshake")

    async def receive(self) -> bytes:
        """What has come, at least one byte; b"" at the end, clean or not."""
        while True:
            # The BIO is empty when OpenSSL has taken what is there, be it half a record.
            if self._incoming.pending:
                data = self._decrypt()
                if data is None:
                    return b""
                if data:
                    return data
            if not await self._fill():
                return b""

    def _decrypt(self) -> bytes | None:
        """All whole records; b"" if there is none yet; None after the peer's close_notify."""
        chunks: list[bytes] = []
        try:
            while self._incoming.pending:
                chunk = self.tls.read(RECORD_BYTES_MAX)
                if not chunk:
                    return b"".join(chunks) or None
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        if self._outgoing.pending > UNSENT_BYTES_MAX:
            raise Refused(Reason.TLS_FAILED, "too many key updates")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def send(self, data: bytes) -> None:
        """All of `data`, encrypted in pieces so that neither memory nor the loop pays for a whole block at once."""
        if len(data) <= WRITE_BYTES:
            if data:
                self.tls.write(data)
            await self._flush()
            return
        view = memoryview(data)
        for start in range(0, len(data), WRITE_BYTES):
            self.tls.write(view[start : start + WRITE_BYTES])
            await self._flush()

    def send_now(self, data: bytes) -> bool:
        """Encrypt `data` and hand it to the kernel without waiting; whether all of it went. The rest, or what the
        kernel says, is `send`'s: call it with b"" then. Never while a `send` is under way."""
        self.tls.write(data)
        out = self._outgoing.read()
        try:
            sent = os.write(self._socket.fileno(), out)
        except OSError:
            sent = 0  # full for now, or broken for good, which `send` will find out
        self.bytes_out += sent
        self._left = out[sent:]
        return not self._left

    @property
    def unsent(self) -> int:
        """Bytes that `send_now` left."""
        return len(self._left)

    async def _flush(self) -> None:
        data = self._left + self._outgoing.read()
        self._left = b""
        if not data:
            return
        sent = await self._socket.send(data)
        self.bytes_out += sent
        if sent < len(data):
            rest = memoryview(data)[sent:]
            while rest:
                sent = await self._socket.send(rest)
                self.bytes_out += sent
                rest = rest[sent:]

    async def _fill(self) -> int:
        # Not `recv`: trio's tries first, mostly in vain, and where it has luck it yields once more.
        while True:
            fd = self._socket.fileno()
            if fd < 0:
                raise OSError(errno.EBADF, "closed on this side")
            await trio.lowlevel.wait_readable(fd)
            try:
                data = os.read(fd, READ_BYTES)
            except BlockingIOError:
                continue
            break
        self._incoming.write(data)
        self.bytes_in += len(data)
        return len(data)

    def send_eof(self) -> None:
        """Nothing more will be sent; the other side reads what was, and then the end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(trio.socket.SHUT_WR)

    async def linger(self) -> None:
        """Let the peer read what was sent last: closing with unread input would make the kernel discard it (RST).

        Bounded by the caller in time, here in bytes.
        """
        self.send_eof()
        with contextlib.suppress(OSError):
            drained = 0
            while drained < READ_BYTES:
                data = await self._socket.recv(READ_BYTES)
                if not data:
                    return
                drained += len(data)

    def round_trip_us(self) -> int | None:
        """The kernel's smoothed round-trip time; None where it cannot tell."""
        if sys.platform != "linux":
            return None
        with contextlib.suppress(OSError):
            info = self._socket.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_INFO, _TCP_INFO_RTT.size)
            if len(info) == _TCP_INFO_RTT.size:
                return int(_TCP_INFO_RTT.unpack(info)[0])
        return None

    def close(self) -> None:
        self._socket.close()
