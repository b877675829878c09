"""Live sessions from end to end, with a model that is fast. Nothing here measures time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from streams import JAW, Collected, Mirror, in_blocks, quiet, syllables, tone

from dtalk.config import AnimationOptions
from dtalk.errors import AudioError
from dtalk.live.frames import Frame
from dtalk.live.session import CLOSING, REPEATS, LiveSession, animate_blocks
from dtalk.live.sources import Blocks, SoundQueue, paced
from dtalk.live.window import SlidingWindow
from dtalk.motion.arkit import PARTING_CHANNELS


def window(rest: bool = False) -> SlidingWindow:
    return SlidingWindow(Mirror(), 0.1, AnimationOptions(close_in_silence=rest))


def session(source, *senders, fps: int = 30, rest: bool = False) -> LiveSession:
    return LiveSession(source, window(rest), senders, fps)


def recorded(sound: np.ndarray) -> Blocks:
    return Blocks(paced(in_blocks(sound)))


def closing(fps: int) -> int:
    return round(CLOSING * fps) + REPEATS - 1


@pytest.mark.parametrize("fps", [30, 60])
def test_all_frames_of_the_sound_are_sent_or_counted(fps: int) -> None:
    receiver = Collected()
    found = session(recorded(syllables(0.5)), receiver, fps=fps).run()
    numbers = [frame.number for frame in receiver.frames]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] + 1 == fps // 2 + closing(fps)
    assert found.frames == len(numbers)
    assert found.frames + found.dropped == numbers[-1] + 1
    assert len(found.latencies) == found.frames - closing(fps)
    assert found.lost == {"collected": 0}


def test_frames_stand_for_their_middles_and_are_the_models_own() -> None:
    receiver = Collected()
    session(recorded(syllables(0.5)), receiver).run()
    expected = {f.number: f for f in animate_blocks(in_blocks(syllables(0.5)), window())}
    for frame in receiver.frames[: -closing(30)]:
        assert frame.time == (frame.number + 0.5) / 30
        # Loudness, and so the jaw, may differ by what had arrived when the frame was made.
        others = np.arange(52) != JAW
        np.testing.assert_array_equal(
            frame.coefficients[others], expected[frame.number].coefficients[others]
        )


def test_the_face_goes_back_to_neutral_smoothly() -> None:
    receiver = Collected()
    session(recorded(tone(0.3)), receiver).run()
    *_, last = [f.coefficients for f in receiver.frames[: -closing(30)]]
    faces = [frame.coefficients for frame in receiver.frames[-closing(30) :]]
    np.testing.assert_allclose(faces[0], last * 8 / 9, atol=1e-6)
    np.testing.assert_allclose(faces[4], last * 4 / 9, atol=1e-6)
    assert not np.any(faces[-REPEATS:])
    assert np.any(faces[-REPEATS - 1])


def test_all_receivers_get_the_same() -> None:
    one, other = Collected("one"), Collected("other")
    found = session(recorded(tone(0.3)), one, other).run()
    assert [f.number for f in one.frames] == [f.number for f in other.frames]
    assert set(found.lost) == {"one", "other"}


class Interrupting(Collected):
    """Presses Ctrl-C when it gets certain frames."""

    def __init__(self, *at: int) -> None:
        super().__init__()
        self._at = at

    def send(self, frame: Frame) -> None:
        super().send(frame)
        if len(self.frames) in self._at:
            raise KeyboardInterrupt


def test_ctrl_c_ends_in_neutral() -> None:
    receiver = Interrupting(4)
    found = session(recorded(tone(30)), receiver).run()
    assert len(receiver.frames) == 4 + closing(30)
    assert not receiver.frames[-1].coefficients.any()
    assert found.frames == 3 + closing(30)  # the one that was interrupted is not counted


def test_ctrl_c_again_ends_in_neutral_at_once() -> None:
    receiver = Interrupting(4, 6)
    session(recorded(tone(30)), receiver).run()
    assert len(receiver.frames) == 7
    assert not receiver.frames[-1].coefficients.any()


def test_a_source_that_fails_ends_in_neutral_and_says_why() -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield from in_blocks(tone(0.3))
        raise AudioError("unplugged")

    receiver = Collected()
    with pytest.raises(AudioError, match="unplugged"):
        session(Blocks(paced(blocks())), receiver).run()
    assert not receiver.frames[-1].coefficients.any()


def test_a_source_that_cannot_be_opened_sends_nothing() -> None:
    class Missing:
        @contextmanager
        def feed(self, queue: SoundQueue) -> Iterator[None]:
            raise AudioError("no microphone")
            yield

    receiver = Collected()
    with pytest.raises(AudioError, match="no microphone"):
        session(Missing(), receiver).run()
    assert not receiver.frames


def test_a_model_that_fails_ends_in_neutral_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Collected()

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Mirror, "run", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        session(recorded(tone(1)), receiver).run()
    assert not receiver.frames[-1].coefficients.any()


class Leaving(Collected):
    """A reader that goes after some frames."""

    def send(self, frame: Frame) -> None:
        if len(self.frames) == 3:
            raise BrokenPipeError
        super().send(frame)


def test_a_receiver_that_leaves_does_not_end_it_for_others() -> None:
    left, stays = Leaving("left"), Collected("stays")
    session(recorded(tone(0.3)), left, stays).run()
    assert len(left.frames) == 3
    assert len(stays.frames) > 3 + closing(30) - 1
    assert not stays.frames[-1].coefficients.any()


def test_when_the_last_receiver_leaves_it_ends() -> None:
    with pytest.raises(BrokenPipeError):
        session(recorded(tone(30)), Leaving()).run()


def test_where_no_sound_comes_silence_takes_its_place_and_the_mouth_rests() -> None:
    class Muted:
        @contextmanager
        def feed(self, queue: SoundQueue) -> Iterator[None]:
            for block in in_blocks(tone(0.2)):
                queue.put(block)
            end = threading.Timer(1.2, queue.end)
            end.start()
            yield
            end.cancel()

    receiver = Collected()
    found = session(Muted(), receiver, rest=True).run()
    assert found.added_silence > 0.5
    last = receiver.frames[-closing(30) - 1]
    assert not last.coefficients[PARTING_CHANNELS].any()
    assert last.coefficients.any()


def test_what_comes_much_faster_than_it_lasts_is_lost_and_counted() -> None:
    receiver = Collected()
    found = session(Blocks(in_blocks(quiet(5))), receiver).run()
    assert found.lost_sound > 1
    assert found.frames + found.dropped < 150


def test_as_fast_as_possible_gives_every_frame_and_the_same_bytes() -> None:
    sound = syllables(1)

    def made(size: int) -> list[Frame]:
        return list(animate_blocks(in_blocks(sound, size), window()))

    frames = made(1600)
    assert [frame.number for frame in frames] == list(range(30))
    for one, other in zip(frames, made(1600)):
        np.testing.assert_array_equal(one.coefficients, other.coefficients)


def test_as_fast_as_possible_at_sixty_a_second() -> None:
    slow = [f.coefficients for f in animate_blocks(in_blocks(tone(1)), window())]
    fast = [f.coefficients for f in animate_blocks(in_blocks(tone(1)), window(), 60)]
    assert len(fast) == 60
    np.testing.assert_allclose(fast[7], 0.75 * slow[3] + 0.25 * slow[4], atol=1e-6)
    np.testing.assert_allclose(fast[8], 0.25 * slow[3] + 0.75 * slow[4], atol=1e-6)


def test_frames_come_as_soon_as_their_sound_is_there() -> None:
    read: list[int] = []

    def blocks() -> Iterator[np.ndarray]:
        for number, block in enumerate(in_blocks(tone(1))):
            read.append(number)
            yield block

    next(animate_blocks(blocks(), window()))
    assert len(read) < 15


def test_no_sound_is_no_frames() -> None:
    assert list(animate_blocks([], window())) == []
    receiver = Collected()
    found = session(recorded(quiet(0)), receiver).run()
    assert found.latencies.maxlen
    assert np.isnan(found.latency(0.5))
    assert not any(frame.coefficients.any() for frame in receiver.frames)
