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
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Names under which distributions are imported, where they differ.
IMPORTED_AS = {
    "pyrender2": "pyrender",
    "imageio-ffmpeg": "imageio_ffmpeg",
    "huggingface-hub": "huggingface_hub",
    "pillow": "PIL",
}

# In the standard library of newer versions of Python.
LATER = {"tomli": "tomllib"}

# What requirements bring that is used as well.
BROUGHT = {"pyrender": "OpenGL", "transformers": "huggingface_hub"}

#: Modules that are usable, and quick to import, without torch.
LIGHT = (
    *("checkpoint", "config", "errors", "inference"),
    *("engine.external", "engine.graph", "engine.hearing", "engine.long_sound"),
    *("engine.onnx_file", "engine.protocol", "engine.talker", "engine.voice", "engine.windows"),
    *("live.clock", "live.engine", "live.finishing", "live.frames", "live.json_lines"),
    *("live.live_link_udp", "live.loudness", "live.microphone", "live.options", "live.session"),
    *("live.sources", "live.targets", "live.udp", "live.vmc", "live.voice", "live.window"),
    *("motion.animation", "motion.arkit", "motion.columns", "motion.curves", "motion.files"),
    *("motion.gaze", "motion.gltf", "motion.gltf_joints", "motion.idle", "motion.live_link"),
    *("motion.names", "motion.noise", "motion.tables", "motion.timecodes"),
    *("speech.audio", "speech.channels", "speech.container", "speech.decode", "speech.finishing"),
    *("speech.levels", "speech.loudness", "speech.measures", "speech.ogg", "speech.voice_activity"),
    *("utils.arrays", "utils.ffmpeg", "utils.files", "utils.glb", "utils.gltf_parts"),
    *("utils.labels", "utils.settings", "utils.types"),
)


def project() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


# Modules that only an extra's users load, and that extra.
OF_EXTRAS = {"utils.dask_workers": "cluster"}


def declared(table: str) -> set[str]:
    """Import names of the requirements in a list of pyproject.toml (tomllib needs 3.11)."""
    match = re.search(rf"^{table} = (\[.*?^\]|\[[^\n]*\])$", project(), re.MULTILINE | re.DOTALL)
    assert match, table
    names = re.findall(r'^\W*"([A-Za-z0-9_-]+)', match[1], re.MULTILINE)
    found = {IMPORTED_AS.get(name, name) for name in names}
    return found | {other[name] for other in (BROUGHT, LATER) for name in found & set(other)}


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


def eager_imports(path: Path) -> set[str]:
    """Packages that are loaded, or must be there, when a file is itself imported: what is neither
    in a function nor for type checkers only."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
        todo.extend(ast.iter_child_nodes(node))
    return found


def calls(path: Path, name: str) -> list[ast.Call]:
    """The calls of a function, by its whole name as it is written."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if ast.unparse(call.func) == name]


def given(call: ast.Call, name: str) -> str:
    """An argument of a call, as it is written."""
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), "")


def siblings(path: Path) -> set[str]:
    """Modules of dtalk that a file needs in order to be imported."""
    names = {name.removeprefix("dtalk.") for name in imports(path, whole=False)}
    return names & set(MODULES)


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
        assert len(drawn) == 9


class TestImports:
    @pytest.mark.parametrize("name", sorted(MODULES))
    def test_only_what_is_declared(self, name):
        always = declared("dependencies") | {"dtalk"} | set(sys.stdlib_module_names)
        own = declared(OF_EXTRAS[name]) if name in OF_EXTRAS else set()
        assert eager_imports(MODULES[name]) <= always | own
        used = {module.split(".")[0] for module in imports(MODULES[name])}
        # The extras are imported in functions, which say what is missing.
        names = ("avatars", "cluster", "export", "live", "plot", "train")
        extras = [declared(extra) for extra in names]
        assert used <= always.union(*extras)

    def test_what_imports_only_in_functions_or_for_type_checkers_is_not_eager(self, tmp_path):
        path = tmp_path / "module.py"
        path.write_text(
            "import a.b\nfrom c import d\nfrom . import e\n"
            "try:\n    import f\nexcept ImportError:\n    import g\n"
            "if TYPE_CHECKING:\n    import h\nelse:\n    import i\n"
            "class J:\n    import j\n    def k(self):\n        import k\n"
            "def l():\n    def m():\n        import m\n    from n import o\n"
            "async def p():\n    import p\n"
        )
        assert eager_imports(path) == set("acfgij")

    @pytest.mark.parametrize("name", sorted(MODULES))
    def test_no_pickle(self, name):
        modules = {module.split(".")[0] for module in imports(MODULES[name])}
        assert not modules & {"marshal", "shelve", "dill", "joblib"}
        tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        of_pickle = {node.attr for node in names if ast.unparse(node.value) == "pickle"}
        # What torch raises where a file would run code; not what would let it. One module has an
        # unpickler of its own, which knows no names but those it stands in for.
        assert of_pickle <= {"UnpicklingError"} | (
            {"Unpickler"} if name == "utils.pickles" else set()
        )
        assert "pickle" not in modules or of_pickle
        assert not any(module.startswith("pickle.") for module in imports(MODULES[name]))

    @pytest.mark.parametrize("name", sorted(MODULES))
    def test_nothing_that_is_read_can_run_code(self, name):
        path = MODULES[name]
        assert all(given(call, "weights_only") == "True" for call in calls(path, "torch.load"))
        assert all(given(call, "allow_pickle") == "False" for call in calls(path, "np.load"))

    def test_there_are_such_calls(self):
        """That the test above looks for what is really written."""
        for function, least in (("torch.load", 2), ("np.load", 3)):
            assert sum(len(calls(path, function)) for path in MODULES.values()) >= least

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
        assert {f"dtalk/{name.replace('.', '/')}.py" for name in MODULES} <= files
        assert {"dtalk/py.typed", "dtalk/assets/head.npz"} <= files
        assert all(name.startswith(("dtalk/", "dtalk-")) for name in files)
        assert not any("build" in name or "assets/recipe" in name for name in files)  # of the head

    def test_weights_move_into_the_package(self, source):
        weights = source / "weights"
        weights.mkdir()
        shipped = {"README.md", "student.onnx", "student.safetensors"}
        for name in (*shipped, "student.safetensors.log"):
            (weights / name).touch()
        found = {name for name in self.wheel(source) if "weights" in name}
        assert found == {f"dtalk/weights/{name}" for name in shipped}

    def test_the_licence_and_the_command_are_in(self, source):
        files = self.wheel(source)
        assert any(name.endswith("licenses/LICENSE") for name in files)
        assert any(name.endswith("entry_points.txt") for name in files)
