"""examples/peers: answers of other systems as motion, and the floors; no peer is run."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import JAW, loaded_clip, write_clip, write_data, write_index

from dtalk.data.clips import LoadedClip
from dtalk.errors import DataError
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.motion.files import read_motion

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "peers"


def by_path(name: str):
    spec = importlib.util.spec_from_file_location(f"examples_{name}", FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


peers = by_path("peers")

SMILES = [ARKIT_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right")]
OPEN, WIDE = np.zeros(52), np.zeros(52)
OPEN[JAW], WIDE[SMILES] = 0.6, 0.3
TABLE = {"open": OPEN, "wide": WIDE, "rest": np.zeros(52)}


def middle(frame: int) -> float:
    return (frame + 0.5) / 30


class TestTable:
    @pytest.mark.parametrize("name", ["oculus", "rhubarb", "vowels"])
    def test_ours_can_be_shown(self, name):
        table = peers.read_table(name)
        for pose in table.values():
            assert pose.shape == (52,)
            assert pose.min() >= 0
            assert pose.max() <= 1
        still = [viseme for viseme, pose in table.items() if not pose.any()]
        assert still == {"oculus": ["sil"], "rhubarb": ["X"], "vowels": ["silence"]}[name]

    def test_they_have_what_the_peers_say(self):
        assert set(peers.read_table("rhubarb")) == set("ABCDEFGHX")
        text = (FOLDER / "headaudio.mjs").read_text(encoding="utf-8")
        start, end = text.index("const NAMES"), text.index("const SILENCE")
        quoted = text[start:end].split('"')[1::2]
        assert len(quoted) == 15
        assert set(quoted) == set(peers.read_table("oculus"))

    def test_a_channel_without_a_side_is_both(self, tmp_path):
        path = tmp_path / "tables.json"
        path.write_text('{"t": {"v": {"jawOpen": 0.5, "mouthSmile": 0.2, "browDownLeft": 1}}}')
        pose = peers.read_table("t", path)["v"]
        shown = {ARKIT_NAMES[i]: pose[i] for i in pose.nonzero()[0]}
        both = {"mouthSmileLeft": 0.2, "mouthSmileRight": 0.2}
        assert shown == {"jawOpen": 0.5, "browDownLeft": 1, **both}

    def test_unknown(self, tmp_path):
        with pytest.raises(DataError, match=r"no table 'x'; there are oculus, rhubarb, vowels"):
            peers.read_table("x")
        path = tmp_path / "tables.json"
        path.write_text('{"t": {"v": {"jawopen": 0.5}}}')
        with pytest.raises(DataError, match="jawopen is no ARKit blend shape"):
            peers.read_table("t", path)


class TestCues:
    def test_a_viseme_fades_in_and_out(self):
        # From the middle of frame 6 to that of frame 12: half of the fade is over there.
        curve = peers.from_cues([(middle(6), middle(12), {"open": 1.0})], TABLE, 20)[:, JAW]
        after = (0.04 - 1 / 30) / 0.08  # of the window of the frame next to the border: 1/12
        expected = np.zeros(20)
        expected[[5, 6, 7, 8]] = after, 0.5, 1 - after, 1
        expected[[13, 12, 11, 10, 9]] = after, 0.5, 1 - after, 1, 1
        np.testing.assert_allclose(curve, 0.6 * expected, atol=1e-12)

    def test_two_visemes_cross_fade(self):
        cues = [(0.0, middle(10), {"open": 1.0}), (middle(10), 1.0, {"wide": 1.0})]
        curves = peers.from_cues(cues, TABLE, 21)
        np.testing.assert_allclose(curves[10, [JAW, *SMILES]], [0.3, 0.15, 0.15])
        sums = curves[2:, JAW] / 0.6 + curves[2:, SMILES[0]] / 0.3
        np.testing.assert_allclose(sums, 1)

    def test_a_short_one_is_not_shown_in_full(self):
        cues = [(middle(3) - 0.01, middle(3) + 0.01, {"open": 1.0})]  # a quarter of the fade
        np.testing.assert_allclose(peers.from_cues(cues, TABLE, 5)[3, JAW], 0.15)

    def test_weights_mix(self):
        cues = [(0.0, 1.0, {"open": 0.5, "wide": 0.25, "rest": 0.25})]
        curves = peers.from_cues(cues, TABLE, 10)
        np.testing.assert_allclose(curves[5, [JAW, *SMILES]], [0.3, 0.075, 0.075])

    def test_cues_that_overlap_share_their_time(self):
        cues = [(0.0, 1.0, {"open": 1.0}), (0.0, 1.0, {"wide": 1.0})]
        np.testing.assert_allclose(
            peers.from_cues(cues, TABLE, 10)[5, [JAW, *SMILES]], [0.3, 0.15, 0.15]
        )

    def test_none(self):
        assert not peers.from_cues([], TABLE, 4).any()

    def test_an_unknown_viseme(self):
        with pytest.raises(DataError, match="no viseme 'ajar' in the table; it has open, wide"):
            peers.from_cues([(0, 1, {"ajar": 1.0})], TABLE, 4)


class TestCurves:
    @pytest.mark.parametrize(
        ("frames", "expected"), [(3, [0.1, 0.2, 0.3]), (2, [0.1, 0.2]), (5, [0.1, 0.2, *[0.3] * 3])]
    )
    def test_cut_and_padded(self, frames, expected):
        curves = peers.from_curves({"jawOpen": [0.1, 0.2, 0.3]}, frames)
        np.testing.assert_array_equal(curves[:, JAW], expected)
        assert np.delete(curves, JAW, 1).max() == 0

    def test_an_unknown_channel(self):
        with pytest.raises(DataError, match="jaw is no ARKit blend shape"):
            peers.from_curves({"jaw": [0.1]}, 1)


class TestFits:
    def test_loudness(self):
        # Frames 0 and 1 are silent, 2 and 3 at 0.25: a window reaches half a frame to each side.
        waveform = np.repeat([0.0, 0.25], 1067)[: 4 * 533].astype(np.float32)
        found = peers.loudness(waveform, 4)
        assert found[0] == 0
        assert found[3] == pytest.approx(0.5)
        # One quarter of the window is loud: rms 0.25 / 2.
        assert found[1] == pytest.approx((0.25 / 2) ** 0.5, rel=1e-2)
        assert peers.loudness(np.zeros(1, np.float32), 1) == [0]

    def test_the_scale_is_found_again(self):
        clips = []
        for seed in range(3):
            clip = loaded_clip(frames=9, seed=seed)
            assert clip.coefficients is not None
            clip.coefficients[:, JAW] = 0.7 * peers.loudness(clip.waveform, 9)
            clips.append(clip)
        assert peers.fitted_scale(clips) == pytest.approx(0.7)
        silent = LoadedClip(clips[0].clip, np.zeros(4800, np.float32), clips[0].coefficients)
        assert peers.fitted_scale([silent]) == 0

    def test_the_gain_is_the_least_squared_error_s(self):
        from dtalk.evaluation.scoring import Region
        from dtalk.heads.head import built_in

        head = built_in()
        lips = Region(head, head.lips)
        one, two = np.tile(OPEN, (4, 1)), np.tile(0.5 * OPEN, (2, 1))
        assert peers.fitted_gain([(one, 0.4 * one), (two, 0.4 * two)], lips) == pytest.approx(
            0.4, rel=1e-4
        )
        # Two frames for one to whom they should be doubled, one at rest: (2 + 0) / (1 + 1).
        pairs = [(one[:1], 2 * one[:1]), (one[:1], 0 * one[:1])]
        assert peers.fitted_gain(pairs, lips) == pytest.approx(1, rel=1e-4)
        assert peers.fitted_gain([(0 * one, one)], lips) == 1


class TestPlaces:
    def test_folders_in_the_name(self):
        assert peers.place(Path("out"), "a/b.c", ".csv") == Path("out/a/b.c.csv")

    @pytest.mark.parametrize("name", ["../a", "a/../../b", "/tmp/a", ".."])
    def test_none_outside(self, name):
        with pytest.raises(DataError, match="leads out of out"):
            peers.place(Path("out"), name, "")


def answer(path: Path, *lines: dict) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["peers.py", *map(str, arguments)])
    return peers.main()


class TestCommands:
    @pytest.fixture
    def data(self, tmp_path):
        return write_data(tmp_path / "data")

    def test_speech_there_and_motion_back(self, data, tmp_path, monkeypatch, capsys):
        work = tmp_path / "work"
        assert run(monkeypatch, "speech", data, work) == 0
        rows = json.loads((work / "clips.json").read_text())
        assert [row["clip"] for row in rows] == ["va", "vb"]
        sound = soundfile.info(work / rows[0]["wav"])
        assert (sound.samplerate, sound.channels, sound.subtype) == (16000, 1, "PCM_16")
        frames = {row["clip"]: row["frames"] for row in rows}
        answers = answer(
            work / "answers",
            {"clip": "va", "cues": [[0, 9, {"D": 1}]]},
            {"clip": "vb", "curves": {"jawOpen": [0.5, 1.5]}},
        )
        out = tmp_path / "out"
        arguments = ["motion", work, answers, out, "--table", "rhubarb", "--gain", "0.5"]
        assert run(monkeypatch, *arguments) == 0
        first, second = (read_motion(out / f"{name}.csv") for name in ("va", "vb"))
        assert (len(first), len(second)) == (frames["va"], frames["vb"])
        assert first.fps == second.fps == 30
        np.testing.assert_allclose(first.coefficients[3, JAW], 0.25)
        np.testing.assert_allclose(second.coefficients[:3, JAW], [0.25, 0.75, 0.75])
        said = capsys.readouterr().err
        assert f"out: vb: 2 frames made {frames['vb']}\n" in said
        assert "out: 2 of 2 clips written" in said

    def test_failures_are_named_and_stop_nothing(self, data, tmp_path, monkeypatch, capsys):
        work, out = tmp_path / "work", tmp_path / "out"
        assert run(monkeypatch, "speech", data, work, "--split", "train") == 0
        answers = answer(
            work / "answers",
            {"clip": "a0", "error": "Error: deaf"},
            {"clip": "a1", "cues": [[0, 1, {"Q": 1}]]},
            {"clip": "a2", "cues": [[0, 1, {"aa": 1}]]},
        )
        assert run(monkeypatch, "motion", work, answers, out) == 1
        said = capsys.readouterr().err
        for line in ("a0: Error: deaf", "a1: no viseme 'Q'", "a3: no answer", "1 of 6 clips"):
            assert line in said
        assert "peers.py: out failed at 5 clips" in said
        assert [path.name for path in out.iterdir()] == ["a2.csv"]

    def test_gain(self, data, tmp_path, monkeypatch, capsys):
        work = tmp_path / "work"
        assert run(monkeypatch, "speech", data, work, "--split", "train", "--every", "3") == 0
        rows = json.loads((work / "clips.json").read_text())
        assert [row["clip"] for row in rows] == ["a0", "a3"]
        lines = []
        for row in rows:
            tracked = read_motion(data / f"{row['clip']}.npz").coefficients
            curves = {name: (tracked[:, i] * 2).tolist() for i, name in enumerate(ARKIT_NAMES)}
            lines.append({"clip": row["clip"], "curves": curves})
        assert run(monkeypatch, "gain", data, work, answer(work / "answers", *lines)) == 0
        assert capsys.readouterr().out == "0.500\n"

    def test_floors(self, data, tmp_path, monkeypatch, capsys):
        assert run(monkeypatch, "floors", data, tmp_path) == 0
        still = read_motion(tmp_path / "static" / "va.csv").coefficients
        loud = read_motion(tmp_path / "loudness" / "va.csv").coefficients
        assert not still.any()
        assert len(still) == len(loud) == len(read_motion(data / "va.npz"))
        assert loud[:, JAW].min() > 0
        assert not np.delete(loud, JAW, 1).any()
        assert "static, loudness: 2 clips" in capsys.readouterr().err

    def test_names_with_folders(self, tmp_path, monkeypatch):
        data = tmp_path / "data"
        row = write_clip(data, "x", 12, 0) | {"set": "s", "clip": "anna/x"}
        write_index(data, [row | {"split": split} for split in ("train", "val")])
        assert run(monkeypatch, "speech", data, tmp_path / "work") == 0
        assert (tmp_path / "work" / "wav" / "anna" / "x.wav").is_file()
        assert run(monkeypatch, "floors", data, tmp_path) == 0
        assert (tmp_path / "static" / "anna" / "x.csv").is_file()

    def test_no_data(self, tmp_path, monkeypatch, capsys):
        assert run(monkeypatch, "floors", tmp_path, tmp_path / "out") == 1
        assert capsys.readouterr().err.startswith("peers.py: cannot read ")


class TestPeerScripts:
    def test_clips(self, tmp_path, monkeypatch):
        """What every Python peer does with a work folder, a failure included."""
        clips = by_path("clips")
        rows = [{"clip": name, "wav": f"wav/{name}.wav", "frames": 3} for name in "ab"]
        (tmp_path / "clips.json").write_text(json.dumps(rows))
        monkeypatch.setattr(sys, "argv", ["peer", str(tmp_path), str(tmp_path / "answers")])

        def recognise(wav, frames):
            if wav.stem == "b":
                raise ValueError("too quiet")
            return {"curves": {"jawOpen": [0.5] * frames}}

        clips.run(recognise)
        lines = (tmp_path / "answers").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [
            {"clip": "a", "curves": {"jawOpen": [0.5, 0.5, 0.5]}},
            {"clip": "b", "error": "ValueError: too quiet"},
        ]

    @pytest.mark.parametrize("name", ["openfacefx_energy", "pylipsync_vowels", "clips"])
    def test_they_do_without_dtalk(self, name):
        """They run in an environment of their own."""
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        nodes = list(ast.walk(tree))
        found = {n.module for n in nodes if isinstance(n, ast.ImportFrom)}
        found |= {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        assert not [module for module in found if (module or "").startswith("dtalk")]
