"""Motion to files of every format: those that hold curves alone, and those that need a head."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dtalk.errors import DtalkError, HeadError
from dtalk.motion.curves import Motion
from dtalk.motion.files import FLAME_SUFFIX, FORMATS, is_flame, write_motion
from dtalk.utils.files import atomic_path
from dtalk.utils.glb import SUFFIXES as GLB_SUFFIXES
from dtalk.utils.jobs import names_file

if TYPE_CHECKING:  # it loads scipy, which files of curves alone do without
    from dtalk.heads.head import Head

#: Suffixes of the files that can be written, by the name of their format.
EXPORTS = {
    **{name: f".{name}" for name in FORMATS},
    "glb": ".glb",
    "vrm": ".vrm",
    "flame": FLAME_SUFFIX,
}


def suffixes_of(formats: Sequence[str] | None, out: Path | None) -> list[str]:
    """Choose the suffixes to write: of the formats asked for, else of the output file, else npz.

    Raises:
        DtalkError: no such format, or a file of another one.
    """
    formats = [name.lower().removeprefix(".") for name in formats or ()]
    unknown = [name for name in formats if name not in EXPORTS]
    if unknown:
        raise DtalkError(f"unknown format {unknown[0]!r}; there are {', '.join(EXPORTS)}")
    ending = out.name.lower() if out is not None and out.suffix and not out.is_dir() else ""
    named = next((name for name in reversed(EXPORTS) if ending.endswith(EXPORTS[name])), "")
    if out is not None and not named and names_file(out) and not formats:
        known = ", ".join(EXPORTS.values())
        raise DtalkError(f"-o {out}: what is written is {known}; or name a folder that exists")
    chosen = list(dict.fromkeys(formats or [named or "npz"]))
    if named and chosen != [named]:
        raise DtalkError(f"-o {out} is a {named} file, but --format says {', '.join(chosen)}")
    return [EXPORTS[name] for name in chosen]


def is_glb(path: Path) -> bool:
    """Check whether a file of this name holds a glTF asset."""
    return path.suffix.lower() in GLB_SUFFIXES


def needs_head(paths: Sequence[Path]) -> bool:
    """Check whether one of the files to be written holds more than curves."""
    return any(is_flame(path) or is_glb(path) for path in paths)


@dataclass(frozen=True)
class Exporter:
    """A writer of motion to any format, for many clips.

    Attributes:
        head: what moves in a glb, and whose parameters a flame.npz has; the built-in one if None.
        avatar: a GLB or VRM that a glb is made of, with an animation appended, instead.
    """

    head: Head | None = None
    avatar: Path | None = None

    def check(self, paths: Sequence[Path]) -> None:
        """Check that these files can be written with this head.

        Raises:
            HeadError: flame.npz with a head that is no FLAME model, vrm without a VRM avatar, or
                an avatar with fewer than ten ARKit targets.
        """
        if any(map(is_flame, paths)):
            from dtalk.heads.flame_export import checked_flame

            checked_flame(self.head)
        if self.avatar is not None:
            from dtalk.motion.gltf import load_avatar

            load_avatar(self.avatar)
        for path in paths:
            own = self.avatar.suffix.lower() if self.avatar is not None else ".glb"
            if path.suffix.lower() == ".vrm" != own:
                raise HeadError(f"cannot write {path}: name a .vrm avatar with --head")

    def write(self, motion: Motion, path: Path, sound: Path | None = None) -> list[str]:
        """Write one file, whole or not at all, and return what is to be said, a line each.

        A glb gets the sound beside it, if no file of that name is there.

        Raises:
            DtalkError: the place cannot be written, or the head does not fit.
        """
        if is_flame(path):
            from dtalk.heads.flame_export import checked_flame, export_flame

            return [f"{path}: {export_flame(motion, checked_flame(self.head), path).accuracy}"]
        if not is_glb(path):
            write_motion(motion, path)
            return []
        notes = self._write_glb(motion, path)
        if sound is not None:
            copy_sound(sound, path)
        return notes

    def write_all(
        self, motion: Motion, paths: Sequence[Path], sound: Path | None = None
    ) -> list[str]:
        """Write several files as :meth:`write` does."""
        return [line for path in paths for line in self.write(motion, path, sound)]

    def _write_glb(self, motion: Motion, path: Path) -> list[str]:
        with atomic_path(path) as temporary:
            if self.avatar is None:
                from dtalk.heads.gltf import write_glb

                write_glb(motion, temporary, self.head, path.stem)
                return []
            from dtalk.motion.gltf import animate_avatar

            notes = animate_avatar(self.avatar, motion, temporary, path.stem)
        return [f"{path}: {self.avatar} {note}" for note in notes]


def copy_sound(sound: Path, path: Path) -> None:
    """Lay a sound beside a file that names it, unless one of that name is there.

    Raises:
        DtalkError: the place cannot be written.
    """
    place = path.with_name(sound.name)
    if not place.exists():
        with atomic_path(place) as temporary:
            shutil.copyfile(sound, temporary)
