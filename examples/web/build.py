"""Gather the page of this folder into one that any static server can hand out.

It holds the page, the viewer that dtalk puts into its own pages, ONNX Runtime for browsers (from
npm), a model, and the built-in head.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from dtalk.config import DEFAULT_LOOK, DEFAULT_OPTIONS
from dtalk.engine.graph import Graph
from dtalk.errors import DtalkError
from dtalk.heads.gltf import head_glb
from dtalk.heads.head import built_in
from dtalk.inference import graph_path, model_path
from dtalk.motion.arkit import ARKIT_NAMES, LIDS, OPEN_LIDS, PARTING_CHANNELS
from dtalk.motion.curves import FPS
from dtalk.motion.gaze import DOWNWARD, SIDEWAYS, UPWARD
from dtalk.video.html import VIEWER, wall_style
from dtalk.video.web_head import pack_head

HERE = Path(__file__).resolve().parent
PAGES = ("*.html", "*.css", "*.js")
RUNTIME = HERE / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


def build(site: Path, weights: Path | None = None, runtime: Path = RUNTIME) -> None:
    """Write the page and all that it fetches into the folder ``site``.

    Raises:
        DtalkError: the model has no graph beside it, or ONNX Runtime is not installed.
    """
    missing = [name for name in RUNTIME_FILES if not (runtime / name).is_file()]
    if missing:
        raise DtalkError(f"no {missing[0]} in {runtime}: run npm install in {HERE}")
    graph = Graph(graph_path(model_path(weights)))
    _copy(HERE, site, PAGES)
    _copy(Path(str(VIEWER)), site / "viewer", ("*.css", "*.js"))
    with (site / "viewer" / "viewer.css").open("a", encoding="utf-8") as style:
        style.write(wall_style(DEFAULT_LOOK.background))
    _copy(runtime, site / "onnxruntime", RUNTIME_FILES)
    for file in graph.files:
        shutil.copy(file, site)
    (site / "model.json").write_text(json.dumps(description(graph)), encoding="utf-8")
    (site / "head.bin").write_bytes(pack_head(built_in(), DEFAULT_LOOK))
    head_glb(built_in()).save(site / "head.glb")


def description(graph: Graph) -> dict[str, Any]:
    """What the page must know of a model beside its graph."""
    config = graph.config
    return {
        "graph": graph.path.name,
        "external": [file.name for file in graph.files[1:]],
        "name": graph.path.stem,
        "identities": config.identities,
        "emotions": config.emotions,
        "emotion_strength": config.emotion_strength,
        "emotion_threshold": DEFAULT_OPTIONS.emotion_threshold,
        "features": config.feature_width,
        "close_in_silence": config.close_in_silence,
        "blinks": config.blinks,
        "names": ARKIT_NAMES,
        "parting": PARTING_CHANNELS,
        "lids": LIDS,
        "open_lids": OPEN_LIDS,
        "fps": FPS,
        "gaze": (SIDEWAYS, DOWNWARD, UPWARD),
    }


def _copy(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in (found for pattern in patterns for found in source.glob(pattern)):
        shutil.copy(path, target)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, nargs="?", default=HERE / "site", help="folder [site]")
    parser.add_argument("--weights", type=Path, help="model file with a graph beside it [student]")
    arguments = parser.parse_args()
    try:
        build(arguments.site, arguments.weights)
    except DtalkError as error:
        sys.exit(f"error: {error}")
    print(f"python3 -m http.server -d {arguments.site}   # then open http://localhost:8000")


if __name__ == "__main__":
    main()
