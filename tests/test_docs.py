"""The documentation: its commands are understood, its links lead somewhere, its promises hold."""

from __future__ import annotations

import re
import shlex
import shutil
from itertools import takewhile
from pathlib import Path

import pytest
from typer.main import get_command

from dtalk.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "weights/*.md", "examples/**/*.md", "dtalk/assets/*.md")
    for path in ROOT.glob(pattern)
    if "node_modules" not in path.parts
)
RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.toml"))
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
README_WORDS = 1500
SHOWN = re.MULTILINE | re.DOTALL


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """All calls of dtalk in a page's blocks of shell commands."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, SHOWN)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    calls = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("dtalk ")]
    return [list(takewhile(lambda word: word not in (">", "|"), call)) for call in calls]


def links(text: str) -> list[str]:
    """What a page links to, outside its blocks of code."""
    prose = re.sub(r"^```.*?^```", "", text, flags=SHOWN)
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors(text: str) -> set[str]:
    """The names by which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def understood(arguments: list[str]) -> None:
    """Fail where a command is unknown, a flag misspelled or missing, or an earlier name is used."""
    command, *rest = arguments
    context = COMMANDS[command].make_context(command, [*rest])
    assert context.params
    earlier = [o for o in COMMANDS[command].params if getattr(o, "hidden", False)]
    hidden = {flag for option in earlier for flag in (*option.opts, *option.secondary_opts)}
    assert hidden.isdisjoint(word.partition("=")[0] for word in rest)


DOCUMENTED = [(page, arguments) for page in PAGES for arguments in commands(text_of(page))]


@pytest.mark.parametrize(
    ("page", "arguments"), DOCUMENTED, ids=[f"{name(p)}: {' '.join(a)}" for p, a in DOCUMENTED]
)
def test_commands_are_understood(page, arguments, tmp_path, monkeypatch):
    """In a folder that holds the recipes and the files that the page shows."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples" / "recipes", "examples/recipes")
    for file, content in re.findall(r"^```toml\n# (\S+)\n(.*?)^```", text_of(page), SHOWN):
        Path(file).write_text(content, encoding="utf-8")
    understood(arguments)


def test_the_readme_shows_every_command():
    shown = {arguments[0] for arguments in commands(text_of(ROOT / "README.md"))}
    assert shown >= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for link in links(text_of(page)):
        place, _, anchor = link.partition("#")
        if place.startswith(("https://", "http://")):
            continue
        target = page.parent / place if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(text_of(target)), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_are_ascii_or_typography(page):
    """No character that a terminal or an editor may not show."""
    allowed = set("†°·×äöüßéēłŁąĄ²³√≥≤→–—%")
    assert set(re.findall(r"[^\x00-\x7f]", text_of(page))) <= allowed


def test_links_are_found():
    text = "[a](b.md) ![c](d.png)\n```\n[e](f)\n```\n[g](h.md#i)"
    assert links(text) == ["b.md", "d.png", "h.md#i"]
    assert anchors("# Its way, or not?\n## FLAME's parameters\n") == {
        "its-way-or-not",
        "flames-parameters",
    }


def test_an_earlier_name_is_not_for_the_documentation():
    understood(["animate", "a.wav", "--no-close-in-silence"])
    with pytest.raises(AssertionError):
        understood(["animate", "a.wav", "--rest"])


class TestReadme:
    text = text_of(ROOT / "README.md")

    def test_length(self):
        assert len(self.text.split()) <= README_WORDS

    def test_the_licence_of_the_weights_is_in_the_first_screen(self):
        first = "\n".join(self.text.splitlines()[:24])
        assert "non-commercial" in first
        assert "CC BY-NC-SA 4.0" in first

    def test_the_line_that_runs_the_tests(self):
        start = "python3 -m venv .venv && "
        lines = [line for line in self.text.splitlines() if line.startswith(start)]
        assert len(lines) == 1
        assert lines[0].endswith(" -m pytest -n auto --dist loadfile")
        assert f"grep '^{start}' README.md" in text_of(ROOT / ".ci" / "run")

    def test_the_two_commands_and_a_picture(self):
        assert "bash examples/demo.sh" in self.text.splitlines()
        assert self.text.index("examples/pictures/") < self.text.index("bash examples/demo.sh")


class TestContributing:
    text = text_of(ROOT / "CONTRIBUTING.md")

    def test_every_folder_and_module_of_the_package_is_on_the_map(self):
        package = ROOT / "dtalk"
        named = set(re.findall(r"`([\w.]+)/?`", self.text))
        parts = [p for p in package.iterdir() if not p.name.startswith(("_", "py.typed"))]
        assert {part.name for part in parts} - {"assets"} <= named

    def test_what_is_on_the_map_is_there(self):
        tests = set(re.findall(r"`(tests/[\w/.]+)`", self.text))
        assert len(tests) > 15
        assert [place for place in tests if not (ROOT / place).exists()] == []


class TestPaper:
    text = text_of(ROOT / "docs" / "paper.md")

    def test_files_and_names_are_there(self):
        cells = re.findall(r"`((?:dtalk|examples)/[\w/.]+)`((?:, `|: `)[^|;]*)?", self.text)
        assert len(cells) > 15
        for place, names in cells:
            assert (ROOT / place).exists(), place
            code = text_of(ROOT / place) if names else ""
            for defined in re.findall(r"`(\w+)`", names):
                assert re.search(rf"(?:def|class) {defined}\b", code), f"{defined} in {place}"

    def test_every_equation_has_a_place(self):
        first = self.text.partition("## Where we differ")[0]
        rows = re.findall(r"^\| ([\d, ]+) \|", first, re.MULTILINE)
        numbers = {int(number) for row in rows for number in row.split(",")}
        assert numbers == set(range(1, 17))


class TestRecipes:
    @pytest.mark.parametrize("recipe", RECIPES, ids=name)
    def test_its_command_is_understood(self, recipe, monkeypatch):
        """The comment at its top says how it is used."""
        monkeypatch.chdir(ROOT)
        comment = re.sub(r"\\\n#", " ", text_of(recipe))
        found = re.findall(r"^#\s+dtalk (.+)$", comment, re.MULTILINE)
        assert found
        for line in found:
            arguments = shlex.split(line)
            assert f"--config {name(recipe)}" in " ".join(arguments)
            understood(arguments)

    def test_there_are_some(self):
        assert len(RECIPES) > 2
