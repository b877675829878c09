"""From the inputs of ``dtalk render`` to motion and sound."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from dtalk.errors import AudioError, MotionError
from dtalk.motion.curves import Motion
from dtalk.motion.files import write_motion
from dtalk.video.inputs import (
    SoundWarning,
    find_audio,
    is_motion,
    read_input,
    read_inputs,
    without_own_audio,
)

STILL = Motion(np.zeros((3, 52), np.float32))


def moving(audio: str = "") -> Motion:
    return Motion(np.full((3, 52), 0.25, np.float32), audio=audio)


def never(path: Path) -> Motion:
    raise AssertionError(f"{path} must not be animated")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "a.json", "A.NPZ", "a.wav.csv"])
def test_curves(name: str) -> None:
    assert is_motion(Path(name))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "npz", "a", "a.npz.wav"])
def test_sound(name: str) -> None:
    assert not is_motion(Path(name))


def pairs(*names: str) -> list[tuple[Path, Path]]:
    return [(Path("in", name), Path(name)) for name in names]


def test_speech_with_curves_of_its_name_is_left_out() -> None:
    found = pairs("a.csv", "a.wav", "b.wav", "deep/a.wav", "deep/c.flac", "deep/c.json")
    kept = [str(relative) for _, relative in without_own_audio(found)]
    assert kept == ["a.csv", "b.wav", str(Path("deep/a.wav")), str(Path("deep/c.json"))]


def test_of_several_formats_the_exact_one_is_taken() -> None:
    found = pairs("a.csv", "a.json", "a.npz", "a.wav", "b.csv", "b.json")
    assert [str(relative) for _, relative in without_own_audio(found)] == ["a.npz", "b.csv"]


def test_curves_with_flames_parameters_stand_for_the_clip() -> None:
    found = pairs("a.csv", "a.flame.npz", "a.wav", "b.flame.npz", "b.npz", "c.flame.wav")
    kept = [str(relative) for _, relative in without_own_audio(found)]
    assert kept == ["a.flame.npz", "b.npz", "c.flame.wav"]


def test_speech_of_one_name_stays() -> None:
    """Two sounds are two inputs: that they collide is for the user to solve."""
    found = pairs("a.flac", "a.wav")
    assert without_own_audio(found) == found


def test_speech_alone_stays() -> None:
    found = pairs("a.wav", "b.wav")
    assert without_own_audio(found) == found
    assert without_own_audio([]) == []


def test_speech_is_animated_and_heard(tmp_path: Path) -> None:
    speech = tmp_path / "a.wav"
    performance = read_input(speech, None, lambda path: STILL)
    assert performance.motion is STILL
    assert performance.audio == speech


def test_speech_with_another_sound(tmp_path: Path) -> None:
    other = tmp_path / "mixed.wav"
    assert read_input(tmp_path / "a.wav", other, lambda path: STILL).audio == other


@pytest.mark.parametrize(("name", "told"), [("a.png", True), ("a.wav", False)])
def test_what_may_be_anything_is_told_what_motion_is(name: str, told: bool) -> None:
    def no_sound(path: Path) -> Motion:
        raise AudioError(f"cannot read {path}: no sound")

    with pytest.raises(AudioError) as error:
        read_input(Path(name), None, no_sound)
    ending = "; motion files are npz, csv, json, glb, vrm" if told else ""
    assert str(error.value) == f"cannot read {name}: no sound{ending}"


def test_motion_is_read_and_its_sound_found(tmp_path: Path) -> None:
    write_motion(moving(audio="take.flac"), tmp_path / "a.npz")
    touch(tmp_path / "take.flac", tmp_path / "a.wav")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        performance = read_input(tmp_path / "a.npz", None, never)
    np.testing.assert_array_equal(performance.motion.coefficients, moving().coefficients)
    assert performance.audio == tmp_path / "take.flac"


def test_the_sound_given_comes_first(tmp_path: Path) -> None:
    write_motion(moving(audio="take.flac"), tmp_path / "a.npz")
    touch(tmp_path / "take.flac")
    given = tmp_path / "given.wav"
    assert read_input(tmp_path / "a.npz", given, never).audio == given


def test_motion_without_sound_is_silent_and_says_so(tmp_path: Path) -> None:
    write_motion(moving(), tmp_path / "a.npz")
    with pytest.warns(SoundWarning, match=r"no sound found for .*a\.npz.*--audio"):
        assert read_input(tmp_path / "a.npz", None, never).audio is None


def test_broken_motion(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("nothing of the kind\n1,2,3\n")
    with pytest.raises(MotionError):
        read_input(tmp_path / "a.csv", None, never)


def test_sound_by_the_name_in_the_file(tmp_path: Path) -> None:
    touch(tmp_path / "take.mp3", tmp_path / "a.wav")
    assert find_audio(tmp_path / "a.json", moving("take.mp3")) == tmp_path / "take.mp3"


def test_sound_is_not_sought_elsewhere(tmp_path: Path) -> None:
    """Only the name counts: the folder that a file names may be anybody's."""
    touch(tmp_path / "elsewhere" / "take.wav", tmp_path / "here" / "take.wav")
    source = tmp_path / "here" / "a.json"
    for named in (str(tmp_path / "elsewhere" / "take.wav"), "../elsewhere/take.wav"):
        assert find_audio(source, moving(named)) == tmp_path / "here" / "take.wav"
    assert find_audio(tmp_path / "a.json", moving("elsewhere/take.wav")) is None


def test_a_path_of_windows_is_one_too(tmp_path: Path) -> None:
    touch(tmp_path / "take.wav")
    named = moving(r"C:\Users\anna\take.wav")
    assert find_audio(tmp_path / "a.json", named) == tmp_path / "take.wav"


def video(path: Path, *sound: str) -> Path:
    picture = ["-f", "lavfi", "-i", "color=s=32x32:r=10:d=0.3"]
    command = [get_ffmpeg_exe(), "-v", "error", *picture, *sound, str(path)]
    subprocess.run(command, check=True)
    return path


def test_a_take_s_sound_is_in_its_mov(tmp_path: Path) -> None:
    video(tmp_path / "take.MOV", "-f", "lavfi", "-i", "sine=d=0.3")
    assert find_audio(tmp_path / "take.csv", moving()) == tmp_path / "take.MOV"
    touch(tmp_path / "take.wav")
    assert find_audio(tmp_path / "take.csv", moving()) == tmp_path / "take.wav"


def test_a_mov_without_sound_is_none(tmp_path: Path) -> None:
    video(tmp_path / "take.mov")
    (tmp_path / "b.mov").write_text("no video")
    assert find_audio(tmp_path / "take.csv", moving()) is None
    assert find_audio(tmp_path / "b.csv", moving()) is None


def test_sound_by_the_same_stem(tmp_path: Path) -> None:
    touch(tmp_path / "a.WAV", tmp_path / "a.txt", tmp_path / "ab.flac")
    assert find_audio(tmp_path / "a.csv", moving("gone.wav")) == tmp_path / "a.WAV"
    assert find_audio(tmp_path / "b.csv", moving()) is None


@pytest.mark.parametrize("source", ["take.csv", "take.flame.npz"])
def test_the_sound_of_another_take_is_not_its_sound(tmp_path: Path, source: str) -> None:
    """``take.2.wav`` begins like ``take``, but is what ``take.2.csv`` was made of."""
    touch(tmp_path / "take.2.wav")
    assert find_audio(tmp_path / source, moving()) is None
    assert find_audio(tmp_path / "take.2.csv", moving()) == tmp_path / "take.2.wav"
    touch(tmp_path / "take.wav")
    assert find_audio(tmp_path / source, moving()) == tmp_path / "take.wav"


def test_a_folder_is_no_sound(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    assert find_audio(tmp_path / "a.csv", moving("a.wav")) is None


@pytest.mark.parametrize("stem", ["[take] 1", "a b", "100%", "[!x]", "ä ü", "a.b"])
def test_odd_names(tmp_path: Path, stem: str) -> None:
    touch(tmp_path / f"{stem}.flac")
    assert find_audio(tmp_path / f"{stem}.csv", moving()) == tmp_path / f"{stem}.flac"


def test_the_frame_rate_of_motions_that_name_none(tmp_path):
    (tmp_path / "a.csv").write_text("jawOpen\n" + "0.5\n" * 50)
    (tmp_path / "a.wav").touch()
    assert read_input(tmp_path / "a.csv", None, never, 50).motion.duration == 1
    [motion], _ = read_inputs([tmp_path / "a.csv"], None, never, 25)
    assert motion.duration == 2
