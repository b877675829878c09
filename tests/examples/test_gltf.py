"""The guides in docs/programs.md, where the program can be had."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from browser import launched
from helpers import smooth_motion
from node import ROOT, needs

from dtalk.heads.gltf import write_glb
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion

GUIDES = ROOT / "examples" / "gltf"
FRAMES = 12


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(GUIDES / script), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def _blender() -> None:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("no Blender: pip install bpy")


@pytest.fixture(scope="module")
def folder(_blender, tmp_path_factory) -> Path:
    """A clip as npz, csv and json, and what `expected.py` makes of it."""
    path: Path = tmp_path_factory.mktemp("talk")
    turn = np.random.default_rng(0).uniform(-0.3, 0.3, (FRAMES, 3))
    motion = Motion(smooth_motion(FRAMES), head_rotation=turn)
    for kind in ("npz", "csv", "json"):
        write_motion(motion, path / f"talk.{kind}")
    run("expected.py", path / "talk.npz", path)
    return path


@pytest.fixture(scope="module")
def flame_folder(_blender, flame_file, tmp_path_factory) -> Path:
    """The same of a head in FLAME's format."""
    path: Path = tmp_path_factory.mktemp("flame")
    write_motion(Motion(smooth_motion(FRAMES)), path / "talk.npz")
    run("expected.py", path / "talk.npz", path, flame_file)
    return path


def largest_difference(told: str) -> float:
    """Of four times, mm."""
    apart = [float(found) for found in re.findall(r"difference ([\d.]+) mm", told)]
    assert len(apart) == 4
    return max(apart)


class TestBlender:
    @pytest.mark.parametrize("fps", [24, 25, 30, 60])
    def test_a_glb(self, folder, fps):
        told = run("blender.py", folder, fps)
        assert "52 shapes, named as they should be: True" in told
        assert largest_difference(told) < 0.01
        assert float(re.findall(r"([\d.]+) ms off", told)[0]) < 0.01

    def test_a_head_of_flames_format(self, flame_folder):
        told = run("blender.py", flame_folder)
        assert "52 shapes, named as they should be: True" in told
        assert largest_difference(told) < 0.01

    @pytest.mark.parametrize("kind", ["csv", "json"])
    def test_curves_on_a_character(self, folder, kind):
        told = run("blender_curves.py", folder / f"talk.{kind}", folder / "talk.glb", folder / kind)
        assert "52 shape keys have curves" in told
        shown = np.load(folder / f"{kind}.npz")
        assert list(shown["names"]) == list(ARKIT_NAMES)
        np.testing.assert_allclose(shown["times"], (np.arange(FRAMES) + 0.5) / 30, atol=1e-5)
        np.testing.assert_allclose(shown["values"], smooth_motion(FRAMES), atol=1e-5)


PRESET = """[preset.0]
name="check"
platform="Linux/X11"
runnable=true
export_filter="all_resources"
[preset.0.options]
"""


class TestGodot:
    @pytest.fixture
    def project(self, tmp_path) -> Path:
        write_glb(Motion(smooth_motion(FRAMES)), tmp_path / "talk.glb")
        shutil.copy(GUIDES / "godot.gd", tmp_path)
        (tmp_path / "project.godot").write_text("config_version=4\n")
        (tmp_path / "export_presets.cfg").write_text(PRESET)
        return tmp_path

    def test_shapes_and_keys(self, project, monkeypatch):
        program = shutil.which("godot3-server")
        if program is None:
            pytest.skip("no Godot 3 without a window: apt-get install godot3-server")
        monkeypatch.setenv("HOME", str(project))  # where its editor keeps settings
        for task in (["--export-pack", "check", "out.pck"], ["-s", "godot.gd"]):
            subprocess.run(
                [program, "--path", str(project), *task], capture_output=True, check=True
            )
        shown = json.loads((project / "shown.json").read_text())
        assert shown["names"] == list(ARKIT_NAMES)
        assert sorted(shown["times"]) == sorted(ARKIT_NAMES)
        for name, values in zip(ARKIT_NAMES, smooth_motion(FRAMES).T, strict=True):
            wanted = (np.arange(FRAMES) + 0.5) / 30
            np.testing.assert_allclose(shown["times"][name], wanted, atol=1e-5)
            np.testing.assert_allclose(shown["weights"][name], values, atol=1e-5)


class TestThree:
    @pytest.fixture
    def address(self, tmp_path) -> Iterator[str]:
        """A server of a folder with the page, three.js and a clip."""
        needs("three")
        for name in ("examples", "node_modules"):
            (tmp_path / name).symlink_to(ROOT / name)
        write_glb(Motion(smooth_motion(FRAMES)), tmp_path / "talk.glb")
        serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
        with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/examples/gltf/?file=/talk.glb"
            server.shutdown()

    def test_the_page_shows_the_head_and_other_moments_differ(self, address):
        with launched() as browser:
            page = browser.new_page(viewport={"width": 300, "height": 300})
            pictures = []
            for at in (0.05, 0.35):
                page.goto(f"{address}&at={at}")
                page.wait_for_function("document.title == 'drawn'")
                pictures.append(page.screenshot())
        assert pictures[0] != pictures[1]
