"""``dtalk live`` as a user meets it: real runs with a tiny model of random weights."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from pylivelinkface import FaceBlendShape, PyLiveLinkFace
from pythonosc.osc_bundle import OscBundle
from streams import listening, syllables
from typer.testing import CliRunner, Result

from dtalk.cli.app import app
from dtalk.cli.live import _seconds
from dtalk.errors import DtalkError
from dtalk.motion.arkit import ARKIT_NAMES

Run = Callable[..., Result]


@pytest.fixture
def run(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command on the tiny model, in a folder with half a second of sound."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", syllables(0.5), 16_000)

    def command(*arguments: object, stdin: bytes = b"") -> Result:
        words = ["live", *map(str, arguments), "--weights", str(weights)]
        return CliRunner().invoke(app, words, input=stdin)

    return command


def frames(result: Result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def error(result: Result) -> str:
    """The line that ``main`` prints for what was raised."""
    assert isinstance(result.exception, DtalkError)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_a_file_becomes_lines_of_json(run: Run) -> None:
    result = run("a.wav")
    assert result.exit_code == 0
    assert result.stderr == ""
    found = frames(result)
    assert [frame["frame"] for frame in found] == list(range(15))
    assert all(list(frame["coefficients"]) == list(ARKIT_NAMES) for frame in found)
    assert found[10]["coefficients"] != found[11]["coefficients"]
    assert run("a.wav").stdout == result.stdout


def test_what_changes_the_frames(run: Run) -> None:
    plain = run("a.wav").stdout
    for flags in (
        ("--seed", 1),
        ("--emotion", "happy"),
        ("--emotion", "happy", "--emotion-strength", 1),
        ("--identity", "bob"),
        ("--temperature", 0),
        ("--steps", 1),
        ("--latency", "0.5s"),
    ):
        changed = run("a.wav", *flags).stdout
        assert changed.count("\n") == 15
        assert changed != plain, flags


def test_sixty_frames_a_second(run: Run) -> None:
    assert len(frames(run("a.wav", "--fps", 60))) == 30


def test_a_file_in_real_time_goes_to_all_receivers(run: Run) -> None:
    with listening() as unreal, listening() as vtuber:
        result = run(
            *("a.wav", "--realtime", "--subject", "Ann", "--to", "json"),
            *("--to", f"live-link=127.0.0.1:{unreal.getsockname()[1]}"),
            *("--to", f"vmc=:{vtuber.getsockname()[1]}"),
        )
        assert result.exit_code == 0
        found = frames(result)
        for frame in found:
            _, face = PyLiveLinkFace.decode(unreal.recv(2048))
            jaw = frame["coefficients"]["jawOpen"]
            assert face.get_blendshape(FaceBlendShape.JawOpen) == pytest.approx(jaw, abs=1e-5)
            messages = [m for _ in range(2) for m in OscBundle(vtuber.recv(2048))]
            values = dict(m.params for m in messages if m.address.endswith("/Val"))
            assert values["JawOpen"] == pytest.approx(jaw, abs=1e-5)
    assert not any(found[-1]["coefficients"].values())
    assert "Ctrl-C ends" in result.stderr
    assert "frames, " in result.stderr


def test_raw_sound_from_a_pipe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = (syllables(0.5) * 32767).astype("<i2").tobytes()
    monkeypatch.setattr("dtalk.live.sources.standard_input", lambda: io.BytesIO(sound))
    result = run("-", "--realtime")
    assert result.exit_code == 0
    assert frames(result)[-1]["frame"] >= 15


def test_a_microphone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def __init__(self, callback: Callable[..., None], **_: object) -> None:
            self._callback = callback

        def __enter__(self) -> None:
            status = SimpleNamespace(input_overflow=False)
            self._callback(syllables(0.3)[:, None], 4800, None, status)
            threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()

        def __exit__(self, *_: object) -> None:
            pass

    device = {"name": "Fake", "max_input_channels": 1, "default_samplerate": 16_000.0}
    module = SimpleNamespace(
        InputStream=Stream,
        PortAudioError=OSError,
        default=SimpleNamespace(device=(0, 0)),
        query_devices=lambda *which: device if which else [device],
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = run()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert result.exit_code == 0
    assert not any(frames(result)[-1]["coefficients"].values())
    assert run("--microphones").stdout == "  0 * Fake\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_a_real_process_reads_a_pipe_and_ends_in_neutral(run: Run, weights: Path) -> None:
    command = [sys.executable, "-m", "dtalk", "live", "-", "--weights", str(weights)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        assert b"Ctrl-C ends" in process.stderr.readline()
        process.stdin.write((syllables(0.4) * 32767).astype("<i2").tobytes())
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        rest, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert first["frame"] >= 0
    assert not any(json.loads(rest.splitlines()[-1])["coefficients"].values())
    assert b"frames, " in said


def test_a_reader_that_leaves_ends_it_quietly(run: Run, weights: Path) -> None:
    command = [sys.executable, "-m", "dtalk", "live", "a.wav", "--weights", str(weights)]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.wav",), "no such sound file: none.wav"),
        (("a.wav", "--to", "osc"), "cannot send to 'osc'"),
        (("a.wav", "--to", "vmc"), "add --realtime, so that a.wav is sent at the pace"),
        (("a.wav", "--latency", "50ms"), "--latency 50ms: write 100ms to 500ms"),
        (("a.wav", "--latency", "200"), "--latency 200: write 100ms to 500ms"),
        (("a.wav", "--emotion", "bored"), "unknown emotion 'bored'"),
        (("a.wav", "--identity", "zed"), "unknown identity 'zed'"),
        (("a.wav", "--sampler", "ancestral"), "--sampler ancestral: live"),
        (("a.wav", "--realtime", "--to", "vmc=no.such.host.invalid"), "no.such.host.invalid"),
    ],
)
def test_bad_input_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert message in error(result)
    assert result.stdout == ""


def test_a_teacher_is_too_slow(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from helpers import large_model

    monkeypatch.setattr("dtalk.inference.load_talker", lambda *_: large_model())
    assert "too slow for live use" in error(run("a.wav"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("0.2s", 0.2), (" 500MS ", 0.5), ("100.0ms", 0.1)]
)
def test_latencies_are_read(text: str, seconds: float) -> None:
    assert _seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "ms", "-200ms", "1s", "99ms", "501ms", "nan", "2e2ms"])
def test_no_other_latencies(text: str) -> None:
    with pytest.raises(DtalkError, match="--latency"):
        _seconds(text)


def test_frames_are_numbers(run: Run) -> None:
    values = np.array([list(frame["coefficients"].values()) for frame in frames(run("a.wav"))])
    assert values.min() >= 0
    assert values.max() <= 1
