"""The package as a whole: what it imports, what it declares, what its archives hold."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import dtalk.errors
from dtalk.errors import DtalkError

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dtalk"
MODULES = {path.stem: path for path in PACKAGE.glob("*.py")}

# Names under which distributions are imported, where they differ.
IMPORTED_AS = {"pyrender2": "pyrender", "imageio-ffmpeg": "imageio_ffmpeg"}

#: Modules that know nothing of models: usable, and quick to import, without torch.
LIGHT = ("errors", "files", "motion", "channels", "live_link", "motion_files", "audio")


def project() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def declared(table: str) -> set[str]:
    """Import names of the requirements in a list of pyproject.toml (tomllib needs 3.11)."""
    match = re.search(rf"^{table} = (\[.*?^\]|\[[^\n]*\])$", project(), re.MULTILINE | re.DOTALL)
    assert match, table
    names = re.findall(r'^\W*"([A-Za-z0-9_-]+)', match[1], re.MULTILINE)
    return {IMPORTED_AS.get(name, name) for name in names}


def imports(path: Path, *, whole: bool = True) -> set[str]:
    """Modules that a file imports: anywhere, or only when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if whole else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def siblings(path: Path) -> set[str]:
    """Modules of dtalk that a file needs in order to be imported."""
    parts = (name.split(".") for name in imports(path, whole=False))
    return {part[1] for part in parts if part[0] == "dtalk" and len(part) > 1} & set(MODULES)


class TestErrors:
    def test_the_drawn_tree_is_the_real_one(self):
        classes = {
            value
            for value in vars(dtalk.errors).values()
            if isinstance(value, type) and value is not DtalkError
        }
        assert all(error.__bases__ == (DtalkError,) for error in classes)
        drawn = re.findall(r"[├└]── (\w+) ", dtalk.errors.__doc__ or "")
        assert sorted(drawn) == sorted(error.__name__ for error in classes)
        assert len(drawn) == 8


class TestImports:
    @pytest.mark.parametrize("name", sorted(MODULES))
    def test_only_what_is_declared(self, name):
        known = declared("dependencies") | declared("train") | {"dtalk", "OpenGL"}
        known |= set(sys.stdlib_module_names)
        assert {module.split(".")[0] for module in imports(MODULES[name])} <= known

    @pytest.mark.parametrize("name", sorted(MODULES))
    def test_no_pickle(self, name):
        modules = {module.split(".")[0] for module in imports(MODULES[name])}
        # The reader of FLAME's files restricts what a pickle may do.
        allowed = {"pickle"} if name == "flame" else set()
        assert not modules & {"pickle", "marshal", "shelve", "dill", "joblib"} - allowed

    def test_no_circles(self):
        left = {name: siblings(path) - {name} for name, path in MODULES.items()}
        while left:
            free = {name for name, needed in left.items() if not needed & set(left)}
            assert free, f"a circle among {sorted(left)}"
            left = {name: needed for name, needed in left.items() if name not in free}

    @pytest.mark.parametrize("name", LIGHT)
    def test_light_modules_stand_on_light_modules(self, name):
        assert siblings(MODULES[name]) <= set(LIGHT)

    def test_light_modules_load_nothing_heavy(self):
        loaded = "; ".join(f"import dtalk.{name}" for name in LIGHT)
        heavy = "{'torch', 'pyrender', 'OpenGL', 'scipy', 'trimesh', 'transformers'}"
        code = f"import sys; {loaded}; print(sorted({heavy} & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


class TestProject:
    def test_every_requirement_is_used(self):
        used = {module.split(".")[0] for path in MODULES.values() for module in imports(path)}
        assert declared("dependencies") - {"trimesh"} <= used  # trimesh: what pyrender draws

    def test_the_version_is_the_installed_one(self):
        from importlib.metadata import PackageNotFoundError, version

        match = re.search(r'^version = "(.+)"$', project(), re.MULTILINE)
        assert match
        try:
            assert version("dtalk") == match[1]
        except PackageNotFoundError:
            pytest.skip("dtalk is not installed here, only on the path")

    @pytest.mark.parametrize("folder", ["dtalk", "tests", ".ci"])
    def test_nothing_names_a_machine(self, folder):
        """No paths of a developer's machine."""
        bad = re.compile(r"(?<![\w.])/(home|work|Users|root|opt)/")
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        texts = [path for path in files if path.suffix in {".py", ".md", ".sh", ""}]
        assert texts
        own = Path(__file__).resolve()
        found = [path for path in texts if path != own and bad.search(path.read_text("utf-8"))]
        assert found == []

    def test_the_script_of_continuous_integration(self):
        script = ROOT / ".ci" / "run"
        if not script.exists():
            pytest.skip("not in a source archive")
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", str(script)], check=True)


class TestArchives:
    @pytest.fixture
    def source(self, tmp_path):
        """A copy of what is packed; without README and weights, which change often."""
        folder = tmp_path / "source"
        folder.mkdir()
        for name in ("pyproject.toml", "LICENSE"):
            shutil.copy(ROOT / name, folder)
        (folder / "README.md").write_text("# dtalk\n")
        (folder / "shared").mkdir()
        (folder / "shared" / "private.py").touch()
        ignored = shutil.ignore_patterns("__pycache__", "weights")
        shutil.copytree(PACKAGE, folder / "dtalk", ignore=ignored)
        return folder

    def wheel(self, source: Path) -> set[str]:
        builders = pytest.importorskip("hatchling.builders.wheel")
        [built] = builders.WheelBuilder(str(source)).build(
            directory=str(source / "dist"), versions=["standard"]
        )
        with zipfile.ZipFile(built) as archive:
            return set(archive.namelist())

    def test_without_weights(self, source):
        files = self.wheel(source)
        assert {f"dtalk/{name}.py" for name in MODULES} <= files
        assert {"dtalk/py.typed", "dtalk/assets/head.npz"} <= files
        assert all(name.startswith(("dtalk/", "dtalk-")) for name in files)

    def test_weights_move_into_the_package(self, source):
        weights = source / "weights"
        weights.mkdir()
        for name in ("README.md", "student.safetensors", "student.safetensors.log"):
            (weights / name).touch()
        assert {name for name in self.wheel(source) if "weights" in name} == {
            "dtalk/weights/README.md",
            "dtalk/weights/student.safetensors",
        }

    def test_the_licence_and_the_command_are_in(self, source):
        files = self.wheel(source)
        assert any(name.endswith("licenses/LICENSE") for name in files)
        assert any(name.endswith("entry_points.txt") for name in files)
