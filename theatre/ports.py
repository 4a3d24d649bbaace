"""Ports for daemons that are killed and started again."""

import socket


class Ports:
    """Ports of loopback that are kept for daemons which come and go, until `close`.

    A socket that is bound with SO_REUSEADDR and does not listen lets another one that asks for its port by number have
    it, and keeps the kernel from giving it to one that asks for any: to wires, clients, and whoever else is there.
    """

    def __init__(self, count: int) -> None:
        self._sockets = [socket.socket() for _ in range(count)]
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        self.numbers = [int(one.getsockname()[1]) for one in self._sockets]

    def close(self) -> None:
        for one in self._sockets:
            one.close()
