"""Frames as UDP datagrams: sent without waiting, never answered."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from dtalk.errors import DtalkError
from dtalk.live.frames import Frame

Encoder = Callable[[Frame], Sequence[bytes]]
"""The datagrams that carry one frame."""


class UdpSender:
    """Sends every frame to one address.

    A receiver that is not there yet is no error: whatever listens later gets the frames from
    then on.

    Raises:
        DtalkError: the host is unknown.
    """

    def __init__(self, name: str, encode: Encoder, host: str, port: int) -> None:
        self.name, self.lost = name, 0
        self._encode = encode
        try:
            [found, *_] = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            raise DtalkError(f"cannot send to {host}: {error}; name a host that exists") from error
        self._socket, self._address = socket.socket(*found[:2]), found[4]
        self._socket.setblocking(False)

    def send(self, frame: Frame) -> None:
        """Send the datagrams of a frame; what the system does not take is counted as lost."""
        try:
            for datagram in self._encode(frame):
                self._socket.sendto(datagram, self._address)
        except ConnectionRefusedError:
            pass  # an earlier frame reached a port where nobody listens yet
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
