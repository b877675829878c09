"""The 52 ARKit names in the spellings that programs and avatars have for them."""

from __future__ import annotations

import re

from dtalk.motion.arkit import ARKIT_NAMES

_SIDES = {"left": "l", "right": "r"}
# `A14_Eye_Blink_Left` of Maya rigs, after Apple's list.
_NUMBERED = re.compile(r"^a\d\d_")


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

    Read alike: ``eyeBlinkLeft``, ``EyeBlinkLeft``, ``eyeBlink_L``, ``eye_blink_left``,
    ``A14_Eye_Blink_Left``, and with what other programs put before it:
    ``blendShapes.EyeBlinkLeft``, ``Head:eyeBlink_L``.
    """
    last = re.split(r"[.:/|]", name.strip())[-1].lower()
    return _CHANNELS.get(re.sub(r"[^a-z]", "", _NUMBERED.sub("", last)))
