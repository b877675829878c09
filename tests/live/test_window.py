"""The sliding window, with a model that shows what it is given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import BROW, JAW, Mirror, hiss, in_blocks, quiet, syllables, tone

from dtalk.config import AnimationOptions
from dtalk.engine.graph import Found
from dtalk.live.finishing import Finishing
from dtalk.live.loudness import RunningLoudness
from dtalk.live.voice import RunningVoice
from dtalk.live.window import CONTEXT, SlidingWindow, look_ahead
from dtalk.motion.arkit import PARTING_CHANNELS
from dtalk.speech.audio import first_sample, frame_count


def window(
    engine: Mirror, look_ahead: float = 0.2, rest: bool = False, seed: int = 0
) -> SlidingWindow:
    options = AnimationOptions(seed=seed, close_in_silence=rest)
    return SlidingWindow(engine, look_ahead, options)


def run(sliding: SlidingWindow, sound: np.ndarray, size: int = 160) -> np.ndarray:
    made = []
    for block in in_blocks(sound, size):
        sliding.feed(block)
        made.append(sliding.advance())
    return np.concatenate([*made, sliding.finish()])


def stairs(frames: int) -> np.ndarray:
    """Frame k's sound is k / 1000 throughout."""
    bounds = [first_sample(frame) for frame in range(frames + 1)]
    return np.repeat(np.arange(frames) / 1000, np.diff(bounds)).astype(np.float32)


@pytest.fixture
def unlevelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunningLoudness, "levelled", lambda self, samples: samples)
    monkeypatch.setattr(Finishing, "_freedom", lambda self, present: 1.0)


@pytest.mark.usefixtures("unlevelled")
@pytest.mark.parametrize("size", [1000, 533, 160, 16_000])
def test_every_frame_has_its_own_sound(size: int) -> None:
    made = run(window(Mirror()), stairs(120), size)
    np.testing.assert_allclose(made[:, JAW], np.arange(120) / 1000, atol=1e-6)


def test_every_frame_keeps_its_noise_whichever_window_makes_it() -> None:
    one_by_one = run(window(Mirror()), stairs(120), 160)
    in_large_steps = run(window(Mirror()), stairs(120), 9000)
    np.testing.assert_array_equal(one_by_one[:, BROW], in_large_steps[:, BROW])
    assert len(np.unique(one_by_one[:, BROW])) == 120
    assert not np.array_equal(one_by_one, run(window(Mirror(), seed=1), stairs(120)))


def test_windows_that_disagree_are_led_over_into_each_other() -> None:
    """0.5 was sent; all later windows say 0.7: 30 % of the way is gone with every frame."""

    class Changing(Mirror):
        def run(self, levelled, noise, voice, temperature) -> Found:
            found = super().run(levelled, noise, voice, temperature)
            found.coefficients[:] = 0.5 if len(self.calls) == 1 else 0.7
            return found

    made = run(window(Changing()), quiet(0.5))
    expected = 0.7 - 0.2 * 0.7 ** np.arange(len(made))
    np.testing.assert_allclose(made[:, BROW], expected, atol=1e-6)
    at_once = run(window(Changing()), quiet(0.5), 4000)
    assert at_once[0, BROW] == pytest.approx(0.5)
    assert at_once[-1, BROW] == pytest.approx(0.7, abs=0.02)


def test_the_same_sound_gives_the_same_bytes() -> None:
    sound = np.concatenate([quiet(0.5), tone(2)])
    first, second = (run(window(Mirror(), rest=True), sound).tobytes() for _ in range(2))
    assert first == second


@given(samples=st.integers(1, 40_000), size=st.integers(1, 20_000))
def test_there_are_as_many_frames_as_in_a_clip(samples: int, size: int) -> None:
    sliding = window(Mirror())
    made = run(sliding, np.zeros(samples, np.float32), max(size, samples // 20))
    assert len(made) == frame_count(samples)
    assert not len(sliding.finish())


def test_no_sound_no_frames() -> None:
    sliding = window(Mirror())
    assert sliding.advance().shape == (0, 52)
    assert sliding.finish().shape == (0, 52)


@pytest.mark.parametrize(
    ("fps", "taken"), [(30, 0), (60, 0.75), (120, 0.875), (90, 2 / 3), (15, 0.5)]
)
def test_frames_between_the_models_leave_less_look_ahead(fps: int, taken: float) -> None:
    assert look_ahead(0.2, fps) == pytest.approx(0.2 - taken / 30)


@pytest.mark.parametrize("ahead", [0.1, 0.2, 0.25, 0.5])
def test_a_frame_is_made_once_its_look_ahead_has_come_and_no_sooner(ahead: float) -> None:
    sliding, needed = window(Mirror(), ahead), round(10.5 / 30 * 16_000 + ahead * 16_000)
    sliding.feed(np.zeros(needed - 1, np.float32))
    assert len(sliding.advance()) == 10
    sliding.feed(np.zeros(1, np.float32))
    assert len(sliding.advance()) == 1


def test_the_window_holds_the_context_and_the_look_ahead() -> None:
    engine = Mirror()
    run(window(engine), stairs(150))
    sounds = [len(levelled) / 16_000 for levelled, *_ in engine.calls[70:140]]
    assert min(sounds) >= CONTEXT + 0.2
    assert max(sounds) <= CONTEXT + 0.2 + 0.15


def test_a_window_starts_at_a_whole_sample_and_as_many_frames_as_sound() -> None:
    engine = Mirror()
    run(window(engine), stairs(90))
    for levelled, noise, *_ in engine.calls:
        assert len(noise) == frame_count(len(levelled))


def test_sound_is_levelled_by_the_running_loudness() -> None:
    engine = Mirror()
    run(window(engine), np.concatenate([quiet(1), tone(3, 0.4)]))
    levelled, *_ = engine.calls[-1]
    assert np.abs(levelled).max() == pytest.approx(0.1 * np.sqrt(2), rel=0.02)


def test_the_voice_is_handed_on_from_window_to_window() -> None:
    engine = Mirror(identity=(0, 1, 0), emotion=(0, 1))
    run(window(engine), tone(1))
    first, second, *_ = (voice for *_, voice, _ in engine.calls)
    assert not first.identity.any()
    assert second.identity.tolist() == [0, 1, 0]
    assert second.emotion.tolist() == [[0, 1]]


def test_silence_tells_nothing_of_a_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr(RunningVoice, "add", lambda self, found, frames: heard.append(frames))
    run(window(Mirror()), quiet(2))
    assert not heard
    run(window(Mirror()), syllables(2))
    assert len(heard) >= 50


def test_the_mouth_rests_in_silence_and_nothing_else_does() -> None:
    sound = np.concatenate([tone(1), quiet(0.9)])
    free, resting = run(window(Mirror()), sound), run(window(Mirror(), rest=True), sound)
    others = np.setdiff1d(np.arange(52), PARTING_CHANNELS)
    np.testing.assert_array_equal(free[:, others], resting[:, others])
    assert free[50:, PARTING_CHANNELS].all()
    assert not resting[50:, PARTING_CHANNELS].any()
    np.testing.assert_array_equal(free[10:25], resting[10:25])


@pytest.mark.parametrize("rest", [False, True])
def test_the_mouth_rests_where_nothing_stands_out_whatever_the_model_does(rest: bool) -> None:
    """Silence for a second, hum and noise for four; it is free again once somebody speaks."""
    sound = np.concatenate([syllables(2), quiet(2), hiss(6, 0.01), syllables(1), tone(6, 0.05)])
    made = run(window(Mirror(), rest=rest), sound)[:, PARTING_CHANNELS]
    resting = np.array([not frame.any() for frame in made])
    assert resting[105:112].all()
    assert resting[245:290].all()
    assert resting[470:505].all()
    assert not resting[10:60].any()
    assert not resting[303:328].any()


def test_warming_up_leaves_no_trace() -> None:
    sound = tone(1)
    warm = window(Mirror())
    warm.warm_up()
    np.testing.assert_array_equal(run(warm, sound), run(window(Mirror()), sound))


def test_the_temperature_reaches_the_model() -> None:
    engine = Mirror()
    run(SlidingWindow(engine, 0.2, AnimationOptions(temperature=0.5)), tone(0.5))
    assert {temperature for *_, temperature in engine.calls} == {0.5}


def test_memory_is_bounded() -> None:
    sliding = window(Mirror())
    run(sliding, quiet(10), 1600)
    assert len(sliding._sound) < 3 * 16_000
    assert len(sliding._noise) < 3 * 30
