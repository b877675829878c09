"""The triangles of a glTF scene at rest, with the displacements of the 52 channels.

Nodes, skins, quantised and compressed meshes are resolved; colours are those of materials and, at
each vertex, of their textures.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.gltf import Targets, find_targets
from dtalk.utils.glb import ADVICE, MOST_VALUES, Glb, GlbError
from dtalk.utils.images import ImageError, read_image

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_TRIANGLES = 4  # mode of a primitive
_DRACO = "KHR_draco_mesh_compression"
_CUT = 0.5  # alpha below which a vertex is not to be seen
MOST_VERTICES = 500_000  # of a scene; each has 52 displacements


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles in the space of the scene.

    Attributes:
        vertices: [V, 3], and ``faces``: [F, 3].
        fields: [52, V, 3], displacement at a coefficient of 1; [0, V, 3] where nothing has any.
        colors: [V, 3], linear; not a number where a texture cannot be read.
        flat: [V], whether both sides are seen.
        nodes: [V], the node that shows each.
    """

    vertices: Floats
    faces: Array
    fields: Floats
    colors: Floats
    flat: Array
    nodes: Array

    def subset(self, kept: Array) -> Surface:
        """Select the vertices ``kept`` [V], and the faces with no other corner."""
        faces = self.faces[kept[self.faces].all(axis=1)]
        numbers = np.cumsum(kept) - 1
        return Surface(
            self.vertices[kept],
            numbers[faces],
            self.fields[:, kept],
            self.colors[kept],
            self.flat[kept],
            self.nodes[kept],
        )

    def merged(self) -> Surface:
        """Merge vertices that lie and move alike: seams of a texture are none of the skin."""
        random = np.random.default_rng(0)
        mixed = random.normal(size=(len(self.fields) * 3, 2))
        moves = self.fields.transpose(1, 0, 2).reshape(len(self.vertices), -1) @ mixed
        step = 1e-5 * np.ptp(self.vertices, axis=0).max()
        keys = np.column_stack((self.vertices, moves, self.flat * step, self.nodes * step))
        _, first, number = np.unique(
            np.rint(keys / step), axis=0, return_index=True, return_inverse=True
        )
        kept = np.zeros(len(self.vertices), dtype=bool)
        kept[first] = True
        alone = self.subset(kept)
        places = (np.cumsum(kept) - 1)[first[number.ravel()]]
        faces = places[self.faces]
        a, b, c = faces.T
        faces = faces[(a != b) & (b != c) & (c != a)]
        return Surface(alone.vertices, faces, alone.fields, alone.colors, alone.flat, alone.nodes)


def read_surface(glb: Glb) -> Surface:
    """Read all triangles of the scene.

    Raises:
        GlbError: damaged, compressed in a way that cannot be read here, or without triangles.
    """
    try:
        targets = find_targets(glb)
        worlds = world_matrices(glb)
        parts = []
        for node, world in worlds.items():
            for part in _parts(glb, node, world, worlds, targets):
                parts.append(part)
                _check_size(sum(len(part.vertices) for part in parts))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        text = str(error) if isinstance(error, GlbError) else "its meshes are damaged"
        raise GlbError(text) from error
    if not parts:
        raise GlbError("it holds no triangles")
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    return Surface(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.fields for part in parts], axis=1),
        np.concatenate([part.colors for part in parts]),
        np.concatenate([part.flat for part in parts]),
        np.concatenate([part.nodes for part in parts]),
    )


def _check_size(vertices: int) -> None:
    if vertices > MOST_VERTICES:
        raise GlbError(f"it has more than {MOST_VERTICES} vertices")


def has_ktx2(glb: Glb) -> bool:
    """Whether textures are there only as KTX2 (Basis Universal), which is not read."""
    return any(
        "KHR_texture_basisu" in (texture.get("extensions") or {}) and "source" not in texture
        for texture in glb.objects("textures")
    )


def world_matrices(glb: Glb) -> dict[int, Floats]:
    """Compute the matrices [4, 4] of the default scene's nodes, or of all."""
    nodes, scenes = glb.objects("nodes"), glb.objects("scenes")
    everything = {"nodes": range(len(nodes))}
    roots = (scenes[glb.content.get("scene", 0)] if scenes else everything).get("nodes", ())
    found: dict[int, Floats] = {}
    waiting = [(root, np.eye(4)) for root in roots]
    while waiting:
        node, above = waiting.pop()
        if node in found and scenes:
            raise GlbError("a node has two parents")
        found[node] = above @ _matrix(nodes[node])
        waiting += [(child, found[node]) for child in nodes[node].get("children") or ()]
        if len(waiting) > len(nodes):
            raise GlbError("its nodes are their own parents")
    return found


def _matrix(node: dict[str, Any]) -> Floats:
    from scipy.spatial.transform import Rotation

    if "matrix" in node:
        return np.asarray(node["matrix"], float).reshape(4, 4).T
    matrix = np.eye(4)
    turn = Rotation.from_quat(node.get("rotation", (0, 0, 0, 1))).as_matrix()
    matrix[:3, :3] = turn * np.asarray(node.get("scale", (1, 1, 1)), float)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _parts(
    glb: Glb, node: int, world: Floats, worlds: dict[int, Floats], targets: Targets
) -> Iterator[Surface]:
    """Iterate over the surfaces of one node, a primitive each."""
    entry = glb.objects("nodes")[node]
    if "mesh" not in entry:
        return
    mesh = glb.objects("meshes")[entry["mesh"]]
    rest = np.asarray(entry.get("weights") or mesh.get("weights") or (), float)
    if node in targets and len(rest):
        rest = np.where(targets[node].any(axis=0), 0, rest)  # a motion replaces them
    for primitive in mesh["primitives"]:
        if primitive.get("mode", _TRIANGLES) != _TRIANGLES:
            continue
        data, faces = _attributes(glb, primitive)
        places = data["POSITION"].astype(float)
        _check_size(len(places))
        moves = _moves(glb, primitive, len(places))
        if len(rest) and len(moves):
            places = places + np.tensordot(rest, moves, 1)
        fields = np.zeros((len(ARKIT_NAMES) if targets else 0, *places.shape))
        if node in targets and len(moves):
            fields = np.tensordot(targets[node].astype(float), moves, 1)
        matrices = _bound(glb, entry, data, worlds, world, len(places))
        linear = matrices[:, :3, :3]
        colors, alpha, flat = _colors(glb, primitive, data, len(places))
        seen = alpha >= _CUT
        yield Surface(
            np.einsum("vij,vj->vi", linear, places) + matrices[:, :3, 3],
            _facing(faces[seen[faces].any(axis=1)], world),
            np.einsum("vij,kvj->kvi", linear, fields),
            colors,
            np.full(len(places), flat),
            np.full(len(places), node),
        )


def _attributes(glb: Glb, primitive: dict[str, Any]) -> tuple[dict[str, Array], Array]:
    """Read attributes by name, [V, width] each, and faces [F, 3]."""
    packed = (primitive.get("extensions") or {}).get(_DRACO)
    if packed is not None:
        return _draco(glb, primitive, packed)
    data = {name: glb.read(index) for name, index in primitive["attributes"].items()}
    count = len(data["POSITION"])
    if "indices" in primitive:
        corners = glb.read(primitive["indices"])[:, 0].astype(np.int64)
    else:
        corners = np.arange(count)
    return data, _checked_faces(corners[: len(corners) // 3 * 3].reshape(-1, 3), count)


def _draco(
    glb: Glb, primitive: dict[str, Any], packed: dict[str, Any]
) -> tuple[dict[str, Array], Array]:
    try:
        import DracoPy
    except ImportError as error:
        raise GlbError(f"it is compressed by Draco; {ADVICE}") from error
    try:
        mesh = DracoPy.decode(glb.view_bytes(packed["bufferView"]))
        data = {
            name: np.asarray(mesh.get_attribute_by_unique_id(unique)["data"])
            for name, unique in packed["attributes"].items()
        }
    except Exception as error:  # whatever the library raises on damaged data
        raise GlbError("its Draco data is damaged") from error
    for name, index in primitive["attributes"].items():
        if name in data and len(data[name]) != glb.objects("accessors")[index]["count"]:
            raise GlbError("its Draco data does not fit")
    faces = np.asarray(mesh.faces).astype(np.int64)
    return data, _checked_faces(faces.reshape(-1, 3), len(data["POSITION"]))


def _checked_faces(faces: Array, count: int) -> Array:
    if len(faces) and faces.max() >= count:
        raise GlbError("its triangles name vertices that it lacks")
    return faces


def _moves(glb: Glb, primitive: dict[str, Any], count: int) -> Floats:
    """Read the displacements of the targets, [targets, V, 3]."""
    moves, targets = [], primitive.get("targets") or ()
    if len(targets) * count * 3 > MOST_VALUES:
        raise GlbError(f"{len(targets)} targets of {count} vertices are too many")
    for target in targets:
        read = glb.read(target["POSITION"]) if "POSITION" in target else np.zeros((count, 3))
        if read.shape != (count, 3):
            raise GlbError("its targets do not fit its mesh")
        moves.append(read.astype(float))
    return np.stack(moves) if moves else np.zeros((0, count, 3))


def _bound(
    glb: Glb,
    entry: dict[str, Any],
    data: dict[str, Array],
    worlds: dict[int, Floats],
    world: Floats,
    count: int,
) -> Floats:
    """Compute each vertex' matrix to the scene, [V, 4, 4]: its node's, or its joints'."""
    if "skin" not in entry or "JOINTS_0" not in data:
        return np.broadcast_to(world, (count, 4, 4))
    skin = glb.objects("skins")[entry["skin"]]
    joints = np.stack([worlds.get(joint, np.eye(4)) for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        bound = glb.read(skin["inverseBindMatrices"]).astype(float)
        joints = joints @ bound.reshape(-1, 4, 4).transpose(0, 2, 1)
    weights = data["WEIGHTS_0"].astype(float)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    return np.einsum("vj,vjab->vab", weights, joints[data["JOINTS_0"].astype(np.int64)])


def _facing(faces: Array, world: Floats) -> Array:
    """Turn faces round where their node mirrors them, so that they show their outside."""
    return faces[:, ::-1] if np.linalg.det(world[:3, :3]) < 0 else faces


# colours ----------------------------------------------------------------------------------------


def _colors(
    glb: Glb, primitive: dict[str, Any], data: dict[str, Array], count: int
) -> tuple[Floats, Floats, bool]:
    """Read linear colours [V, 3], alpha [V], and whether both sides are seen."""
    materials = glb.objects("materials")
    material = materials[primitive["material"]] if "material" in primitive else {}
    look = material.get("pbrMetallicRoughness") or {}
    values = np.ones((count, 4)) * np.asarray(look.get("baseColorFactor", (1, 1, 1, 1)), float)
    if "COLOR_0" in data:
        values[:, : data["COLOR_0"].shape[1]] *= _unit(data["COLOR_0"])
    texture = look.get("baseColorTexture")
    if texture is not None:
        picture = _picture(glb, texture)
        coordinates = data.get(f"TEXCOORD_{_coordinates(texture)}")
        if picture is None or coordinates is None:
            values[:, :3] = np.nan
        else:
            values *= _sampled(picture, _placed(texture, _unit(coordinates)))
    opaque = material.get("alphaMode", "OPAQUE") == "OPAQUE"
    alpha = np.ones(count) if opaque else values[:, 3]
    return values[:, :3], alpha, bool(material.get("doubleSided"))


def _unit(values: Array) -> Floats:
    """Convert whole numbers that were not normalised, such as Draco's, to shares."""
    if values.dtype.kind in "iu":
        return values.astype(float) / np.iinfo(values.dtype).max
    return values.astype(float)


def _coordinates(texture: dict[str, Any]) -> int:
    change = (texture.get("extensions") or {}).get("KHR_texture_transform") or {}
    number: int = change.get("texCoord", texture.get("texCoord", 0))
    return number


def _placed(texture: dict[str, Any], coordinates: Floats) -> Floats:
    """Apply KHR_texture_transform to texture coordinates."""
    change = (texture.get("extensions") or {}).get("KHR_texture_transform") or {}
    angle = float(change.get("rotation", 0))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    scaled = coordinates * np.asarray(change.get("scale", (1, 1)), float)
    return scaled @ turn.T + np.asarray(change.get("offset", (0, 0)), float)


def _picture(glb: Glb, texture: dict[str, Any]) -> Array | None:
    """Read a texture's pixels, uint8 [H, W, 4]; None if it is no PNG, JPEG or WebP."""
    entry = glb.objects("textures")[texture["index"]]
    webp = (entry.get("extensions") or {}).get("EXT_texture_webp", {}).get("source")
    source = entry.get("source", webp)
    if source is None or "bufferView" not in glb.objects("images")[source]:
        return None
    data = glb.view_bytes(glb.objects("images")[source]["bufferView"])
    try:
        return np.asarray(read_image(io.BytesIO(data)).convert("RGBA"))
    except ImageError:
        return None


def _sampled(picture: Array, coordinates: Floats) -> Floats:
    """Sample linear colours and alpha at texture coordinates, which repeat: [V, 4]."""
    height, width = picture.shape[:2]
    column = np.floor(coordinates[:, 0] % 1 * width).astype(int).clip(0, width - 1)
    row = np.floor(coordinates[:, 1] % 1 * height).astype(int).clip(0, height - 1)
    values = picture[row, column].astype(float) / 255
    low = values[:, :3] <= 0.04045
    values[:, :3] = np.where(low, values[:, :3] / 12.92, ((values[:, :3] + 0.055) / 1.055) ** 2.4)
    return values
