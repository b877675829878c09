"""Levelling in examples/web gives the samples that the engines get."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import speech
from node import node

from dtalk.speech.levels import voiced_tenths, whole_tenths
from dtalk.speech.loudness import is_steady, level
from dtalk.speech.voice_activity import presence

WEB = Path(__file__).resolve().parents[2] / "examples" / "web"
RATE = 16_000
SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { isVoiced, levelled } from "./levels.js";
import { isSteady, presence } from "./loudness.js";
const [, , path, frames] = process.argv;
const samples = new Float32Array(new Uint8Array(readFileSync(path)).buffer);
writeFileSync(`${path}.out`, levelled(samples));
const tenths = Array.from({ length: Math.floor(samples.length / 1600) }, (_, k) => (
  isVoiced(samples.subarray(1600 * k, 1600 * (k + 1)))
));
console.log(JSON.stringify([tenths, presence(samples, Number(frames)), isSteady(samples)]));
"""
SOFT = np.float32(0.06) * speech(90_123)
NOISE = np.random.default_rng(0).standard_normal(80_000).astype(np.float32)


@pytest.mark.parametrize(
    "sound",
    [
        speech(30_000),
        speech(701),
        np.concatenate([speech(80_000), SOFT]),
        np.concatenate([SOFT, 0.001 * NOISE, speech(80_000)]) + np.float32(0.05),
        0.01 * NOISE,
        np.zeros(5000, np.float32),
    ],
    ids=["one level", "short", "softer", "louder, an offset", "noise", "silence"],
)
def test_the_page_levels_as_the_engines_do(sound: np.ndarray, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node on the path")
    for name in ("levels.js", "loudness.js"):
        shutil.copy(WEB / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "script.js").write_text(SCRIPT)
    path, frames = tmp_path / "sound", round(len(sound) * 30 / RATE)
    path.write_bytes(sound.astype("<f4").tobytes())
    voiced, present, steady = json.loads(node(str(tmp_path / "script.js"), str(path), str(frames)))
    found = np.frombuffer(path.with_suffix(".out").read_bytes(), "<f4")
    np.testing.assert_allclose(found, level(sound), rtol=1e-3, atol=1e-6)
    assert voiced == voiced_tenths(whole_tenths(sound)).tolist()
    np.testing.assert_allclose(present, presence(sound, frames), atol=1e-6)
    assert steady == is_steady(sound)
