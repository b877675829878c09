"""Receivers as users name them."""

from __future__ import annotations

import io
import json

import pytest
from streams import face, listening

from dtalk.errors import DtalkError
from dtalk.live.frames import Frame
from dtalk.live.targets import Target, open_target, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("json", Target("json")),
        ("vmc", Target("vmc", "127.0.0.1", 39539)),
        ("live-link", Target("live-link", "127.0.0.1", 11111)),
        ("vmc=192.168.0.7", Target("vmc", "192.168.0.7", 39539)),
        ("live-link=studio:12000", Target("live-link", "studio", 12000)),
        ("vmc=:39540", Target("vmc", "127.0.0.1", 39540)),
        ("vmc=[::1]:39540", Target("vmc", "::1", 39540)),
        ("vmc=[::1]", Target("vmc", "::1", 39539)),
    ],
)
def test_targets_are_read(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    ["", "osc", "json=here", "vmc=", "vmc=a:b", "vmc=a:0", "vmc=a:65536", "vmc=::1", "VMC=a b:1:2"],
)
def test_anything_else_is_one_line(text: str) -> None:
    with pytest.raises(DtalkError) as caught:
        parse_target(text)
    assert "\n" not in str(caught.value)
    assert repr(text) in str(caught.value)


def test_targets_name_themselves() -> None:
    assert str(Target("json")) == "json"
    assert str(Target("vmc", "127.0.0.1", 39539)) == "vmc 127.0.0.1:39539"
    assert str(Target("vmc", "::1", 5)) == "vmc [::1]:5"


@pytest.mark.parametrize("protocol", ["vmc", "live-link"])
def test_what_is_opened_sends_there(protocol: str) -> None:
    with listening() as receiver:
        host, port = receiver.getsockname()
        sender = open_target(Target(protocol, host, port), 30, io.StringIO(), "Ann")
        sender.send(Frame(0, 0.0, face()))
        sender.close()
        datagram = receiver.recv(2048)
    assert datagram.startswith({"vmc": b"#bundle", "live-link": b"\x06"}[protocol])
    assert (b"Ann" in datagram) == (protocol == "live-link")


@pytest.mark.parametrize("patient", [True, False])
def test_json_goes_to_the_given_output(patient: bool) -> None:
    out = io.StringIO()
    sender = open_target(Target("json"), 30, out, patient=patient)
    sender.send(Frame(4, 0.15, face(jawOpen=0.5)))
    sender.close()
    content = json.loads(out.getvalue())
    assert content["frame"] == 4
    assert content["coefficients"]["jawOpen"] == 0.5
