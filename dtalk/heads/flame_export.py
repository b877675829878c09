"""Export of motion as FLAME's own parameters: expression and jaw, fitted to the shapes.

Nobody has published a map from the 52 shapes to FLAME's expressions, so each frame's vertices are
fitted: the jaw's rotation that lays the chin on its place (Kabsch 1976, about the joint), and the
expression that explains what is left, a ridge regression (Hoerl and Kennard 1970) whose prior is
FLAME's own: every number has a standard deviation of 1. The two are found in turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.transform import Rotation

from dtalk.errors import HeadError
from dtalk.heads.eyes import gaze
from dtalk.heads.flame import JAW
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.head import MILLIMETRES, Head, turns
from dtalk.motion.curves import Motion
from dtalk.motion.files import npz_arrays
from dtalk.utils.files import atomic_path
from dtalk.utils.types import Array, Progress

EXPRESSIONS = 100  # numbers a frame that research code expects; those a model lacks are 0
# Metres: what the ridge takes for the error of a coordinate. Larger than it is, since those of
# neighbours go together.
NOISE = 0.005
CHIN = 0.9  # least share of the jaw joint in a vertex that the jaw's rotation is fitted to
TURNS = 4  # how often jaw and expression are found in turns
BLOCK = 32  # frames at a time


@dataclass(frozen=True)
class Fit:
    """FLAME's parameters of T frames, and their errors.

    Attributes:
        expression: float32 [T, 100].
        jaw: float32 [T, 3], rotation vectors, radians.
        eyes: float32 [T, 6], of the left and the right eye.
        neck: float32 [T, 3].
        mean_error, max_error: millimetres over frames and the vertices of face and head.
    """

    expression: Array
    jaw: Array
    eyes: Array
    neck: Array
    mean_error: float
    max_error: float

    @property
    def accuracy(self) -> str:
        """Describe the errors in words."""
        mean, most = self.mean_error, self.max_error
        return f"FLAME's parameters come within {mean:.2f} mm (mean), {most:.2f} mm (largest)"


def fit_flame(head: Head, motion: Motion, progress: Progress = lambda done, total: None) -> Fit:
    """Fit FLAME's expression and pose to a motion on this head.

    Raises:
        HeadError: the head is no FLAME model, or one without expressions.
    """
    fitter = _Fitter(checked_flame(head))
    frames = len(motion)
    parts = []
    for start in range(0, frames, BLOCK):
        wanted = head.deform(motion.coefficients[start : start + BLOCK])
        parts.append(fitter.fit(wanted))
        progress(min(frames, start + BLOCK), frames)
    expression, jaw, errors = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    rotation = motion.head_rotation
    still = np.zeros((frames, 3), dtype=np.float32)
    padded = np.zeros((frames, EXPRESSIONS), dtype=np.float32)
    padded[:, : expression.shape[1]] = expression[:, :EXPRESSIONS]
    return Fit(
        padded,
        jaw,
        gaze(motion.coefficients).reshape(frames, 6),
        still if rotation is None else _vectors(turns(rotation)),
        float(errors.mean() * MILLIMETRES),
        float(errors.max() * MILLIMETRES),
    )


class _Fitter:
    """Matrices that are computed once a head."""

    def __init__(self, head: FlameHead) -> None:
        flame = head.flame
        ball = np.zeros(len(head.vertices), dtype=bool)
        ball[np.concatenate(flame.eyeballs)] = True
        self._skin = np.flatnonzero(~ball)
        self._template = head.vertices[self._skin].astype(np.float64)
        self._share = flame.weights[self._skin, JAW].astype(np.float64)
        self._joint = head.joints[JAW].astype(np.float64)
        used = min(EXPRESSIONS, flame.expressions.shape[2])
        basis = flame.expressions[self._skin, :, :used].astype(np.float64)
        self._basis = basis.reshape(-1, used)
        self._solver = cho_factor(self._basis.T @ self._basis + NOISE**2 * np.eye(used))
        features = slice(9 * (JAW - 1), 9 * JAW)
        self._pose = flame.pose[self._skin, :, features].reshape(-1, 9).astype(np.float64)
        chin = self._share >= CHIN * self._share.max()
        self._chin = np.flatnonzero(chin & (self._share > 0))

    def fit(self, vertices: Array) -> tuple[Array, Array, Array]:
        """Fit vertices [T, V, 3]: expression [T, E], jaw [T, 3], errors [T, skin] in metres."""
        wanted = vertices[:, self._skin].astype(np.float64)
        expression = np.zeros((len(wanted), self._basis.shape[1]))
        rotation = np.tile(np.eye(3), (len(wanted), 1, 1))
        for _ in range(TURNS):
            rotation = self._jaw(wanted, expression, rotation)
            expression = self._expression(wanted, rotation)
        found = self._posed(self._rest(expression, rotation), rotation)
        error = np.linalg.norm(found - wanted, axis=2)
        return expression.astype(np.float32), _vectors(rotation), error.astype(np.float32)

    def _jaw(self, wanted: Any, expression: Any, rotation: Any) -> npt.NDArray[np.float64]:
        """Find the rotations about the joint that take the chin from rest to where it is wanted."""
        here = self._rest(expression, rotation)[:, self._chin] - self._joint
        there = wanted[:, self._chin] - self._joint
        left, _, right = np.linalg.svd(np.swapaxes(there, 1, 2) @ here)
        flip = np.ones((len(wanted), 1, 3))
        flip[:, 0, 2] = np.sign(np.linalg.det(left @ right))
        return (left * flip) @ right

    def _expression(self, wanted: Any, rotation: Any) -> npt.NDArray[np.float64]:
        """Solve the ridge regression for what the jaw, undone, leaves."""
        blend = np.eye(3) + self._share[:, None, None] * (rotation - np.eye(3))[:, None]
        rest = np.linalg.solve(blend, (wanted - self._joint)[..., None])[..., 0] + self._joint
        left = rest - self._template - self._corrections(rotation)
        return cho_solve(self._solver, self._basis.T @ left.reshape(len(left), -1).T).T

    def _rest(self, expression: Any, rotation: Any) -> npt.NDArray[np.float64]:
        """Undo the jaw's turn, corrections for the turn included."""
        moved = (expression @ self._basis.T).reshape(len(expression), -1, 3)
        return self._template + moved + self._corrections(rotation)

    def _corrections(self, rotation: Any) -> npt.NDArray[np.float64]:
        change = (rotation - np.eye(3)).reshape(-1, 9)
        return (change @ self._pose.T).reshape(len(change), -1, 3)

    def _posed(self, rest: Any, rotation: Any) -> npt.NDArray[np.float64]:
        apart = rest - self._joint
        turned = apart @ np.swapaxes(rotation, 1, 2) - apart
        return rest + self._share[:, None] * turned


def _vectors(rotations: npt.ArrayLike) -> Array:
    return Rotation.from_matrix(np.asarray(rotations)).as_rotvec().astype(np.float32)


def checked_flame(head: Head | None) -> FlameHead:
    """Check that the head is one whose parameters can be fitted.

    Raises:
        HeadError: it is no FLAME model, or one without expressions.
    """
    if not isinstance(head, FlameHead):
        raise HeadError("--format flame needs a FLAME model (pkl, npz): name it with --head")
    if not head.flame.expressions.shape[2]:
        raise HeadError("--format flame needs expressions, but this FLAME model has shapes only")
    return head


def export_flame(motion: Motion, head: Head, path: Path) -> Fit:
    """Fit a motion and write FLAME's parameters beside its own arrays: it is a motion file too.

    Raises:
        HeadError: the head is no FLAME model, or one without expressions.
        DtalkError: the place cannot be written.
    """
    fit = fit_flame(head, motion)
    arrays = npz_arrays(motion) | {
        "expression": fit.expression,
        "jaw_pose": fit.jaw,
        "eye_pose": fit.eyes,
        "neck_pose": fit.neck,
        "shape": np.array(checked_flame(head).betas, dtype=np.float32),
        "error_mean_mm": np.float64(fit.mean_error),
        "error_max_mm": np.float64(fit.max_error),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return fit
