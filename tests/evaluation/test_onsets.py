"""The mouth's opening about onsets, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dtalk.config import EngineOptions
from dtalk.data.clips import load_clips, select
from dtalk.data.index import read_index
from dtalk.evaluation.onsets import AROUND, SILENCE, about_onsets, onsets, opening_curve
from dtalk.evaluation.scoring import Geometry
from dtalk.heads.head import built_in
from dtalk.inference import animate_waveform, load_talker
from dtalk.speech.voice_activity import speaking


def spoken(*runs: tuple[int, bool]) -> np.ndarray:
    """Frames in runs of so many, spoken or not."""
    return np.concatenate([np.full(count, said) for count, said in runs])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (spoken((20, True)), []),
        (spoken((20, False)), []),
        (spoken((SILENCE - 1, False), (5, True)), []),
        (spoken((SILENCE, False), (5, True)), [(9, 9)]),
        (spoken((3, True), (9, False), (4, True), (8, False), (1, True)), [(12, 9)]),
        (spoken((12, False), (1, True), (10, False), (1, True)), [(12, 12), (23, 10)]),
    ],
)
def test_onsets(said, expected):
    assert onsets(said) == expected


def test_frames_outside_the_clip_or_before_the_silence_are_unknown():
    said = spoken((4, True), (10, False), (6, True))
    [row] = about_onsets(np.arange(20, dtype=np.float32), said)
    assert np.isnan(row[: AROUND - 10]).all()
    assert row[AROUND - 10 : AROUND + 6].tolist() == list(range(4, 20))
    assert np.isnan(row[AROUND + 6 :]).all()


def test_the_curve_is_a_share_of_the_opening_in_speech():
    """Two onsets; at -10 only the first has a frame. The spoken frames open 2 and 6 mm, mean 4."""
    first = spoken((20, False), (16, True))
    second = spoken((9, False), (16, True))
    openings = [
        np.r_[np.full(20, 1.0), np.full(16, 2.0)].astype(np.float32),
        np.r_[np.full(9, 3.0), np.full(16, 6.0)].astype(np.float32),
    ]
    curve = opening_curve(openings, [first, second])
    assert curve[AROUND - 10] == pytest.approx(1 / 4)
    assert curve[AROUND - 9] == pytest.approx((1 + 3) / 2 / 4)
    assert curve[AROUND] == pytest.approx((2 + 6) / 2 / 4)


def test_clips_without_an_onset_do_not_count():
    mute, talking = spoken((40, False)), spoken((20, False), (20, True))
    alone = opening_curve([np.ones(40, np.float32)], [talking])
    both = opening_curve([np.full(40, 9, np.float32), np.ones(40, np.float32)], [mute, talking])
    assert both.tolist() == alone.tolist() == [1.0] * 31
    assert np.isnan(opening_curve([np.ones(40, np.float32)], [mute])).all()


def test_the_student_opens_its_mouth_when_people_do(shared):
    """On every 60th clip: no sooner on average, and never by a quarter of its opening later."""
    chosen = select(read_index(shared / "data"), "train", motion=True)[::60]
    clips = [c for c in load_clips(chosen)[0] if onsets(speaking(c.waveform, c.frames))]
    talker, geometry = load_talker(EngineOptions(threads=1)), Geometry(built_in())
    spoken = [speaking(clip.waveform, clip.frames) for clip in clips]
    made = [animate_waveform(talker, c.waveform).coefficients[: c.frames] for c in clips]
    seen = [c.coefficients.astype(np.float32) for c in clips if c.coefficients is not None]
    student, tracked = (
        opening_curve([geometry.opening(face) for face in faces], spoken) for faces in (made, seen)
    )
    assert len(spoken) > 20
    sooner = (student - tracked)[AROUND - 12 : AROUND + 1]
    assert sooner.mean() < 0.05
    assert abs(sooner).max() < 0.25
