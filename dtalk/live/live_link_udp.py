"""Live Link: frames as Epic's Live Link Face app streams them to Unreal Engine.

One datagram a frame, big-endian: a version byte, the device's id and the subject's name (each after
its length as an int32), frame number (int32), part of a frame (float32), frame rate as numerator
and denominator (int32 each), the number of values (a byte), and the values (float32): Apple's 52
blend shapes, then yaw, pitch and roll of the head and both eyes. Sources: version 6 of the packet
in Unreal's AppleARKitLiveLinkSource; PyLiveLinkFace, which reads it.
"""

from __future__ import annotations

import struct
import uuid
from datetime import datetime

import numpy as np

from dtalk.live.frames import Frame
from dtalk.motion.arkit import ARKIT_NAMES

PORT = 11111
PACKET_VERSION = 6
VALUES = 61
_DAY = 24 * 60 * 60  # s


def _swapped(name: str) -> str:
    """Apple's order has JawLeft and MouthLeft first, the app's csv has them second."""
    swaps = {"jawLeft": "jawRight", "mouthLeft": "mouthRight"}
    return (swaps | {right: left for left, right in swaps.items()}).get(name, name)


ORDER: list[int] = [ARKIT_NAMES.index(_swapped(name)) for name in ARKIT_NAMES]
"""Where the stream's first 52 values stand among ``ARKIT_NAMES``."""


class LiveLinkEncoder:
    """Packs frames for one subject.

    Args:
        fps: frames a second, a whole number.
        subject: the name that Unreal shows.
        start: the time of day of frame 0; Unreal takes the frame number for a timecode.
    """

    def __init__(self, fps: int, subject: str = "dtalk", start: datetime | None = None) -> None:
        now = start or datetime.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self._first = round((now - midnight).total_seconds() * fps)
        self._fps = fps
        # The same for every run, so that Unreal keeps its settings for the subject.
        device = str(uuid.uuid5(uuid.NAMESPACE_URL, f"dtalk:{subject}")).upper()
        self._head = struct.pack("!B", PACKET_VERSION) + _text(device) + _text(subject)

    def __call__(self, frame: Frame) -> list[bytes]:
        """The datagram of a frame; angles of head and eyes are 0."""
        values = np.zeros(VALUES, ">f4")
        values[: len(ORDER)] = frame.coefficients[ORDER]
        number = (self._first + frame.number) % (_DAY * self._fps)
        clock = struct.pack("!ifiiB", number, 0.0, self._fps, 1, VALUES)
        return [self._head + clock + values.tobytes()]


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return struct.pack("!i", len(encoded)) + encoded
