"""Speech without motion: cut into pieces, unreadable files named."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from helpers import (
    Recorder,
)
from rounds import write_speech

from dtalk.errors import DtalkError
from dtalk.training import unlabelled
from dtalk.training.unlabelled import PIECE_SECONDS, read_speech


def test_speech_is_cut_into_pieces_and_unreadable_files_are_named(spoken, monkeypatch):
    monkeypatch.setattr(unlabelled, "PIECE_SECONDS", 0.4)
    observer = Recorder()
    pieces = read_speech([spoken], observer)
    assert [piece.clip.name for piece in pieces] == [
        "deep/short.flac#0", *(f"long.wav#{number}" for number in range(4)),
    ]  # fmt: skip
    (note,) = observer.notes
    assert note.startswith("left out: cannot read ")
    assert "bad.wav" in note
    whole = soundfile.read(spoken / "long.wav", dtype="float32")[0]
    assert np.array_equal(np.concatenate([p.waveform for p in pieces[1:]]), whole)
    assert {len(p.waveform) for p in pieces[1:]} == {6000}  # 1.5 s are four pieces, all alike
    for piece in pieces:
        assert piece.coefficients is None
        assert (piece.clip.set, piece.clip.split) == ("speech", "train")
        assert piece.clip.speaker == piece.clip.emotion == ""
        assert piece.waveform.dtype == np.float32
        assert piece.waveform.flags.c_contiguous
    assert observer.loads[-1] == (3, 3)


@pytest.mark.parametrize(
    ("seconds", "pieces"), [(0.01, 1), (4.0, 1), (5.9, 1), (6.1, 2), (9.9, 2), (10.1, 3)]
)
def test_pieces_are_about_four_seconds(tmp_path, seconds, pieces):
    write_speech(tmp_path / "a.wav", seconds)
    found = read_speech([tmp_path], Recorder())
    assert len(found) == pieces
    assert PIECE_SECONDS == 4
    lengths = [len(piece.waveform) for piece in found]
    assert max(lengths) - min(lengths) <= 1
    assert sum(lengths) == round(seconds * 16000)


def test_speech_of_several_folders(spoken, tmp_path):
    write_speech(tmp_path / "more" / "x.wav", 0.2)
    names = [p.clip.name for p in read_speech([tmp_path / "more", spoken], Recorder())]
    assert names == ["x.wav#0", "deep/short.flac#0", "long.wav#0"]
    assert read_speech([], Recorder()) == []


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "no such file or folder"), ("empty", "nothing to do in folder")]
)
def test_folders_without_speech_are_refused(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DtalkError, match=message):
        read_speech([tmp_path / name], Recorder())
