"""The layers of the package: every import goes down, and none in a circle.

Imports in functions and those for type checkers count too: whoever reads a module has to follow
them as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dtalk"

#: Files and folders of the package, from the top. What stands in one line may import from below
#: and, in one direction, from its neighbours.
LAYERS = (
    ("__init__", "__main__"),
    ("cli",),
    ("live",),  # streaming
    ("training", "video"),
    ("evaluation", "rendering"),
    ("inference", "engine"),  # engine: other runtimes than torch
    ("checkpoint", "data"),
    ("model",),
    ("diffusion", "heads", "speech"),
    ("nn",),
    ("motion",),
    ("config",),
    ("utils",),
    ("errors", "version"),
)
HEIGHT = {room: -number for number, rooms in enumerate(LAYERS) for room in rooms}

Sources = Mapping[str, str]
"""Text by module: ``dtalk.speech.audio``, and ``dtalk.speech`` for its ``__init__``."""


def sources(package: Path) -> dict[str, str]:
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


def imported(text: str, modules: Iterable[str]) -> set[str]:
    """Modules of the package that a text imports, wherever in it."""
    known = set(modules)
    return {name if name in known else name.rpartition(".")[0] for name in _named(ast.parse(text))}


def _named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not followed"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [str(a.value) for a in node.args if isinstance(a, ast.Constant)]
        yield from (name for name in names if name.split(".")[0] == "dtalk")


def room(module: str) -> str:
    """The file or folder of the package that a module is or lies in."""
    return [*module.split("."), "__init__"][1]


def arrows(modules: Sources) -> dict[str, set[str]]:
    return {name: imported(text, modules) - {name} for name, text in modules.items()}


def upward(modules: Sources) -> list[str]:
    return [
        f"{name} -> {other}"
        for name, others in arrows(modules).items()
        for other in sorted(others)
        if HEIGHT[room(other)] > HEIGHT[room(name)]
    ]


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """What is left when all that imports nothing of the rest is taken away, again and again."""
    left = dict(graph)
    while free := [name for name, others in left.items() if not others & set(left)]:
        left = {name: others for name, others in left.items() if name not in free}
    return sorted(left)


def rooms(modules: Sources) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for name, others in arrows(modules).items():
        graph.setdefault(room(name), set()).update({room(o) for o in others} - {room(name)})
    return graph


class TestThePackage:
    def test_every_room_has_a_layer(self):
        assert set(map(room, sources(PACKAGE))) - {"assets"} <= set(HEIGHT)

    def test_no_arrow_upward(self):
        assert upward(sources(PACKAGE)) == []

    def test_no_circle_of_modules(self):
        assert circle(arrows(sources(PACKAGE))) == []

    def test_no_circle_of_rooms(self):
        assert circle(rooms(sources(PACKAGE))) == []

    def test_at_most_24_rooms(self):
        assert len([p for p in PACKAGE.iterdir() if p.name != "__pycache__"]) <= 24

    def test_no_module_over_400_lines_but_the_networks(self):
        long = {name for name, text in sources(PACKAGE).items() if text.count("\n") > 400}
        assert long <= {"dtalk.model"}


UPWARD = "from dtalk.training.trainer import Trainer\n"
FORMS = {
    "plain": UPWARD,
    "module": "import dtalk.training.trainer\n",
    "from the folder": "from dtalk.training import trainer\n",
    "lazy": "def f():\n    from dtalk.training.trainer import Trainer\n",
    "of a method": "class A:\n    def f(self):\n        import dtalk.training.trainer as t\n",
    "for types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    " + UPWARD,
    "by name": "from importlib import import_module\nimport_module('dtalk.training.trainer')\n",
}


@pytest.mark.parametrize("form", FORMS)
class TestTheCheck:
    """On made-up packages: what it must find."""

    def test_an_upward_import(self, form):
        made = {"dtalk.motion.curves": FORMS[form], "dtalk.training.trainer": ""}
        assert upward(made) == ["dtalk.motion.curves -> dtalk.training.trainer"]

    def test_an_upward_import_in_the_real_package(self, form):
        real = sources(PACKAGE)
        real["dtalk.motion.curves"] += FORMS[form]
        assert upward(real) == ["dtalk.motion.curves -> dtalk.training.trainer"]

    def test_a_circle(self, form):
        made = {
            "dtalk.training.trainer": "from dtalk.training.losses import contrast\n",
            "dtalk.training.losses": FORMS[form],
            "dtalk.training": "",
            "dtalk.motion.curves": "",
        }
        assert upward(made) == []
        assert circle(arrows(made)) == ["dtalk.training.losses", "dtalk.training.trainer"]


def test_neighbours_may_not_import_each_other():
    made = {
        "dtalk.video.mp4": UPWARD,
        "dtalk.training.trainer": "",
        "dtalk.training.stages": "import dtalk.video.mp4",
    }
    assert upward(made) == []
    assert circle(arrows(made)) == []
    assert circle(rooms(made)) == ["training", "video"]


def test_downward_imports_are_allowed():
    made = {"dtalk.training.trainer": "from dtalk.errors import DataError", "dtalk.errors": ""}
    assert upward(made) == circle(arrows(made)) == circle(rooms(made)) == []
