"""Write a glb and what its vertices should be at four times, for the checks in this folder.

python examples/gltf/expected.py jfk.npz OUT [HEAD]

HEAD is a head, or an avatar with shapes of its own, which is left as it is but for the animation.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import dtalk
from dtalk.heads import load_head
from dtalk.heads.gltf import write_glb
from dtalk.heads.gltf_mesh import read_surface
from dtalk.motion.curves import Motion
from dtalk.motion.gltf import animate_avatar, is_avatar, load_avatar

MOMENTS = (0.1, 0.37, 0.62, 0.9)  # of the clip's length


def main(source: str, out: str, head_file: str | None = None) -> None:
    """Write ``talk.glb`` and ``expected.npz`` into the folder ``out``."""
    motion = dtalk.read_motion(source)
    head = None if head_file is None else Path(head_file)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    frames = [int(share * len(motion)) for share in MOMENTS]
    write = _write_avatar if head is not None and is_avatar(head) else _write_head
    vertices = write(motion, frames, head, folder / "talk.glb", Path(source).stem)
    np.savez(
        folder / "expected.npz",
        times=(np.array(frames) + 0.5) / motion.fps,
        vertices=vertices,
        names=dtalk.ARKIT_NAMES,
    )
    (folder / "expected.bin").write_bytes(vertices.astype("<f4").tobytes())
    times = ",".join(repr((frame + 0.5) / motion.fps) for frame in frames)
    (folder / "times.txt").write_text(times)


def _write_head(
    motion: Motion, frames: list[int], file: Path | None, path: Path, name: str
) -> npt.NDArray[np.floating]:
    head = load_head(file)
    write_glb(motion, path, head, name)
    rotation = None if motion.head_rotation is None else motion.head_rotation[frames]
    return head.deform(motion.coefficients[frames], rotation)


def _write_avatar(
    motion: Motion, frames: list[int], file: Path | None, path: Path, name: str
) -> npt.NDArray[np.floating]:
    """Its meshes with morph targets, in the order of nodes; of one whose head no joint turns."""
    assert file is not None
    animate_avatar(file, motion, path, name)
    glb, targets = load_avatar(file)
    surface = read_surface(glb)
    order = np.argsort(surface.nodes, kind="stable")
    chosen = order[np.isin(surface.nodes[order], list(targets))]
    moved = np.tensordot(motion.coefficients[frames], surface.fields[:, chosen], 1)
    return surface.vertices[chosen] + moved


if __name__ == "__main__":
    main(*sys.argv[1:])
