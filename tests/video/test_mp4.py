"""Videos: what ffmpeg itself reads back from them, and what happens when things fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from dtalk.errors import AudioError, DtalkError, RenderError, VideoError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.curves import Motion
from dtalk.rendering.renderer import Renderer
from dtalk.video import mp4
from dtalk.video.mp4 import LengthWarning, matched, render_video, write_video
from dtalk.video.soundtrack import Soundtrack

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def flat_frames(count: int, height: int = 48, width: int = 64) -> Iterator[np.ndarray]:
    """Frames of one colour each, all different."""
    for k in range(count):
        yield np.full((height, width, 3), (200 - 3 * k, 40 + 3 * k, 90), dtype=np.uint8)


def tone(path: Path, seconds: float, rate: int = 16000, channels: int = 1) -> Path:
    times = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 440 * times)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate)
    return path


def probe(path: Path) -> str:
    """ffmpeg's own description of a file: streams, codecs, size, rates."""
    result = subprocess.run([FFMPEG, "-hide_banner", "-i", path], capture_output=True, text=True)
    return result.stderr


def duration(path: Path) -> float:
    match = re.search(r"Duration: (\d+):(\d+):([\d.]+)", probe(path))
    assert match is not None
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def decoded(path: Path, height: int, width: int) -> np.ndarray:
    """All frames as RGB, [T, H, W, 3]."""
    command = [FFMPEG, "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, height, width, 3)


def decoded_sound(path: Path, rate: int) -> np.ndarray:
    command = [FFMPEG, "-v", "error", "-i", path, "-f", "f32le", "-ar", str(rate), "-ac", "1", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, dtype=np.float32)


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


def test_streams_size_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write_video(flat_frames(30), path, 30.0, tone(tmp_path / "in.wav", 1.0))
    text = probe(path)
    assert re.search(r"Video: h264 .*yuv420p\(tv, bt709.*64x48.*30 fps", text)
    assert re.search(r"Audio: aac .*16000 Hz, mono", text)
    frames = decoded(path, 48, 64)
    assert len(frames) == 30
    expected = np.stack(list(flat_frames(30)))
    assert np.abs(frames.astype(int) - expected).max() <= 5


def test_index_comes_first(tmp_path: Path) -> None:
    """A browser can play the file while it is still loading: moov before mdat."""
    write_video(flat_frames(3), tmp_path / "out.mp4", 30.0)
    data = (tmp_path / "out.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("samples", [16000, 16123, 24681])
def test_duration_is_the_sound_s_within_a_frame(tmp_path: Path, samples: int) -> None:
    sound = tone(tmp_path / "in.wav", samples / 16000)
    frames = round(samples / 16000 * 30)
    write_video(flat_frames(frames), tmp_path / "out.mp4", 30.0, sound)
    assert duration(tmp_path / "out.mp4") == pytest.approx(samples / 16000, abs=1 / 30)


def test_sound_is_not_shifted(tmp_path: Path) -> None:
    """A click at 0.5 s is at 0.5 s afterwards, to 2 ms."""
    wave = np.zeros(16000, dtype=np.float32)
    wave[8000:8008] = 0.9
    soundfile.write(tmp_path / "in.wav", wave, 16000)
    write_video(flat_frames(30), tmp_path / "out.mp4", 30.0, tmp_path / "in.wav")
    sound = decoded_sound(tmp_path / "out.mp4", 16000)
    assert abs(int(np.abs(sound).argmax()) - 8003) < 32


@pytest.mark.parametrize(("suffix", "rate", "channels"), [("flac", 44100, 2), ("ogg", 48000, 1)])
def test_other_sounds(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    sound = tone(tmp_path / f"in.{suffix}", 0.5, rate, channels)
    write_video(flat_frames(15), tmp_path / "out.mp4", 30.0, sound)
    assert f"Audio: aac (LC) (mp4a / 0x6134706D), {rate} Hz" in probe(tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("fps", "text"), [(25.0, "25 fps"), (60.0, "60 fps"), (29.97, "29.97 fps")]
)
def test_frame_rates(tmp_path: Path, fps: float, text: str) -> None:
    write_video(flat_frames(12), tmp_path / "out.mp4", fps)
    assert text in probe(tmp_path / "out.mp4")
    assert "Audio" not in probe(tmp_path / "out.mp4")
    assert duration(tmp_path / "out.mp4") == pytest.approx(12 / fps, abs=0.011)


def test_odd_sizes_are_padded_with_their_edge(tmp_path: Path) -> None:
    write_video(flat_frames(2, 33, 51), tmp_path / "out.mp4", 30.0)
    frames = decoded(tmp_path / "out.mp4", 34, 52)
    assert np.abs(frames[0].astype(int) - next(flat_frames(1))[0, 0]).max() <= 5


def test_same_input_same_bytes(tmp_path: Path) -> None:
    sound = tone(tmp_path / "in.wav", 0.2)
    for name in ("a.mp4", "b.mp4"):
        write_video(flat_frames(6), tmp_path / name, 30.0, sound)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_names_that_look_like_options_or_hold_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tone(Path("-i %d'ü .wav"), 0.1)
    write_video(flat_frames(3), Path("-y %d'ü .mp4"), 30.0, Path("-i %d'ü .wav"))
    assert len(decoded(tmp_path / "-y %d'ü .mp4", 48, 64)) == 3


def test_old_video_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")

    def failing() -> Iterator[np.ndarray]:
        yield from flat_frames(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(failing(), path, 30.0)
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []
    write_video(flat_frames(2), path, 30.0)
    assert path.read_bytes() != b"old"


def test_no_process_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def spy(*args: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **options))  # type: ignore[call-overload]
        return started[-1]

    def failing() -> Iterator[np.ndarray]:
        yield from flat_frames(2)
        raise RuntimeError("a frame went wrong")

    monkeypatch.setattr("subprocess.Popen", spy)
    with pytest.raises(RuntimeError, match="a frame went wrong"):
        write_video(failing(), tmp_path / "out.mp4", 30.0)
    assert len(started) == 1
    assert started[0].returncode is not None
    assert started[0].stdin is not None
    assert started[0].stdin.closed


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_interrupt_ends_ffmpeg_too(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the process ends, no temporary file and no ffmpeg stay."""
    script = (
        "import sys, time, numpy as np\n"
        "from pathlib import Path\n"
        "from dtalk.video.mp4 import write_video\n"
        "def frames():\n"
        "    while True:\n"
        "        yield np.zeros((32, 32, 3), np.uint8)\n"
        "        print('frame', flush=True)\n"
        "        time.sleep(0.05)\n"
        "write_video(frames(), Path(sys.argv[1]), 30.0)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "out.mp4")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(2)
    process.communicate(timeout=20)
    assert process.returncode != 0
    time.sleep(0.1)
    assert os.listdir(tmp_path) == []


def text_named_wav(folder: Path) -> Path:
    (folder / "text.wav").write_text("this is not sound\n" * 20)
    return folder / "text.wav"


def silent_video(folder: Path) -> Path:
    write_video(flat_frames(2), folder / "silent.mp4", 30.0)
    return folder / "silent.mp4"


def playlist(folder: Path) -> Path:
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    return folder / "list.m3u8"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (text_named_wav, r"text\.wav: not a sound file"),
        (silent_video, r"silent\.mp4: there is no sound track in it"),
        (playlist, r"list\.m3u8: not a sound file"),
    ],
)
def test_sounds_that_cannot_be_used(
    tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    sound = make(tmp_path)
    with pytest.raises(AudioError, match=rf"cannot read .*{reason}") as raised:
        write_video(flat_frames(300, 480, 640), tmp_path / "out.mp4", 30.0, sound)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out.mp4").exists()
    assert leftovers(tmp_path) == []


def test_bad_input(tmp_path: Path) -> None:
    path, frame = tmp_path / "out.mp4", np.zeros((8, 8, 3), np.uint8)
    cases: list[tuple[str, tuple[object, ...]]] = [
        ("no frames", ([], path, 30.0)),
        ("fps must be", ([frame], path, 0.0)),
        ("fps must be", ([frame], path, float("nan"))),
        ("fps must be", ([frame], path, 1e9)),
        ("only mp4 is written; name it out.mp4", ([frame], tmp_path / "out.avi", 30.0)),
        ("no such sound file", ([frame], path, 30.0, tmp_path / "missing.wav")),
        ("it is a folder", ([frame], path, 30.0, tmp_path)),
        ("must be uint8", ([frame.astype(float)], path, 30.0)),
        ("must be uint8", ([frame[..., :2]], path, 30.0)),
        ("must be uint8", ([frame[:0]], path, 30.0)),
        ("differ in size", ([frame, frame[:4]], path, 30.0)),
    ]
    for message, arguments in cases:
        with pytest.raises((VideoError, AudioError), match=message):
            write_video(*arguments)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "file" / "out.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(DtalkError, match="cannot write"):
            write_video(flat_frames(2), path, 30.0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_ffmpeg_failing_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is noticed by ffmpeg, not by us: its first complaint is the message."""
    make = mp4._command

    def to_full_disk(*arguments: object) -> list[str]:
        return [*make(*arguments)[:-1], "file:/dev/full"]  # type: ignore[arg-type]

    monkeypatch.setattr(mp4, "_command", to_full_disk)
    with pytest.raises(VideoError, match=r"ffmpeg says: .*No space left on device"):
        write_video(flat_frames(50), tmp_path / "out.mp4", 30.0)
    assert os.listdir(tmp_path) == []


def test_no_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", missing)
    with pytest.raises(VideoError, match="no ffmpeg: reinstall imageio-ffmpeg"):
        write_video(flat_frames(2), tmp_path / "out.mp4", 30.0)


def needs_renderer() -> None:
    try:
        Renderer(size=16).close()
    except RenderError as error:
        pytest.skip(str(error))


def test_render_video(tmp_path: Path) -> None:
    needs_renderer()
    curves = np.zeros((10, 52), dtype=np.float32)
    curves[:, ARKIT_NAMES.index("jawOpen")] = np.linspace(0, 0.8, 10)
    seen: list[int] = []
    sound = tone(tmp_path / "in.wav", 0.4)
    render_video(Motion(curves, fps=25), tmp_path / "out.mp4", sound, 96, progress=seen.append)
    assert seen == list(range(1, 11))
    assert "25 fps" in probe(tmp_path / "out.mp4")
    assert duration(tmp_path / "out.mp4") == pytest.approx(0.4, abs=1 / 25)
    frames = decoded(tmp_path / "out.mp4", 96, 96)
    mouth = frames[:, 64:84, 34:62, 1]
    dark = (mouth < 70).sum(axis=(1, 2))
    assert len(frames) == 10
    assert dark[9] > dark[5] > dark[0]


def still(frames: int, fps: float = 30.0) -> Motion:
    return Motion(np.zeros((frames, 52), dtype=np.float32), fps=fps)


@pytest.mark.parametrize(
    ("frames", "seconds", "expected", "done"),
    [
        (30, 1.0, 30, ""),
        (29, 1.0, 29, ""),  # a frame more or less is no matter
        (31, 1.0, 31, ""),
        (20, 1.0, 30, r"lasts 0\.67 s, the sound .*in\.wav 1\.00 s: its last frame is held"),
        (60, 1.0, 30, r"lasts 2\.00 s, the sound .* 1\.00 s: its end is cut off"),
        (5, 0.001, 1, "cut off"),
    ],
)
def test_the_sound_decides_on_the_length(
    tmp_path: Path, frames: int, seconds: float, expected: int, done: str
) -> None:
    track = Soundtrack(tmp_path / "x.m4a", seconds, tmp_path / "in.wav")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(matched(still(frames), track)) == expected
    assert [bool(re.search(done, str(one.message))) for one in caught] == ([True] if done else [])


def test_the_last_frame_is_what_is_held(tmp_path: Path) -> None:
    numbers = np.arange(3, dtype=np.float32)
    rotation = np.repeat(numbers[:, None], 3, axis=1)
    motion = Motion(np.repeat(numbers[:, None], 52, axis=1), fps=10, head_rotation=rotation)
    with pytest.warns(LengthWarning):
        longer = matched(motion, Soundtrack(tmp_path / "x.m4a", 0.6, tmp_path / "in.wav"))
    np.testing.assert_array_equal(longer.coefficients[:, 0], [0, 1, 2, 2, 2, 2])
    assert longer.head_rotation is not None
    np.testing.assert_array_equal(longer.head_rotation[:, 1], [0, 1, 2, 2, 2, 2])


def test_a_silent_video_is_as_long_as_its_motion() -> None:
    assert len(matched(still(7), None)) == 7


def test_a_video_is_as_long_as_its_sound(tmp_path: Path) -> None:
    needs_renderer()
    sound = tone(tmp_path / "in.wav", 0.9)
    with pytest.warns(LengthWarning):
        render_video(still(3), tmp_path / "out.mp4", sound, (49, 33))
    assert duration(tmp_path / "out.mp4") == pytest.approx(0.9, abs=1 / 30)
    assert decoded(tmp_path / "out.mp4", 34, 50).shape[0] == 27


def test_a_single_frame(tmp_path: Path) -> None:
    needs_renderer()
    render_video(still(1), tmp_path / "out.mp4", size=32)
    assert len(decoded(tmp_path / "out.mp4", 32, 32)) == 1


def test_the_comment_is_in_the_file(tmp_path: Path) -> None:
    write_video(flat_frames(2), tmp_path / "out.mp4", 30.0, comment="a = b; 'c' ü")
    assert re.search(r"comment +: a = b; 'c' ü\n", probe(tmp_path / "out.mp4"))
    write_video(flat_frames(2), tmp_path / "plain.mp4", 30.0)
    assert not re.search(r"comment +:", probe(tmp_path / "plain.mp4"))


def test_frames_are_drawn_as_they_are_encoded(tmp_path: Path) -> None:
    """Memory does not grow with the clip: a frame is let go of before the next but one."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def watched() -> Iterator[np.ndarray]:
        nonlocal most
        for frame in flat_frames(50):
            alive.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in alive))
            yield frame

    write_video(watched(), tmp_path / "out.mp4", 30.0)
    assert len(alive) == 50
    assert most <= 4


def test_renderer_is_free_after_a_failure(tmp_path: Path) -> None:
    needs_renderer()
    motion = Motion(np.zeros((500, 52), dtype=np.float32))
    with pytest.raises(AudioError):
        render_video(motion, tmp_path / "out.mp4", text_named_wav(tmp_path), 64)
    Renderer(size=16).close()
