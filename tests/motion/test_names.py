from __future__ import annotations

import re

import pytest

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.names import channel_of


def spellings(name: str) -> dict[str, str]:
    short = re.sub(r"(Left|Right)$", lambda side: f"_{side[0][0]}", name)
    words = re.sub(r"(?<!^)([A-Z])", r"_\1", name)
    return {
        "Apple": name,
        "Live Link Face": name[0].upper() + name[1:],
        "three.js, Unity": short,
        "snake": words.lower(),
        "Meta": "A14_" + words.title(),
        "Audio2Face-3D": f"blendShapes.{name[0].upper()}{name[1:]}",
        "Maya": f"Head:blendShape1.{short}",
        "Blender": short.replace("_", "."),
        "Blender, a second one": f"{name}.001",
        "with a prefix": f"ARKit_{name}",
        "with another": f"Head - {name}",
        "shouted": name.upper(),
    }


@pytest.mark.parametrize("kind", spellings("jawOpen"))
def test_every_name_in_every_spelling(kind):
    assert [channel_of(spellings(name)[kind]) for name in ARKIT_NAMES] == list(range(52))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "_neutral",
        "blink",
        "aa",
        "viseme_aa",
        "mouthOpen",
        "mouthSmile",
        "jaw",
        "Joy",
        "a.b",
        "head",
    ],
)
def test_other_names(name):
    assert channel_of(name) is None
