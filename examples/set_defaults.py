"""Copy a model with other defaults for sampling, which are chosen after training.

    python examples/set_defaults.py run/model.safetensors weights/student.safetensors \\
        --temperature 0.4 --emotion-strength 3 --note "where it comes from"
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from dtalk.checkpoint import load_model, read_description, save_model

LICENCE = "CC BY-NC-SA 4.0, non-commercial; see weights/README.md"


def main() -> None:
    """Read, change, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--note", default="", help="how the model was made")
    parser.add_argument("--licence", default=LICENCE, help="of the weights")
    for name in ("temperature", "upper-temperature", "emotion-strength"):
        parser.add_argument(f"--{name}", type=float)
    parser.add_argument("--steps", type=int)
    for name in ("close-in-silence", "blinks"):
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction)
    parser.add_argument("--half", action="store_true", help="16 bits a number in the file")
    parser.add_argument("--retrieval", choices=("soft", "hard"))
    asked = vars(parser.parse_args())
    source, out, half = (asked.pop(name) for name in ("model", "out", "half"))
    said = {name: asked.pop(name) for name in ("note", "licence")}
    model, about = load_model(source), read_description(source)
    changes = {name: value for name, value in asked.items() if value is not None}
    model.config = dataclasses.replace(model.config, **changes)
    kept: dict[str, Any] = {
        key: about[key] for key in ("settings", "update", "seconds") if key in about
    }
    save_model(model, out, {**kept, **said}, half)


if __name__ == "__main__":
    main()
