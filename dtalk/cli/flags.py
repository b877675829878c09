"""Flags made from the fields of settings: one name, default and limit for both."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_type_hints

import typer

from dtalk.config import MOST_THREADS
from dtalk.utils.settings import EVERYDAY, MACHINE, REPORTS, setting

Force = Annotated[bool, typer.Option("--force", "-f", help="replace outputs that exist")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="file or folder [beside the input]")]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", help="npz, csv, json, glb or flame; may be repeated [npz]"),
]
Threads = Annotated[
    int | None,
    typer.Option(help="CPU threads [all]", min=1, max=MOST_THREADS, rich_help_panel=MACHINE),
]
Settings = dict[str, Any]
"""Values of flags by name."""


@dataclass(frozen=True)
class Reporting:
    """What a command prints about its work."""

    group: ClassVar[str] = REPORTS

    quiet: bool = setting(False, "print errors only")
    json: bool = setting(False, "print a line of json a file, and the progress on stderr as json")


_reporting = Reporting()


def report_as(chosen: Reporting) -> None:
    """Choose whether errors and warnings are for people or for programs, until the next command."""
    global _reporting
    _reporting = chosen


def reporting() -> Reporting:
    """Get what was chosen last."""
    return _reporting


def _flagged(settings: type) -> list[Field[Any]]:
    """List the fields of a settings class that become flags."""
    return [f for f in fields(settings) if f.metadata and f.default is not MISSING]


def _former(name: str, field: Field[Any], kind: Any) -> inspect.Parameter:
    """Make the hidden option by another name of a setting; None where it is not given."""
    new = field.name.replace("_", "-")
    option = typer.Option(hidden=True, help=f"another name of --{new}")
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=None, annotation=Annotated[kind | None, option])


def _flag(settings: type, field: Field[Any], kind: Any) -> inspect.Parameter:
    """A field of a settings class as an option of type ``kind``, with its default and its help."""
    default, choices = field.default, field.metadata["choices"]
    if isinstance(default, tuple):
        # Typer knows no lists of literals.
        single: Any = Enum("Choice", {c: c for c in choices}) if choices else get_args(kind)[0]
        kind, default = list[single], []
    elif choices:
        kind = Literal[choices]
    number = kind in (int, float, int | None, float | None)
    limits = {"min": field.metadata["least"], "max": field.metadata["most"]} if number else {}
    group = field.metadata["group"] or getattr(settings, "group", EVERYDAY)
    option = typer.Option(help=field.metadata["help"], rich_help_panel=group, **limits)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(
        field.name, keyword, default=default, annotation=Annotated[kind, option]
    )


def takes(*classes: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for every setting of ``classes`` that it has no parameter for itself.

    The command is called with one dictionary of their values for each class, after its own flags.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own[: -len(classes)]]
        taken = {p.name for p in own}
        chosen = {cls: [f for f in _flagged(cls) if f.name not in taken] for cls in classes}
        kinds = {cls: get_type_hints(cls) for cls in classes}
        flags = [_flag(cls, f, kinds[cls][f.name]) for cls in classes for f in chosen[cls]]
        renamed = [
            (old, f, kinds[cls][f.name])
            for cls in classes
            for f in chosen[cls]
            for old in f.metadata["was"]
        ]
        former = [_former(*other) for other in renamed]

        @wraps(function)
        def command(**values: Any) -> None:
            for old, field, _ in renamed:
                given = values.pop(old)
                if given is not None:
                    values[field.name] = given
            settings = [{f.name: values.pop(f.name) for f in chosen[cls]} for cls in classes]
            function(*(values[p.name] for p in own), *settings)

        parameters = [*own, *flags, *former]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def as_tuples(flags: Settings) -> Settings:
    """Turn the lists of repeatable flags into tuples, as the settings have them."""

    def plain(value: Any) -> Any:
        return value.value if isinstance(value, Enum) else value

    return {k: tuple(map(plain, v)) if isinstance(v, list) else v for k, v in flags.items()}
