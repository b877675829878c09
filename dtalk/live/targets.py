"""Where frames go, as a user names it: ``live-link``, ``vmc=192.168.0.7``, ``json``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TextIO

from dtalk.errors import DtalkError
from dtalk.live import live_link_udp, vmc
from dtalk.live.frames import Sender
from dtalk.live.json_lines import JsonLines, QueuedJsonLines
from dtalk.live.udp import UdpSender

LOOPBACK = "127.0.0.1"
PORTS = {"live-link": live_link_udp.PORT, "vmc": vmc.PORT}
"""The protocols that go over the network, with the ports that their receivers listen at."""
JSON = "json"

_ADDRESS = re.compile(r"(?P<host>\[[^\]]+\]|[^:]*)(?::(?P<port>\d+))?")


@dataclass(frozen=True)
class Target:
    """A protocol, and the address it is sent to; json has none, for it is standard output."""

    protocol: str
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol} {host}:{self.port}" if host else self.protocol


def parse_target(text: str) -> Target:
    """``PROTOCOL`` or ``PROTOCOL=HOST``, ``=HOST:PORT``, ``=:PORT``; on this computer by default.

    Raises:
        DtalkError: no such protocol, or no address.
    """
    protocol, given, address = text.partition("=")
    if protocol == JSON and not given:
        return Target(JSON)
    if protocol not in PORTS:
        raise DtalkError(
            f"cannot send to {text!r}; name {', '.join(PORTS)} or json, the first two with an "
            "address if it is not this computer: vmc=192.168.0.7:39539"
        )
    match = _ADDRESS.fullmatch(address)
    port = int((match and match["port"]) or PORTS[protocol])
    if not match or (given and not address) or not 0 < port < 65536:
        raise DtalkError(
            f"cannot send to {text!r}: write its address as HOST, HOST:PORT or [IPv6]:PORT"
        )
    return Target(protocol, match["host"].strip("[]") or LOOPBACK, port)


def open_target(
    target: Target, fps: int, out: TextIO, subject: str = "dtalk", patient: bool = False
) -> Sender:
    """The sender for a target.

    Args:
        fps: frames a second, a whole number.
        out: standard output, for json.
        subject: the name that Live Link shows.
        patient: whether json waits for a slow reader rather than leave frames out.

    Raises:
        DtalkError: the host is unknown.
    """
    if target.protocol == JSON:
        return JsonLines(out) if patient else QueuedJsonLines(out)
    if target.protocol == "vmc":
        encoder: vmc.VmcEncoder | live_link_udp.LiveLinkEncoder = vmc.VmcEncoder()
    else:
        encoder = live_link_udp.LiveLinkEncoder(fps, subject)
    return UdpSender(str(target), encoder, target.host, target.port)
