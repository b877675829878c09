"""Every reader of dtalk, with good files of its kind."""

from __future__ import annotations

import json
import pickle
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import soundfile
import trimesh
from PIL import Image
from scipy import sparse

import dtalk
from dtalk.heads.head import Head, shapes_from_fields
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion

FRAMES, VERTICES = 6, 5023


@dataclass(frozen=True)
class Reader:
    """A reader: what it is called, good files for it, and how it reads one.

    ``dear`` ones start a program for many files; they are given fewer.
    """

    name: str
    read: Callable[[Path], object]
    make: Callable[[Path], Iterator[Path]]
    dear: bool = False


def readers() -> list[Reader]:
    """All of them."""
    from dtalk.checkpoint import load_model
    from dtalk.cli.recipes import read_recipe
    from dtalk.data.index import read_index
    from dtalk.data.published import read_beat, read_etf
    from dtalk.evaluation.predictions import _vertices
    from dtalk.heads.flame import read_flame
    from dtalk.heads.mesh_files import read_mesh
    from dtalk.speech.audio import load_audio
    from dtalk.utils.images import read_image
    from dtalk.utils.pickles import load_pickle

    def index(path: Path) -> object:
        """The folder of a clips.csv."""
        place = path.with_suffix("")
        place.mkdir(exist_ok=True)
        (place / "clips.csv").write_bytes(path.read_bytes())
        return read_index(place, lambda line: None)

    return [
        *(
            Reader(kind, dtalk.read_motion, partial(_motions, kind))
            for kind in ("npz", "csv", "json", "glb")
        ),
        Reader("etf", read_etf, _etf),
        Reader("beat", read_beat, _beat),
        Reader("vertices", _vertices, _npy_vertices),
        Reader("flame", read_flame, _flames),
        Reader("head", Head.load, _heads),
        *(
            Reader(f"mesh {kind}", read_mesh, partial(_meshes, kind))
            for kind in ("obj", "ply", "stl", "off", "gltf", "glb")
        ),
        Reader("avatar", _avatar, partial(_motions, "glb")),
        Reader("pickle", load_pickle, _pickles),
        Reader("model", load_model, _models),
        Reader("image", read_image, _images),
        Reader("clips", index, _clips),
        Reader("recipe", read_recipe, _recipes),
        Reader("wav", load_audio, partial(_sounds, ("wav", "flac", "aiff", "au")), dear=True),
        Reader("mp3", load_audio, partial(_sounds, ("mp3", "ogg", "m4a", "mkv")), dear=True),
    ]


def _avatar(path: Path) -> object:
    from dtalk.heads.gltf_mesh import read_surface
    from dtalk.motion.gltf import load_avatar

    glb, _ = load_avatar(path)
    return read_surface(glb).merged()


def _motion() -> Motion:
    values = np.random.default_rng(0).random((FRAMES, 52)).astype(np.float32)
    return Motion(values, fps=30, audio="a.wav", emotion="happy", seed=3)


def _motions(kind: str, folder: Path) -> Iterator[Path]:
    path = folder / f"good.{kind}"
    if kind == "glb":
        path.write_bytes(_glb(folder))
    else:
        write_motion(_motion(), path)
    yield path
    if kind == "npz":
        arrays = dict(np.load(path))
        np.savez(folder / "plain.npz", **arrays)
        yield folder / "plain.npz"
    if kind == "csv":
        rows = "".join(f"{k / 60:.4f};0,{k % 10};0,5\n" for k in range(12))
        (folder / "other.csv").write_text("timeCode;blendShapes.JawOpen;eyeBlink_L\n" + rows)
        yield folder / "other.csv"


def _glb(folder: Path) -> bytes:
    """A small avatar that moves: a tetrahedron with all targets, and an animation."""
    from dtalk.motion.gltf import add_animation, find_targets
    from dtalk.utils.glb import Glb

    glb = Glb()
    places = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    corners = np.array([0, 2, 1, 0, 1, 3, 0, 3, 2, 1, 2, 3], np.uint16)
    targets = [{"POSITION": glb.add_accessor(places * k / 99, bounds=True)} for k in range(52)]
    primitive = {
        "attributes": {"POSITION": glb.add_accessor(places, bounds=True)},
        "indices": glb.add_accessor(corners),
        "targets": targets,
        "material": glb.add("materials", _material(glb, folder)),
    }
    names = {"targetNames": list(dtalk.ARKIT_NAMES)}
    mesh = glb.add("meshes", {"primitives": [primitive], "extras": names})
    glb.add("nodes", {"mesh": mesh})
    glb.content["scene"] = glb.add("scenes", {"nodes": [0]})
    add_animation(glb, _motion(), find_targets(glb))
    glb.save(folder / "small.glb")
    return (folder / "small.glb").read_bytes()


def _material(glb: Any, folder: Path) -> dict[str, Any]:
    Image.new("RGB", (4, 4), (200, 100, 50)).save(folder / "texture.png")
    data = np.frombuffer((folder / "texture.png").read_bytes(), np.uint8)
    image = glb.add("images", {"bufferView": glb.add_view(data), "mimeType": "image/png"})
    texture = glb.add("textures", {"source": image})
    return {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}}


def _etf(folder: Path) -> Iterator[Path]:
    np.save(folder / "good.npy", _motion().coefficients)
    yield folder / "good.npy"


def _beat(folder: Path) -> Iterator[Path]:
    frames = [{"weights": [0.1] * 51, "time": k / 60, "rotation": []} for k in range(FRAMES)]
    content = {"names": list(dtalk.ARKIT_NAMES[:51]), "frames": frames}
    (folder / "good.json").write_text(json.dumps(content))
    yield folder / "good.json"


def _npy_vertices(folder: Path) -> Iterator[Path]:
    np.save(folder / "good.npy", np.zeros((2, 12), np.float32))
    np.save(folder / "deep.npy", np.zeros((2, 4, 3), np.float64))
    yield from (folder / "good.npy", folder / "deep.npy")


def _flame_arrays() -> dict[str, Any]:
    """A model far too small to be FLAME's: all is read before that is seen."""
    return {
        "v_template": np.zeros((8, 3)),
        "f": np.zeros((4, 3), np.uint32),
        "shapedirs": np.zeros((8, 3, 400)),
        "posedirs": np.zeros((8, 3, 36)),
        "J_regressor": np.zeros((5, 8)),
        "weights": np.zeros((8, 5)),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], range(5)]),
    }


def _flames(folder: Path) -> Iterator[Path]:
    arrays = _flame_arrays()
    np.savez_compressed(folder / "good.npz", **arrays)
    (folder / "good.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    yield from (folder / "good.npz", folder / "good.pkl")


def _heads(folder: Path) -> Iterator[Path]:
    """A ball with few vertices, so that changes hit more than their places."""
    ball = trimesh.creation.icosphere(1)
    count = len(ball.vertices)
    fields = np.zeros((52, count, 3))
    fields[:, :4] = np.random.default_rng(0).normal(0, 1e-3, (52, 4, 3))
    head = Head(
        vertices=np.asarray(0.1 * ball.vertices, np.float32),
        faces=np.asarray(ball.faces, np.int64),
        colors=np.ones((count, 3), np.float32),
        shapes=shapes_from_fields(fields),
        lips=np.arange(3),
        upper_face=np.arange(3, 6),
        opening=(0, 1),
        corners=(2, 3),
        parts=np.zeros(count, np.uint8),
    )
    head.save(folder / "good.npz")
    yield folder / "good.npz"


def _meshes(kind: str, folder: Path) -> Iterator[Path]:
    trimesh.creation.icosphere(3).export(folder / f"good.{kind}")
    yield folder / f"good.{kind}"


def _pickles(folder: Path) -> Iterator[Path]:
    content = {
        "lips": [1, 2, 3],
        "shape": (1, (2, 3)),
        "array": np.arange(6.0).reshape(2, 3),
        "sparse": sparse.csc_matrix(np.eye(3)),
        "text": "a",
        "names": {"a", "b"},
    }
    for protocol in (0, 2, 4):
        path = folder / f"good{protocol}.pkl"
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        yield path


def _models(folder: Path) -> Iterator[Path]:
    from dtalk.checkpoint import save_model
    from dtalk.config import ModelConfig
    from dtalk.model import DiffusionTalker

    widths = dict.fromkeys(
        ("encoder_width", "feature_width", "token_width", "contrast_width", "embedding_width",
         "step_width", "hidden_width"), 4,
    )  # fmt: skip
    config = ModelConfig(("a",), ("happy", "sad"), layers=1, tokens=1, **widths)  # type: ignore[arg-type]
    save_model(DiffusionTalker(config), folder / "good.safetensors")
    yield folder / "good.safetensors"


def _images(folder: Path) -> Iterator[Path]:
    for kind in ("png", "jpg", "webp"):
        Image.new("RGB", (9, 7), (200, 100, 50)).save(folder / f"good.{kind}")
        yield folder / f"good.{kind}"


def _clips(folder: Path) -> Iterator[Path]:
    rows = "".join(f"c{k},crema,train,ann,happy,1.0,30,c{k}.wav,c{k}.npz\n" for k in range(5))
    header = "clip,set,split,speaker,emotion,seconds,frames,audio,motion\n"
    (folder / "good.csv").write_text(header + rows)
    yield folder / "good.csv"


def _recipes(folder: Path) -> Iterator[Path]:
    text = '# a recipe\nupdates = 100\nlearning_rate = 1e-3\nencoder = "mel"\nlayer = [1, 2]\n'
    (folder / "good.toml").write_text(text)
    yield folder / "good.toml"


def _sounds(kinds: tuple[str, ...], folder: Path) -> Iterator[Path]:
    times = np.arange(3200) / 16000
    soundfile.write(folder / "sound.wav", 0.5 * np.sin(2 * np.pi * 220 * times), 16000)
    for kind in kinds:
        path = folder / f"good.{kind}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i"]
        subprocess.run([*command, folder / "sound.wav", path], check=True)
        yield path
