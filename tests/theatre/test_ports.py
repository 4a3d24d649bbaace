"""Ports that are kept for daemons which come and go."""

import socket

import pytest

from theatre.ports import Ports


def _listening(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind(("127.0.0.1", port))
        one.listen()
    except OSError:
        one.close()
        raise
    return one


def test_whoever_asks_for_a_kept_port_by_number_gets_it_again_and_again() -> None:
    """As a daemon does that is started, killed, and started."""
    ports = Ports(1)
    try:
        for _ in range(3):
            _listening(ports.numbers[0]).close()
    finally:
        ports.close()


def test_a_port_that_somebody_listens_on_is_not_shared() -> None:
    """Two daemons on one port are an error as ever."""
    ports = Ports(1)
    try:
        with _listening(ports.numbers[0]), pytest.raises(OSError, match="in use"):
            _listening(ports.numbers[0])
    finally:
        ports.close()


def test_whoever_asks_for_any_port_gets_none_that_is_kept() -> None:
    """Neither listeners nor clients: more of them than there would be luck for."""
    ports = Ports(200)
    others = []
    try:
        others = [_listening(0) for _ in range(300)]
        assert not {one.getsockname()[1] for one in others} & {*ports.numbers}
    finally:
        ports.close()
        for one in others:
            one.close()
