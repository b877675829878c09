"""The 52 ARKit blend shapes: names, regions and mirror images."""

from __future__ import annotations

# The order in which Apple's Live Link Face app writes its columns: JawRight before JawLeft,
# MouthRight before MouthLeft (the app's UDP stream has them the other way round).
ARKIT_NAMES: tuple[str, ...] = (
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawRight",
    "jawLeft",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthRight",
    "mouthLeft",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)

_UPPER_PREFIXES = ("brow", "eyeBlink", "eyeSquint", "eyeWide", "cheek", "noseSneer")
_MOUTH_PREFIXES = ("jaw", "mouth", "tongue")

#: Brows, lids, cheeks and nose; gaze (eyeLook...) says little about speech and is left out.
UPPER_FACE_NAMES: tuple[str, ...] = tuple(
    name for name in ARKIT_NAMES if name.startswith(_UPPER_PREFIXES)
)
#: Everything below the nose that speech moves: jaw, lips, tongue.
MOUTH_NAMES: tuple[str, ...] = tuple(
    name for name in ARKIT_NAMES if name.startswith(_MOUTH_PREFIXES)
)
#: Where these stand among ``ARKIT_NAMES``.
UPPER_FACE_CHANNELS: list[int] = [ARKIT_NAMES.index(name) for name in UPPER_FACE_NAMES]
MOUTH_CHANNELS: list[int] = [ARKIT_NAMES.index(name) for name in MOUTH_NAMES]

_PARTING_PREFIXES = (
    "jaw",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLowerDown",
    "mouthUpperUp",
    "mouthRoll",
    "mouthShrug",
    "tongue",
)
#: Those of the mouth's that part and round the lips; a smile or a frown stays while it is shut.
PARTING_CHANNELS: list[int] = [
    index for index, name in enumerate(ARKIT_NAMES) if name.startswith(_PARTING_PREFIXES)
]
LIDS: list[int] = [ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
OPEN_LIDS = 0.12  # eyeBlink at most, but for blinks


def _mirrored(name: str) -> str:
    if name.endswith("Left"):
        return name.removesuffix("Left") + "Right"
    if name.endswith("Right"):
        return name.removesuffix("Right") + "Left"
    return name


#: ``coefficients[:, MIRROR]`` is the face as a looking glass shows it; an involution.
MIRROR: tuple[int, ...] = tuple(ARKIT_NAMES.index(_mirrored(name)) for name in ARKIT_NAMES)
