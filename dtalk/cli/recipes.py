"""Settings from a TOML file: ``--config FILE.toml``.

A key is a flag without its dashes, ``learning-rate = 0.001``; a flag that may be repeated takes a
list. The values become the defaults of the command line, so that flags win over them and both are
checked alike.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dtalk.errors import DtalkError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_IN_FILES = ("config", "help")


def use_recipe(context: typer.Context, path: Path | None) -> Path | None:
    """Make the settings of a file the defaults of the command that is being read.

    Raises:
        DtalkError: the file cannot be read, or a key or value is not one of the command.
    """
    if path is not None and not context.resilient_parsing:
        context.default_map = _defaults(read_recipe(path), context, path)
    return path


Recipe = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        is_eager=True,
        callback=use_recipe,
        help="settings from a file, a key a flag; flags win over it",
    ),
]


def read_recipe(path: Path) -> dict[str, Any]:
    """The keys and values of a TOML file.

    Raises:
        DtalkError: it is missing, cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DtalkError(f"no such file: {path}") from error
    except OSError as error:
        raise DtalkError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # of the syntax, and of text that is not UTF-8
        raise DtalkError(f"{path} is no TOML file, or damaged: {error}") from error


def _defaults(recipe: dict[str, Any], context: typer.Context, path: Path) -> dict[str, Any]:
    """Values by parameter, as text where the command line has text."""
    options = {
        parameter.name: parameter
        for parameter in context.command.params
        if parameter.param_type_name == "option" and parameter.name not in NOT_IN_FILES
    }
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        name = key.replace("-", "_")
        if name not in options:
            command = f"dtalk {context.info_name}"
            raise DtalkError(f"{path}: `{key}` is no flag of {command}; see {command} --help")
        if name in found:
            raise DtalkError(f"{path}: `{key}` is there twice")
        found[name] = _checked(value, options[name], context, f"{path}: `{key}`")
    return found


def _checked(value: Any, option: Any, context: typer.Context, place: str) -> Any:
    """A value as its option takes it.

    Raises:
        DtalkError: the option would refuse it; ``place`` begins the message.
    """
    if option.is_flag:
        if not isinstance(value, bool):
            raise DtalkError(f"{place} is true or false, not {value!r}")
        return value
    if option.multiple:
        plain: Any = [
            _text(part, place) for part in (value if isinstance(value, list) else [value])
        ]
    else:
        plain = _text(value, place)
    try:
        option.process_value(context, plain)
    except typer.BadParameter as error:
        raise DtalkError(f"{place}: {error.message}") from error
    return plain


def _text(value: Any, place: str) -> str:
    """A number or text as it would stand on the command line."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DtalkError(f"{place} cannot be {value!r}")
    return str(value)
