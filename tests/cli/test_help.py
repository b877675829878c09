"""``--help``: plain text of 80 columns, flags and commands in groups."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass

import pytest
import typer
from helpers import run_dtalk
from typer.main import get_command

from dtalk import config
from dtalk.cli.app import app
from dtalk.cli.help import App, GroupedCommand, in_groups, write_sections
from dtalk.utils.settings import EVERYDAY, GROUPS, LOOK, MACHINE

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
CLASSES = [kind for kind in vars(config).values() if isinstance(kind, type) and is_dataclass(kind)]


def sections(text: str) -> dict[str, str]:
    """The text below each heading of a help page."""
    parts = re.split(r"^(\w[\w ]*):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


@pytest.fixture
def page(monkeypatch, capsys):
    """The help of a command, or without a name that of the program."""
    monkeypatch.setenv("COLUMNS", "200")

    def shown(*command: str) -> str:
        assert run_dtalk(monkeypatch, *command, "--help") == 0
        return capsys.readouterr().out

    return shown


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_plain_text_of_80_columns(page, command):
    text = page(*command)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert text.isascii()
    assert "\x1b" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_is_in_one_group(page, name):
    found = sections(page(name))
    groups = [heading for heading in found if heading != "Arguments"]
    assert groups == [group for group in GROUPS if group in groups]
    assert groups[0] == EVERYDAY
    listed = re.findall(r"^  (?:-\w, )?(--[\w-]+)", "".join(found.values()), re.MULTILINE)
    shown = [o for o in COMMANDS[name].params if not getattr(o, "hidden", False)]
    flags = [o.opts[0] for o in shown if o.param_type_name == "option"]
    assert sorted(listed) == sorted([*flags, "--help"])


def test_flags_stand_where_their_settings_say(page):
    found = sections(page("render"))
    assert "--camera" in found[LOOK]
    assert "--size" in found[LOOK]
    assert "--jobs" in found[MACHINE]
    assert "--emotion " in found[EVERYDAY]
    assert "--learning-rate" in sections(page("train"))["Optimisation"]


def test_commands_are_in_groups(page):
    found = sections(page())
    assert list(found) == ["Options", "Everyday", "Research"]
    assert "animate" in found["Everyday"]
    assert "train" in found["Research"]


def test_every_command_lists_its_flags_in_groups():
    assert all(isinstance(command, GroupedCommand) for command in COMMANDS.values())


def test_every_setting_has_a_known_group():
    found = {
        f.metadata.get("group") or getattr(kind, "group", EVERYDAY)
        for kind in CLASSES
        for f in fields(kind)
    }
    assert found <= set(GROUPS)
    assert len(found) > 5


def test_members_keep_their_order_in_a_group():
    class Flag:
        def __init__(self, group: str | None) -> None:
            self.rich_help_panel = group

    members = [(Flag(g), (t, "")) for g, t in ((MACHINE, "a"), (None, "b"), (MACHINE, "c"))]
    expected = [(EVERYDAY, [("b", "")]), (MACHINE, [("a", ""), ("c", "")])]
    assert list(in_groups(members)) == expected


def test_an_unknown_group_is_a_mistake_that_shows():
    class Flag:
        rich_help_panel = "Elsewhere"

    with pytest.raises(ValueError, match="not in tuple"):
        list(in_groups([(Flag(), ("a", ""))]))


def test_explanations_stand_in_one_column():
    from contextlib import contextmanager

    class Formatter:
        def __init__(self) -> None:
            self.lists: list[tuple[list[tuple[str, str]], int]] = []

        @contextmanager
        def section(self, name):
            yield

        def write_dl(self, rows, col_max):
            self.lists.append((rows, col_max))

    formatter = Formatter()
    write_sections(formatter, [("A", [("-a", "x")]), ("none", []), ("B", [("--long", "y")])])
    assert formatter.lists == [([("-a    ", "x")], 6), ([("--long", "y")], 6)]


def test_a_hidden_command_is_not_listed(capsys):
    made = App(rich_markup_mode=None, add_completion=False)

    @made.command()
    def shown() -> None:
        """Be seen."""

    @made.command(hidden=True)
    def hidden() -> None:
        """Be hidden."""

    with pytest.raises(SystemExit):
        get_command(made).main(["--help"])
    text = capsys.readouterr().out
    assert "Be seen." in text
    assert "hidden" not in text
    assert isinstance(made, typer.Typer)
