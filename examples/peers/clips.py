"""Every clip of a work folder through a peer; runs in the peers' own environment, without dtalk.

``clips.json`` says what there is; a line of json for each clip goes to the file asked for: what
the peer found, or an ``error``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run(recognise: Callable[[Path, int], dict[str, Any]]) -> None:
    """``recognise(wav, frames)`` for all clips of the folder in argv[1], answers to argv[2]."""
    folder, answers = Path(sys.argv[1]), Path(sys.argv[2])
    clips = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    with answers.open("w", encoding="utf-8") as file:
        for clip in clips:
            try:
                found = recognise(folder / clip["wav"], clip["frames"])
            except Exception as error:  # whatever a peer stumbles over, the other clips go on
                found = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps({"clip": clip["clip"], **found}), file=file)
