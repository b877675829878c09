"""``--help`` with flags and commands in groups, in plain text.

A flag's group is its ``rich_help_panel``. Typer shows it only in boxes, which cut long flags short.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from dtalk.utils.settings import EVERYDAY, GROUPS

Rows = list[tuple[str, str]]
COLUMN = (
    28  # of the explanations, unless all flags are shorter; longer ones have a line of their own
)


class GroupedCommand(TyperCommand):
    """A command whose flags are listed in the groups of :data:`.GROUPS`."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then a section a group."""
        records = [
            (parameter, parameter.get_help_record(ctx)) for parameter in self.get_params(ctx)
        ]
        shown = [(parameter, record) for parameter, record in records if record is not None]
        arguments = [row for parameter, row in shown if parameter.param_type_name == "argument"]
        options = [pair for pair in shown if pair[0].param_type_name == "option"]
        write_sections(formatter, [("Arguments", arguments), *in_groups(options)])


class GroupedApp(TyperGroup):
    """The program, whose commands are listed in groups, each with the start of its help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section a group."""
        names = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        commands = [(name, command) for name, command in names if command and not command.hidden]
        width = max((len(name) for name, _ in commands), default=0)
        limit = formatter.width - width - 6
        rows = [(command, (name, command.get_short_help_str(limit))) for name, command in commands]
        write_sections(formatter, in_groups(rows))


def in_groups(members: Iterable[tuple[Any, tuple[str, str]]]) -> Iterator[tuple[str, Rows]]:
    """Help records by the group of the flag or command that they explain, in the usual order."""

    def group(member: tuple[Any, tuple[str, str]]) -> str:
        return getattr(member[0], "rich_help_panel", None) or EVERYDAY

    ordered = sorted(members, key=lambda member: GROUPS.index(group(member)))
    for name, found in groupby(ordered, group):
        yield name, [record for _, record in found]


def write_sections(formatter: Any, sections: Iterable[tuple[str, Rows]]) -> None:
    """Write named lists of terms and explanations, with one column for all explanations."""
    sections = [(name, rows) for name, rows in sections if rows]
    terms = [len(term) for _, rows in sections for term, _ in rows]
    column = min(COLUMN, max(terms, default=0))
    for name, rows in sections:
        with formatter.section(name):
            aligned = [(term.ljust(column), text) for term, text in rows]
            formatter.write_dl(aligned, col_max=column)


class App(typer.Typer):
    """A typer application whose ``--help`` is in groups."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=GroupedApp, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Add a command; ``rich_help_panel`` is its group."""
        return super().command(name, **{"cls": GroupedCommand, **settings})
