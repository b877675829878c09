"""``dtalk export``: write a model as a graph that needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dtalk.cli.flags import Force
from dtalk.config import MOST_STEPS


def export(
    model: Annotated[Path, typer.Argument(help="model file, or student or open, which ship")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="the graph [beside the model, .onnx]")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="denoising steps [the model's own]", min=1, max=MOST_STEPS),
    ] = None,
    external: Annotated[
        bool,
        typer.Option("--external", help="leave the weights in the model's file, beside the graph"),
    ] = False,
    force: Force = False,
) -> None:
    """Write a model as one ONNX graph.

    animate and render take it where it lies beside the model, and then need no torch.
    """
    from dtalk.cli.console import out as console
    from dtalk.engine.export import export_file
    from dtalk.inference import graph_path, model_path
    from dtalk.utils.jobs import check_outputs

    path = model_path(model)
    place = out or graph_path(path)
    check_outputs([place], force)
    export_file(path, place, steps, external)
    console.print(str(place), markup=False, highlight=False)
