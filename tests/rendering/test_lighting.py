"""Light on known normals, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dtalk.heads.head import PARTS, Head, built_in
from dtalk.rendering import lighting
from dtalk.rendering.camera import camera_at
from dtalk.rendering.lighting import Light


def white(head: Head) -> Head:
    """Without colours or baked occlusion, so that light is all there is."""
    return replace(head, colors=np.ones_like(head.colors))


def light_on(head: Head) -> Light:
    camera = camera_at(head, "front", 0, 64, 64)
    return Light(head, camera.pose, camera.turn)


def test_rims_light_what_is_seen_edge_on_from_behind() -> None:
    """Each rim adds its power, in white, where the normal points at it; less the more a surface
    faces the camera: (1 - facing)^3, and nothing at the front."""
    light = light_on(built_in())
    # The two lie at cos = (-.76 + .1925 + .81) / (1.3238 * 1.3546) = .13523: each helps the other.
    powers = (1.7 + 1.0 * 0.13523, 1.0 + 1.7 * 0.13523)
    for (direction, _), power in zip(lighting.RIMS, powers, strict=True):
        normal = lighting.unit(direction)[:, None]
        edge_on, half, facing = (
            light._diffuse(normal, np.full(1, seen, np.float32))[:, 0] for seen in (0.0, 0.5, 1.0)
        )
        np.testing.assert_allclose(edge_on - facing, power, rtol=1e-4)
        np.testing.assert_allclose(half - facing, power / 8, rtol=1e-4)


def test_lips_shine_more_than_skin_and_teeth_most_sharply() -> None:
    """Where a white surface mirrors the key light into the camera the highlight is its gloss."""
    head = white(built_in())
    light = light_on(head)
    count = len(head.vertices)
    view = np.tile(light._key[:, None], count)  # then the half vector is the key's own direction
    mirrored = light._highlight(view, view)
    lips = np.zeros(count, dtype=bool)
    lips[head.lips] = True
    skin = head.parts == PARTS.index("skin")
    np.testing.assert_allclose(mirrored[lips], 0.13, rtol=1e-5)
    np.testing.assert_allclose(mirrored[skin & ~lips], 0.07, rtol=1e-5)
    for part, gloss in (("teeth", 0.25), ("tongue", 0.12), ("eye", 0), ("brow", 0)):
        np.testing.assert_allclose(mirrored[head.parts == PARTS.index(part)], gloss, rtol=1e-5)
    # Beside it (cosine 0.9) the skin's is 0.9^20 of it, that of teeth 0.9^40.
    across = np.cross(light._key, [0, 1, 0])
    tilted = 0.9 * light._key + np.sqrt(1 - 0.81) * across / np.linalg.norm(across)
    beside = light._highlight(np.tile(tilted[:, None], count).astype(np.float32), view)
    np.testing.assert_allclose(beside[skin], mirrored[skin] * 0.9**20, rtol=1e-3)
    teeth = head.parts == PARTS.index("teeth")
    np.testing.assert_allclose(beside[teeth], mirrored[teeth] * 0.9**40, rtol=1e-3)


def test_skin_in_the_dark_of_a_cavity_does_not_shine() -> None:
    """Baked occlusion is in the colours: at half the albedo from which skin shines, a quarter."""
    head = white(built_in())
    dark = replace(head, colors=np.full_like(head.colors, lighting.GLOSSY_ALBEDO / 2))
    bright, dull = (lighting.gloss(one)[0] for one in (head, dark))
    np.testing.assert_allclose(dull, bright / 4, rtol=1e-5)
