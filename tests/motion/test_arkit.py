"""The 52 names: regions and mirror."""

from __future__ import annotations

import numpy as np

from dtalk.motion.arkit import ARKIT_NAMES, MIRROR, MOUTH_NAMES, UPPER_FACE_NAMES


class TestNames:
    def test_the_order_is_the_recordings(self, shared):
        clip = next((shared / "data" / "grid").glob("*.npz"))
        assert tuple(np.load(clip)["names"]) == ARKIT_NAMES

    def test_all_once(self):
        assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == 52

    def test_regions(self):
        gaze = {name for name in ARKIT_NAMES if name.startswith("eyeLook")}
        assert len(gaze) == 8
        assert len(UPPER_FACE_NAMES) == 16
        assert len(MOUTH_NAMES) == 28
        assert gaze | set(UPPER_FACE_NAMES) | set(MOUTH_NAMES) == set(ARKIT_NAMES)

    def test_mirror(self):
        mirrored = {name: ARKIT_NAMES[MIRROR[i]] for i, name in enumerate(ARKIT_NAMES)}
        assert mirrored["jawLeft"] == "jawRight"
        assert mirrored["mouthRight"] == "mouthLeft"
        assert mirrored["eyeLookInLeft"] == "eyeLookInRight"
        assert mirrored["mouthUpperUpRight"] == "mouthUpperUpLeft"
        assert mirrored["jawOpen"] == "jawOpen"
        assert sorted(MIRROR) == list(range(52))
        assert [MIRROR[i] for i in MIRROR] == list(range(52))
        assert sum(name == other for name, other in mirrored.items()) == 12
