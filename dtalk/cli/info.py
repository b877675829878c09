"""``dtalk info``: the models that ship, and what a file holds."""

from __future__ import annotations

import csv
import json as jsons
import math
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from dtalk.errors import CheckpointError, DtalkError, HeadError, MotionError, VideoError

Facts = dict[str, Any]
"""What is known of a file, by name; plain values, as json has them."""

_SHOWN = 8  # labels of a long list
_COLUMNS = 80


def info(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="a motion, sound, head, model, video, page or picture [the models that ship]"
        ),
    ] = None,
    json: Annotated[bool, typer.Option(help="print json")] = False,
) -> None:
    """Show the models that ship with dtalk, or what a file holds."""
    found = [facts_of(file)] if file is not None else shipped()
    if json:
        typer.echo(jsons.dumps(found if file is None else found[0], indent=2))
    else:
        typer.echo("\n\n".join(map(_lines, found)))


def shipped() -> list[Facts]:
    """Describe the models that ship."""
    from dtalk.inference import weights_folder

    return [model_facts(path) for path in sorted(weights_folder().glob("*.safetensors"))]


def facts_of(path: Path) -> Facts:
    """Describe a file of any kind that dtalk reads.

    Raises:
        DtalkError: missing, or of no kind that is known.
    """
    from dtalk.inference import SHIPPED, model_path

    if not path.exists() and str(path) in SHIPPED:
        path = model_path(path)
    if not path.is_file():
        what = "is a folder; name a file in it" if path.is_dir() else "does not exist"
        raise DtalkError(f"cannot read {path}: it {what}")
    return _reader_of(path)(path)


def _reader_of(path: Path) -> Callable[[Path], Facts]:
    from dtalk.motion.files import FORMATS
    from dtalk.speech.audio import AUDIO_SUFFIXES
    from dtalk.utils.glb import READ_SUFFIXES
    from dtalk.video.facts import (
        PAGE_SUFFIXES,
        PICTURE_SUFFIXES,
        VIDEO_SUFFIXES,
        page_facts,
        picture_facts,
    )

    readers: dict[str, Callable[[Path], Facts]] = {
        **dict.fromkeys((f".{name}" for name in FORMATS), motion_facts),
        ".npz": _npz_facts,
        ".json": _table_facts,
        ".csv": _table_facts,
        ".safetensors": model_facts,
        ".onnx": graph_facts,
        ".pt": state_facts,
        **dict.fromkeys(AUDIO_SUFFIXES, sound_facts),
        **dict.fromkeys(READ_SUFFIXES, glb_facts),
        **dict.fromkeys(PAGE_SUFFIXES, page_facts),
        **dict.fromkeys(PICTURE_SUFFIXES, picture_facts),
        **dict.fromkeys(VIDEO_SUFFIXES, _film_facts),
    }
    return readers.get(path.suffix.lower(), _other_facts)


def model_facts(path: Path) -> Facts:
    """Describe a model: licence, size, labels and settings."""
    from safetensors import safe_open

    from dtalk.checkpoint import read_description

    about = read_description(path)
    with safe_open(path, framework="np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    parameters = sum(math.prod(shape) for shape in shapes)
    size = {
        "parameters": parameters,
        "megabytes": round(4 * parameters / 1e6, 2),  # as the paper counts size
    }
    return {**_file_facts(path, "model"), **size, **_described(about)}


def graph_facts(path: Path) -> Facts:
    """Describe an exported model: licence, labels and settings."""
    from dtalk.engine.graph import Graph

    graph = Graph(path, threads=1)
    named = {"weights": str(graph.files[-1])} if graph.is_external else {}
    about = _described(graph.description)
    return {**_file_facts(path, "graph"), **named, **about, "steps": graph.steps}


def _file_facts(path: Path, kind: str) -> Facts:
    return {"file": str(path), "kind": kind, "bytes": path.stat().st_size}


def _described(about: Mapping[str, Any]) -> Facts:
    """Say what a model's description says."""
    config = about["config"]
    return {
        "licence": about.get("licence", "unknown"),
        "steps": config.get("steps"),
        "encoder": config.get("encoder"),
        "emotions": list(config.get("emotions", ())),
        "identities": list(config.get("identities", ())),
        "note": about.get("note", ""),
    }


def motion_facts(path: Path) -> Facts:
    """Describe a motion: length, rate, provenance and what moves."""
    from dtalk.motion.arkit import ARKIT_NAMES
    from dtalk.motion.curves import provenance
    from dtalk.motion.files import is_flame, read_motion

    motion = read_motion(path)
    fitted = {"flame_parameters": True} if is_flame(path) else {}
    moving = motion.coefficients.max(axis=0) > motion.coefficients.min(axis=0)
    still = [name for name, moves in zip(ARKIT_NAMES, moving, strict=True) if not moves]
    return {
        "file": str(path),
        "kind": "motion",
        "frames": len(motion),
        "fps": motion.fps,
        "seconds": round(motion.duration, 3),
        **provenance(motion),
        "head_rotation": motion.head_rotation is not None,
        "lowest": round(float(motion.coefficients.min()), 4),
        "highest": round(float(motion.coefficients.max()), 4),
        "still": still,
        **fitted,
    }


def sound_facts(path: Path) -> Facts:
    """Describe a sound: its length as it is animated."""
    from dtalk.speech.audio import SAMPLE_RATE, frame_count, speech_blocks

    samples = sum(map(len, speech_blocks(path)))
    return {
        "file": str(path),
        "kind": "sound",
        "seconds": round(samples / SAMPLE_RATE, 3),
        "frames": frame_count(samples),
        "bytes": path.stat().st_size,
    }


def _film_facts(path: Path) -> Facts:
    """Describe a video, or a sound in a file for videos."""
    from dtalk.video.facts import video_facts

    try:
        return video_facts(path)
    except VideoError as refusal:
        try:
            return sound_facts(path)
        except DtalkError:
            raise refusal from None


def glb_facts(path: Path) -> Facts:
    """Describe an avatar: its ARKit shapes, meshes with some, and its animation."""
    from dtalk.motion.arkit import ARKIT_NAMES
    from dtalk.motion.gltf import channels_of, find_targets
    from dtalk.motion.gltf_joints import head_node
    from dtalk.utils.glb import Glb, GlbError

    try:
        glb = Glb.load(path)
        targets = find_targets(glb)
        joint = head_node(glb)
    except GlbError as error:
        raise HeadError(f"cannot use head {path}: {error}") from error
    reached = channels_of(targets)
    facts: Facts = {
        "file": str(path),
        "kind": "head",
        "shapes": int(reached.sum()),
        "other_targets": sum(int((~table.any(axis=0)).sum()) for table in targets.values()),
        "meshes": len(targets),
        "missing": [name for name, there in zip(ARKIT_NAMES, reached, strict=True) if not there],
        "turns_its_head": joint is not None,
        "extensions": list(glb.content.get("extensionsUsed", ())),
        "animations": len(glb.objects("animations")),
    }
    try:
        motion = motion_facts(path)
    except MotionError:
        return facts
    return {**motion, **facts}


def state_facts(path: Path) -> Facts:
    """Describe the state of a training run that can go on.

    Raises:
        CheckpointError: another file, or a damaged one.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        done, seconds = int(state["update"]), float(state["seconds"])
        parameters = sum(tensor.numel() for tensor in state["model"].values())
    except Exception as error:  # torch raises many kinds
        raise CheckpointError(f"cannot read {path}: no state of a training run") from error
    run = {"updates": done, "seconds": round(seconds), "parameters": parameters}
    return {**_file_facts(path, "training state"), **run}


def _table_facts(path: Path) -> Facts:
    """Describe a table or json of curves, or what ``dtalk evaluate`` writes."""
    try:
        return motion_facts(path)
    except MotionError:
        facts = evaluation_facts(path)
        if facts is None:
            raise
        return facts


def evaluation_facts(path: Path) -> Facts | None:
    """Describe figures (json) or clips (csv) of an evaluation; None if it is something else."""
    try:
        if path.suffix.lower() == ".json":
            systems = list(jsons.loads(path.read_text(encoding="utf-8"))["systems"])
            return {**_file_facts(path, "evaluation"), "systems": systems}
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        systems = list(dict.fromkeys(row["system"] for row in rows))
        clips = len({(row["set"], row["clip"]) for row in rows})
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        return None
    return {**_file_facts(path, "evaluation"), "systems": systems, "clips": clips}


def _npz_facts(path: Path) -> Facts:
    """Describe an npz: motion, else a head, else a FLAME model."""
    try:
        return motion_facts(path)
    except MotionError:
        for other in (head_facts, flame_facts):
            try:
                return other(path)
            except DtalkError:
                continue
        raise


def head_facts(path: Path) -> Facts:
    """Describe a head as dtalk keeps them."""
    from dtalk.heads.head import Head

    head = Head.load(path)
    counts = {"vertices": len(head.vertices), "triangles": len(head.faces)}
    return {**_file_facts(path, "head"), "model": "dtalk", **counts, "shapes": len(head.names)}


def flame_facts(path: Path) -> Facts:
    """Describe a FLAME model."""
    from dtalk.heads.flame import read_flame

    flame = read_flame(path)
    return {
        "file": str(path),
        "kind": "head",
        "model": "FLAME",
        "vertices": len(flame.template),
        "triangles": len(flame.faces),
        "expressions": flame.expressions.shape[2],
    }


def _other_facts(path: Path) -> Facts:
    """Describe a FLAME pickle, a mesh, or sound under an unknown name."""
    from dtalk.heads.mesh_files import read_mesh

    if path.suffix.lower() == ".pkl":
        return flame_facts(path)
    try:
        vertices, faces = read_mesh(path)
    except HeadError:
        try:
            return sound_facts(path)
        except DtalkError:
            kinds = "neither motion, sound, head nor model"
            raise DtalkError(f"cannot tell what {path} is: {kinds}") from None
    counts = {"vertices": len(vertices), "triangles": len(faces)}
    return {"file": str(path), "kind": "head", "model": "mesh", **counts}


def _lines(facts: Mapping[str, Any]) -> str:
    """One line a fact; long lists are cut."""
    from dtalk.cli.console import printable

    shown = {
        key.replace("_", " "): printable(_text(value))
        for key, value in facts.items()
        if value not in ("", [])
    }
    width = max(map(len, shown)) + 2
    return "\n".join(
        textwrap.fill(
            value,
            _COLUMNS,
            initial_indent=f"{key:<{width}}",
            subsequent_indent=" " * width,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for key, value in shown.items()
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        rest = f" and {len(value) - _SHOWN} more" if len(value) > _SHOWN else ""
        return f"{len(value)}: {', '.join(map(str, value[:_SHOWN]))}{rest}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
