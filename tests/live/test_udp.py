"""Sending over UDP on loopback."""

from __future__ import annotations

import pytest
from pylivelinkface import FaceBlendShape, PyLiveLinkFace
from streams import face, listening

from dtalk.errors import DtalkError
from dtalk.live.frames import Frame
from dtalk.live.live_link_udp import LiveLinkEncoder
from dtalk.live.udp import UdpSender


def test_a_frame_arrives() -> None:
    with listening() as receiver:
        sender = UdpSender("x", LiveLinkEncoder(30), *receiver.getsockname())
        sender.send(Frame(0, 0.0, face(jawOpen=0.5)))
        _, read = PyLiveLinkFace.decode(receiver.recv(2048))
        sender.close()
    assert read.get_blendshape(FaceBlendShape.JawOpen) == 0.5
    assert sender.lost == 0


def test_several_datagrams_arrive_in_order() -> None:
    with listening() as receiver:
        sender = UdpSender("x", lambda _: [b"one", b"two"], *receiver.getsockname())
        sender.send(Frame(0, 0.0, face()))
        assert [receiver.recv(99), receiver.recv(99)] == [b"one", b"two"]
        sender.close()


def test_nobody_listening_is_no_error() -> None:
    with listening() as receiver:
        address = receiver.getsockname()
    sender = UdpSender("x", lambda _: [b"anybody?"], *address)
    for number in range(3):  # the second one learns of the first one's refusal
        sender.send(Frame(number, 0.0, face()))
    sender.close()
    assert sender.lost == 0


def test_what_the_system_refuses_is_counted() -> None:
    with listening() as receiver:
        sender = UdpSender("x", lambda _: [bytes(70_000)], *receiver.getsockname())
        sender.send(Frame(0, 0.0, face()))
        sender.close()
    assert sender.lost == 1


def test_an_unknown_host_is_one_line() -> None:
    with pytest.raises(DtalkError, match=r"cannot send to no\.such\.host\.invalid"):
        UdpSender("x", lambda _: [], "no.such.host.invalid", 1)
