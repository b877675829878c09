"""VOCASET in its published files: speech with meshes in FLAME's topology, for evaluation.

A folder holds

- ``data_verts.npy``: all meshes, float ``[N, 5023, 3]`` in metres, 60 a second;
- ``subj_seq_to_idx.pkl``: which are whose, ``{subject: {sequence: {frame: row}}}``;
- ``raw_audio_fixed.pkl``: ``{subject: {sequence: {"audio": int16 [S], "sample_rate": Hz}}}``;
- ``templates.pkl``: the subjects' neutral faces, ``{subject: [5023, 3]}``.

Every second frame is taken, as FaceFormer and its successors do. Splits are those of VOCA (D.
Cudeiro et al., CVPR 2019): eight subjects to train on, all 40 sentences; two each for validation
and test, sentences 21 to 40.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.data.clips import Note, common_frames, cut_to, few, warn
from dtalk.errors import DataError, DtalkError
from dtalk.speech.audio import to_waveform
from dtalk.utils.arrays import NUMPY_DAMAGE
from dtalk.utils.pickles import load_pickle
from dtalk.utils.types import Array

VERTICES = "data_verts.npy"
ROWS = "subj_seq_to_idx.pkl"
SOUNDS = "raw_audio_fixed.pkl"
TEMPLATES = "templates.pkl"

MESH_FPS = 60.0
VERTEX_COUNT = 5023

SUBJECTS: dict[str, tuple[str, ...]] = {
    "train": (
        "FaceTalk_170725_00137_TA",
        "FaceTalk_170728_03272_TA",
        "FaceTalk_170811_03274_TA",
        "FaceTalk_170904_00128_TA",
        "FaceTalk_170904_03276_TA",
        "FaceTalk_170912_03278_TA",
        "FaceTalk_170913_03279_TA",
        "FaceTalk_170915_00223_TA",
    ),
    "val": ("FaceTalk_170811_03275_TA", "FaceTalk_170908_03277_TA"),
    "test": ("FaceTalk_170731_00024_TA", "FaceTalk_170809_00138_TA"),
}
SENTENCES = {"train": range(1, 41), "val": range(21, 41), "test": range(21, 41)}

Place = tuple[str, str]
"""Subject and sequence."""


@dataclass(frozen=True, eq=False)
class MeshClip:
    """One sentence: sound and meshes of the same length.

    Attributes:
        subject: such as ``FaceTalk_170809_00138_TA``.
        sequence: such as ``sentence21``.
        waveform: float32 ``[S]`` at 16 kHz.
        vertices: float32 ``[T, 5023, 3]`` at 30 frames a second, metres.
        template: float32 ``[5023, 3]``, the subject's neutral face, metres.
    """

    subject: str
    sequence: str
    waveform: Array
    vertices: Array
    template: Array

    @property
    def name(self) -> str:
        """A name that is unique within the data set."""
        return f"{self.subject}/{self.sequence}"

    @property
    def frames(self) -> int:
        """Number of frames, T."""
        return len(self.vertices)


def is_vocaset(folder: Path) -> bool:
    """Whether a folder holds VOCASET's meshes."""
    return (Path(folder) / VERTICES).is_file()


def read_vocaset(folder: Path, split: str = "test", note: Note = warn) -> Vocaset:
    """Open the sentences of a split, ``train``, ``val`` or ``test``; see :class:`Vocaset`.

    ``note`` is called with what is left out. Meshes are read when they are asked for; of the
    sound, which is one pickle, only the split's is kept.

    Raises:
        DtalkError: a file is missing or damaged, or holds nothing of the split.
    """
    folder = Path(folder)
    if split not in SUBJECTS:
        raise DataError(f"no such split: {split!r}; there are {', '.join(SUBJECTS)}")
    rows, sounds = _tree(folder / ROWS), _tree(folder / SOUNDS)
    templates = _templates(folder / TEMPLATES)
    wanted = [(s, f"sentence{n:02d}") for s in SUBJECTS[split] for n in SENTENCES[split]]
    there = {
        (subject, sequence): (rows[subject][sequence], sounds[subject][sequence])
        for subject, sequence in wanted
        if subject in templates
        and all(sequence in tree.get(subject, ()) for tree in (rows, sounds))
    }
    if not there:
        raise DataError(f"{folder} holds no sentence of the {split} split")
    missing = [f"{s}/{q}" for s, q in wanted if (s, q) not in there]
    if missing:
        named = ", ".join(few(missing))
        note(
            f"{len(missing)} of {len(wanted)} sentences of the {split} split are not there: {named}"
        )
    return Vocaset(_vertices(folder / VERTICES), there, templates, note)


class Vocaset:
    """An iterable of sentences; each is read anew in every pass.

    Those that cannot be used are left out, and named when all have been gone through.
    """

    def __init__(
        self,
        vertices: npt.NDArray[np.floating],
        places: Mapping[Place, tuple[Any, Any]],
        templates: Mapping[str, Array],
        note: Note,
    ) -> None:
        self._vertices, self._places = vertices, places
        self.templates, self._note = templates, note

    def __len__(self) -> int:
        """Number of sentences, damaged ones included."""
        return len(self._places)

    def __iter__(self) -> Iterator[MeshClip]:
        failures = []
        for subject, sequence in self._places:
            try:
                clip = self._load(subject, sequence)
            except DtalkError as error:
                failures.append(str(error))
                continue
            yield clip
        for line in few(failures):
            self._note(f"left out: {line}")

    def _load(self, subject: str, sequence: str) -> MeshClip:
        name = f"{subject}/{sequence}"
        frame_rows, sound = self._places[subject, sequence]
        waveform = _waveform(sound, name)
        rows, seconds = _every_second(frame_rows, len(self._vertices), name)
        frames = min(len(rows), common_frames(waveform, seconds, name))
        vertices = np.asarray(self._vertices[rows[:frames]], dtype=np.float32)
        if not np.isfinite(vertices).all():
            raise DataError(f"{name}: a vertex is not finite")
        return MeshClip(
            subject, sequence, cut_to(waveform, frames), vertices, self.templates[subject]
        )


def _waveform(sound: Any, name: str) -> Array:
    """Read an entry of the sounds as 16 kHz samples."""
    samples, rate = (
        (sound.get("audio"), sound.get("sample_rate")) if isinstance(sound, dict) else (None, None)
    )
    if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype != np.int16:
        raise DataError(f"{name}: its `audio` is no int16 array [S]")
    if not isinstance(rate, int | np.integer):
        raise DataError(f"{name}: its `sample_rate` is no number")
    return to_waveform(samples.astype(np.float32) / np.float32(32768), int(rate), name)


def _every_second(frames: Any, count: int, name: str) -> tuple[list[int], float]:
    """Rows of every second frame, and seconds of all; a neighbour replaces a lost frame."""
    if not isinstance(frames, dict) or not frames:
        raise DataError(f"{name}: its frames are no table {{frame: row}}")
    numbers = [*frames, *frames.values()]
    if not all(isinstance(number, int | np.integer) for number in numbers):
        raise DataError(f"{name}: a frame or row is no number")
    if not all(0 <= row < count for row in frames.values()):
        raise DataError(f"{name}: a row is not among the {count} of {VERTICES}")
    last = int(max(frames))
    rows = []
    for frame in range(0, last + 1, 2):
        near = [n for n in (frame, frame + 1, frame - 1) if n in frames]
        if not near:
            raise DataError(f"{name}: frame {frame} is missing")
        rows.append(int(frames[near[0]]))
    return rows, (last + 1) / MESH_FPS


def _tree(path: Path) -> dict[str, dict[str, Any]]:
    content = load_pickle(path)
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise DataError(f"{path} is no table {{subject: {{sequence: ...}}}}")
    return content


def _templates(path: Path) -> dict[str, Array]:
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} is no table {{subject: vertices}}")
    for subject, vertices in content.items():
        fits = isinstance(vertices, np.ndarray) and vertices.shape == (VERTEX_COUNT, 3)
        if not fits or vertices.dtype.kind != "f" or not np.isfinite(vertices).all():
            raise DataError(f"{path}: {subject} has no {VERTEX_COUNT} vertices")
    return {subject: vertices.astype(np.float32) for subject, vertices in content.items()}


def _vertices(path: Path) -> npt.NDArray[np.floating]:
    """Map all meshes from disk."""
    try:
        vertices = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except NUMPY_DAMAGE as error:
        raise DataError(f"{path} is no npy file of numbers, or damaged") from error
    shape = getattr(vertices, "shape", ())
    if len(shape) != 3 or shape[1:] != (VERTEX_COUNT, 3) or vertices.dtype.kind != "f":
        raise DataError(f"{path} is no table of vertices [N, {VERTEX_COUNT}, 3]")
    return vertices
