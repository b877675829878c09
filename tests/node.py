"""Node programs that check what was written: glTF's validator and three.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = ROOT / "node_modules"
INSTALL = "npm install --no-save gltf-validator three"

_VALIDATE = """
const { readFileSync } = require("node:fs");
const { validateBytes } = require("gltf-validator");
validateBytes(new Uint8Array(readFileSync(process.argv[1])), { maxIssues: 100 })
  .then((report) => console.log(JSON.stringify(report)));
"""


def needs(package: str) -> None:
    """Skip the test without node or an npm package."""
    if shutil.which("node") is None:
        pytest.skip("no node on the path")
    if not (MODULES / package).is_dir():
        pytest.skip(f"no {package} in node_modules: {INSTALL}")


def node(*arguments: str) -> str:
    """What node prints, run in the repository."""
    done = subprocess.run(
        ["node", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def validate(path: Path) -> dict[str, Any]:
    """The validator's report."""
    report: dict[str, Any] = json.loads(node("-e", _VALIDATE, str(path)))
    return report


def assert_valid(path: Path) -> None:
    """No errors and no warnings."""
    issues = validate(path)["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
