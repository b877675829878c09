"""The 52 ARKit names in the spellings that programs and avatars have for them."""

from __future__ import annotations

import re

from dtalk.motion.arkit import ARKIT_NAMES

_SIDES = {"left": "l", "right": "r"}
# `A14_Eye_Blink_Left` of Maya rigs, after Apple's list; `ARKit_jawOpen`, `BS_JawOpen`.
_PREFIX = re.compile(r"^(a\d\d|arkit|bs|blend_?shapes?|face|head|shapes?)[_\- ]+")


def _spellings() -> dict[str, int]:
    """List the names in lower case without marks, sides in full and as a letter."""
    known = {name.lower(): channel for channel, name in enumerate(ARKIT_NAMES)}
    for name, channel in list(known.items()):
        for side, letter in _SIDES.items():
            if name.endswith(side):
                known[name.removesuffix(side) + letter] = channel
    return known


_CHANNELS = _spellings()


def channel_of(name: str) -> int | None:
    """Look up a name in any common spelling in ``ARKIT_NAMES``; None for other names.

    Read alike: ``eyeBlinkLeft``, ``EyeBlinkLeft``, ``eyeBlink_L``, ``eyeBlink.L``,
    ``eye_blink_left``, ``A14_Eye_Blink_Left``, and with what other programs put before it:
    ``blendShapes.EyeBlinkLeft``, ``Head:eyeBlink_L``, ``ARKit_eyeBlinkLeft``; Blender's numbers
    after it, ``jawOpen.001``, do not count.
    """
    parts = re.split(r"[.:/|]", name.strip().lower())
    for last in (parts[-1], "".join(parts[-2:])):  # a dot may also stand before the side
        channel = _CHANNELS.get(re.sub(r"[^a-z]", "", _PREFIX.sub("", last)))
        if channel is not None:
            return channel
    return None
