"""VOCASET's sentences as clips for evaluation: faces known by FLAME's vertices alone.

Predicted coefficients move the user's FLAME head with the subject's own neutral face (zero-shot: no
mesh was ever trained on). Of a tracked mesh only what the metrics look at is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dtalk.data.clips import Clip, LoadedClip
from dtalk.data.vocaset import VERTEX_COUNT, MeshClip, read_vocaset
from dtalk.errors import DataError
from dtalk.evaluation.scoring import FaceMeasurements, Geometry
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.head import Head
from dtalk.utils.types import Progress

SET = "vocaset"


def vertex_clips(
    folder: Path, split: str, head: Head, note: Callable[[str], None], progress: Progress
) -> list[LoadedClip]:
    """Load the sentences of a split, on ``head``, which must be a FLAME model.

    Raises:
        DtalkError: the data cannot be read, or the head has other vertices.
    """
    if not isinstance(head, FlameHead) or len(head.vertices) != VERTEX_COUNT:
        raise DataError(f"{folder} holds FLAME's meshes: name your FLAME model with --head")
    sentences = read_vocaset(folder, split, note)

    @cache
    def geometry_of(subject: str) -> Geometry:
        return Geometry(head.with_template(sentences.templates[subject]))

    clips: list[LoadedClip] = []
    for mesh in sentences:
        clips.append(_vertex_clip(mesh, split, geometry_of(mesh.subject)))
        progress(len(clips), len(sentences))
    return clips


def _vertex_clip(mesh: MeshClip, split: str, geometry: Geometry) -> VertexClip:
    sound = Path(f"{mesh.name}.wav")  # there is none; predictions may be called so
    clip = Clip(mesh.name, SET, split, mesh.subject, "", sound, None)
    return VertexClip(clip, mesh.waveform, None, geometry, geometry.measure(mesh.vertices))


@dataclass(frozen=True)
class VertexClip(LoadedClip):
    """A clip whose reference is a mesh; geometry: of the subject's head; reference: of the mesh."""

    geometry: Geometry
    reference: FaceMeasurements

    @property
    def tracked(self) -> bool:
        return True

    @property
    def frames(self) -> int:
        return len(self.reference.opening)
