"""Write a glb and what its vertices should be at four times, for the checks in this folder.

python examples/gltf/expected.py jfk.npz OUT [HEAD]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import dtalk
from dtalk.heads import load_head
from dtalk.heads.gltf import write_glb

MOMENTS = (0.1, 0.37, 0.62, 0.9)  # of the clip's length


def main(source: str, out: str, head_file: str | None = None) -> None:
    """Write ``talk.glb`` and ``expected.npz`` into the folder ``out``."""
    motion = dtalk.read_motion(source)
    head = load_head(None if head_file is None else Path(head_file))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_glb(motion, folder / "talk.glb", head, Path(source).stem)
    frames = [int(share * len(motion)) for share in MOMENTS]
    rotation = None if motion.head_rotation is None else motion.head_rotation[frames]
    vertices = head.deform(motion.coefficients[frames], rotation)
    np.savez(
        folder / "expected.npz",
        times=(np.array(frames) + 0.5) / motion.fps,
        vertices=vertices,
        names=dtalk.ARKIT_NAMES,
    )
    (folder / "expected.bin").write_bytes(vertices.astype("<f4").tobytes())
    times = ",".join(repr((frame + 0.5) / motion.fps) for frame in frames)
    (folder / "times.txt").write_text(times)


if __name__ == "__main__":
    main(*sys.argv[1:])
