"""VMC's bundles, byte by byte and as python-osc reads them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pythonosc.osc_bundle import OscBundle
from streams import face

from dtalk.live.frames import Frame
from dtalk.live.vmc import LARGEST, VmcEncoder
from dtalk.motion.arkit import ARKIT_NAMES


def messages(frame: Frame) -> list[tuple[str, list]]:
    bundles = [OscBundle(datagram) for datagram in VmcEncoder()(frame)]
    return [(message.address, message.params) for bundle in bundles for message in bundle]


def test_python_osc_reads_every_curve_by_its_name() -> None:
    coefficients = np.linspace(0, 1, len(ARKIT_NAMES), dtype=np.float32)
    found = messages(Frame(3, 0.1, coefficients))
    values = dict(params for address, params in found if address == "/VMC/Ext/Blend/Val")
    assert list(values) == [name[0].upper() + name[1:] for name in ARKIT_NAMES]
    np.testing.assert_allclose(list(values.values()), coefficients)


def test_the_frame_is_applied_at_its_end_and_told_its_time() -> None:
    found = messages(Frame(3, 0.125, face()))
    assert found[0] == ("/VMC/Ext/OK", [1])
    assert found[1] == ("/VMC/Ext/T", [0.125])
    assert found[-1] == ("/VMC/Ext/Blend/Apply", [])
    assert len(found) == len(ARKIT_NAMES) + 3


def test_no_datagram_is_larger_than_a_network_carries() -> None:
    sizes = [len(datagram) for datagram in VmcEncoder()(Frame(0, 0.0, face()))]
    assert len(sizes) == 2
    assert max(sizes) <= LARGEST


def test_a_message_byte_by_byte() -> None:
    first = VmcEncoder()(Frame(0, 0.0, face(eyeBlinkLeft=0.25)))[0]
    assert first[:16] == b"#bundle\0" + struct.pack("!Q", 1)
    value = (
        b"/VMC/Ext/Blend/Val\0\0" + b",sf\0" + b"EyeBlinkLeft\0\0\0\0" + bytes.fromhex("3e800000")
    )
    assert struct.pack("!i", len(value)) + value in first
    assert len(value) % 4 == 0


@pytest.mark.parametrize("number", [0, 1, 1000])
def test_frames_do_not_leave_traces_in_later_ones(number: int) -> None:
    encode = VmcEncoder()
    before = encode(Frame(0, 0.0, face()))
    encode(Frame(1, 1.0, face(jawOpen=1.0)))
    assert encode(Frame(number, 0.0, face())) == before
