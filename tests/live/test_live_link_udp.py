"""Live Link's datagrams, byte by byte and as PyLiveLinkFace reads them."""

from __future__ import annotations

import struct
from datetime import datetime

import numpy as np
import pytest
from pylivelinkface import FaceBlendShape, PyLiveLinkFace
from streams import face

from dtalk.live.frames import Frame
from dtalk.live.live_link_udp import LiveLinkEncoder
from dtalk.motion.arkit import ARKIT_NAMES

NOON = datetime(2024, 5, 1, 12)


def test_a_datagram_byte_by_byte() -> None:
    [datagram] = LiveLinkEncoder(60, "me", NOON)(Frame(7, 0.125, face(eyeBlinkLeft=0.5)))
    assert datagram[:5] == bytes([6, 0, 0, 0, 36])
    assert datagram[5:41].decode().count("-") == 4  # a UUID
    assert datagram[41:47] == b"\0\0\0\x02me"
    assert datagram[47:63] == struct.pack("!ifii", 12 * 60 * 60 * 60 + 7, 0.0, 60, 1)
    assert datagram[63] == 61
    assert datagram[64:68] == bytes.fromhex("3f000000")  # 0.5
    assert datagram[68:] == bytes(60 * 4)


def test_a_subject_of_five_letters_makes_311_bytes() -> None:
    assert len(LiveLinkEncoder(30)(Frame(0, 0.0, face()))[0]) == 311


def test_pylivelinkface_reads_every_curve_by_its_name() -> None:
    coefficients = np.linspace(0, 1, len(ARKIT_NAMES), dtype=np.float32)
    [datagram] = LiveLinkEncoder(30, "dtalk", NOON)(Frame(0, 0.0, coefficients))
    found, read = PyLiveLinkFace.decode(datagram)
    assert found
    for name, value in zip(ARKIT_NAMES, coefficients):
        shape = FaceBlendShape[name[0].upper() + name[1:]]
        assert read.get_blendshape(shape) == pytest.approx(value), name
    for shape in list(FaceBlendShape)[52:]:
        assert read.get_blendshape(shape) == 0


def test_the_device_stays_the_same_and_differs_by_subject() -> None:
    def device(subject: str) -> bytes:
        return LiveLinkEncoder(30, subject)(Frame(0, 0.0, face()))[0][5:41]

    assert device("ann") == device("ann") != device("bob")


def test_frame_numbers_begin_anew_at_midnight() -> None:
    late = datetime(2024, 5, 1, 23, 59, 59)
    [datagram] = LiveLinkEncoder(30, "dtalk", late)(Frame(31, 0.0, face()))
    number = struct.unpack_from("!i", datagram, 50)[0]
    assert number == 1


def test_names_may_be_of_any_script() -> None:
    [datagram] = LiveLinkEncoder(30, "Zoë")(Frame(0, 0.0, face()))
    assert datagram[41:49] == b"\0\0\0\x04Zo\xc3\xab"
