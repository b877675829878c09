"""The page of examples/web in a headless Chromium: its curves are the command line's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from browser import PATIENCE, launched
from helpers import speech, tiny_model

import dtalk
from dtalk.checkpoint import save_model
from dtalk.engine.export import export_file
from dtalk.motion.files import read_motion, write_motion
from dtalk.speech.audio import SAMPLE_RATE
from examples.web.build import RUNTIME, RUNTIME_FILES, build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SECONDS = 1.9


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A small model that closes its mouth in silence, with a graph that has its weights."""
    pytest.importorskip("onnx", reason="no onnx: pip install dtalk[export]")
    pytest.importorskip("onnxruntime", reason="no onnxruntime")
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    tiny = tiny_model(emotions=("happy", "neutral", "sad"), close_in_silence=True)
    save_model(tiny, path)
    export_file(path, path.with_suffix(".onnx"), external=True)
    return path


@pytest.fixture(scope="module")
def address(model, tmp_path_factory) -> Iterator[str]:
    """Where the page is served."""
    if not all((RUNTIME / name).is_file() for name in RUNTIME_FILES):
        pytest.skip("no onnxruntime-web: run npm install in examples/web")
    site = tmp_path_factory.mktemp("web") / "site"
    build(site, model)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Speech, silence, speech, in two channels."""
    samples = speech(round(SECONDS * SAMPLE_RATE))
    samples[len(samples) // 3 : 2 * len(samples) // 3] = 0
    path = tmp_path_factory.mktemp("sound") / "take one.wav"
    soundfile.write(path, np.stack((samples, 0.5 * samples), axis=1), SAMPLE_RATE)
    return path


@pytest.fixture(scope="module")
def browser(sound) -> Iterator[Browser]:
    """A browser whose microphone plays the sound."""
    with launched(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}",
    ) as browser:
        yield browser


@pytest.fixture
def page(browser, address) -> Iterator[Page]:
    """The page, ready; it may ask no other host for anything."""
    page = browser.new_page(viewport={"width": 700, "height": 600})
    asked: list[str] = []
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address, wait_until="commit")
    page.get_by_text("Choose a sound").wait_for()
    yield page
    page.close()
    assert all(url.startswith((address, f"blob:{address}", "data:")) for url in asked)


def status(page: Page, start: str) -> str:
    """What the page says, as soon as it begins so."""
    line = page.get_by_role("status").filter(has_text=start)
    line.wait_for()
    return line.text_content() or ""


def curves(page: Page) -> np.ndarray:
    return np.array(page.evaluate("[...document.body.page.made.curves]")).reshape(-1, 52)


def choose(page: Page, path: Path) -> str:
    page.locator("#file").set_input_files(path)
    return status(page, f"{path.name}:")


def test_curves_are_the_command_lines(page, model, sound, tmp_path):
    said = choose(page, sound)
    motion = dtalk.animate(sound, weights=model)
    assert f"{len(motion)} frames" in said
    assert said.endswith(f"emotion {motion.emotion}, identity {motion.identity}")
    assert np.abs(curves(page) - motion.coefficients).max() < 1e-3
    page.wait_for_selector('#viewer[data-frame="0"]')

    with page.expect_download() as download:
        page.get_by_role("button", name="Download csv").click()
    assert download.value.suggested_filename == "take one.csv"
    write_motion(motion, tmp_path / "wanted.csv")
    wanted = (tmp_path / "wanted.csv").read_text().splitlines()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == wanted[0]
    assert [row.split(",")[:2] for row in lines] == [row.split(",")[:2] for row in wanted]
    cells = [[row.split(",")[2:] for row in table[1:]] for table in (lines, wanted)]
    assert np.abs(np.subtract(*np.array(cells, float))).max() < 1e-3

    with page.expect_download() as download:
        page.get_by_role("button", name="Download glb").click()
    download.value.save_as(tmp_path / "take.glb")
    read = read_motion(tmp_path / "take.glb")
    np.testing.assert_allclose(read.coefficients, curves(page), atol=1e-6)
    assert (read.audio, read.emotion, read.fps) == (sound.name, motion.emotion, 30)


def test_an_emotion_that_is_not_probable_is_neutral(page, model, sound):
    page.evaluate("document.body.page.talker.about.emotion_threshold = 1")
    assert "emotion neutral" in choose(page, sound)
    motion = dtalk.animate(sound, weights=model, emotion_threshold=1.0)
    assert motion.emotion == "neutral"
    assert np.abs(curves(page) - motion.coefficients).max() < 1e-3


def test_sixteen_bit_flac_and_labels(page, model, sound, tmp_path):
    flac = tmp_path / "take.flac"
    samples, rate = soundfile.read(sound, dtype="int16")
    soundfile.write(flac, samples[:, 0], rate)
    page.locator("#emotion").select_option("sad")
    page.locator("#identity").select_option("bob")
    page.get_by_label("Strength").fill("2.5")
    page.get_by_label("Seed").fill("12345678901")
    choose(page, flac)
    options = {"emotion": "sad", "identity": "bob", "emotion_strength": 2.5, "seed": 12345678901}
    motion = dtalk.animate(flac, weights=model, **options)
    assert np.abs(curves(page) - motion.coefficients).max() < 1e-3
    page.evaluate("window.before = document.body.page.made")
    page.get_by_label("Strength").fill("1")
    page.get_by_label("Strength").press("Tab")
    page.wait_for_function("document.body.page.made !== window.before")
    motion = dtalk.animate(flac, weights=model, **options | {"emotion_strength": 1})
    assert np.abs(curves(page) - motion.coefficients).max() < 1e-3


def test_the_microphone_is_recorded_and_spoken(page):
    page.get_by_role("button", name="Record").click()
    status(page, "Recording.")
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Stop").click()
    status(page, "recording.wav:")
    made = curves(page)
    assert len(made) > 3
    assert made.std(axis=0).max() > 0
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("Number(document.querySelector('#viewer').dataset.frame) > 3")


def test_what_is_no_sound_is_said(page, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    page.locator("#file").set_input_files(text)
    assert "text.wav" in status(page, "Cannot read")
    assert page.get_by_role("button", name="Download csv").is_disabled()
