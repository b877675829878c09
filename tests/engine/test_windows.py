"""Long sounds in windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers import speech, tiny_model

from dtalk.engine.graph import Graph
from dtalk.engine.hearing import hear
from dtalk.engine.protocol import Engine
from dtalk.engine.torch_engine import TorchEngine
from dtalk.engine.voice import as_found, chosen_voice
from dtalk.engine.windows import LAYOUT, Layout, predict_in_windows, samples_of
from dtalk.errors import AudioError, DtalkError
from dtalk.motion.noise import standard_normal
from dtalk.speech import bottom
from dtalk.speech.audio import first_sample
from dtalk.speech.measures import measure
from dtalk.utils.types import Progress

SMALL = Layout(grid=48, window=168, step=96, takeover=24, fade=12)
FRAMES = 408  # a window, a second one and a last one
SOUND = speech(first_sample(FRAMES))


@pytest.mark.parametrize("layout", [LAYOUT, SMALL])
@pytest.mark.parametrize("frames", [1, 168, 169, 400, 2280, 2281, 3000, 3721, 10_000, 432_000])
def test_windows_cover_a_sound_and_overlap(frames: int, layout: Layout) -> None:
    found = layout.bounds(frames)
    assert found[0][0] == 0
    assert found[-1][1] == frames
    assert all(begin % layout.grid == 0 and end - begin <= layout.window for begin, end in found)
    assert all(end - begin == layout.window for begin, end in found[:-1])
    assert len(found) == 1 or found[-1][1] - found[-1][0] > layout.window - layout.grid
    for one, other in pairwise(found):
        assert one[1] - other[0] >= layout.takeover + layout.fade
        assert other[0] - one[0] in (layout.grid, layout.step)


def test_the_grid_is_that_of_the_encoders_own_windows() -> None:
    stride = (bottom.SPAN - bottom.OVERLAP) / bottom.RATE
    assert LAYOUT.grid == 30 * stride
    assert LAYOUT.window == 30 * bottom.SPAN / bottom.RATE + 2 * LAYOUT.grid
    assert LAYOUT.step % LAYOUT.grid == 0


def test_a_window_takes_over_from_the_one_before() -> None:
    before, window = np.zeros((50, 1), np.float32), np.ones((168, 1), np.float32)
    found = SMALL.faded(before, window)[:, 0]
    assert not found[:24].any()
    assert found[24] == pytest.approx(0.5 / 12)
    assert found[29:31].mean() == pytest.approx(0.5)
    assert (found[36:] == 1).all()
    np.testing.assert_array_equal(SMALL.faded(before[:0], window), window)


def test_the_last_window_has_all_samples_that_are_left() -> None:
    measures = measure(iter([SOUND[:-100]]), 0)
    assert measures.frames == FRAMES
    assert samples_of([(3, 6), (6, FRAMES)], measures) == [(1600, 3200), (3200, len(SOUND) - 100)]


@pytest.fixture(scope="module")
def graph(exported: Path) -> Graph:
    return Graph(exported, threads=1)


def blocks(size: int = 4096, sound: np.ndarray = SOUND) -> Iterator[np.ndarray]:
    return (sound[at : at + size] for at in range(0, len(sound), size))


def animated(
    engine: Engine,
    size: int = 4096,
    layout: Layout = SMALL,
    progress: Progress | None = None,
    sound: np.ndarray = SOUND,
) -> np.ndarray:
    voice, read = chosen_voice(engine.config, "bob", "happy", 1), partial(blocks, size, sound)
    measures = measure(read(), 0)
    return predict_in_windows(engine, read, measures, voice, 1.0, progress, layout)


def test_windows_change_nothing_that_one_could_see(graph: Graph) -> None:
    """Of a model whose encoder has no windows of its own."""
    measures, voice = measure(blocks(), 0), chosen_voice(graph.config, "bob", "happy", 1)
    noise = standard_normal(measures.digest.noise_seed, FRAMES)
    whole = graph.run(measures.levels.levelled(SOUND), noise, voice).coefficients
    assert len(SMALL.bounds(FRAMES)) == 4
    np.testing.assert_allclose(animated(graph), whole, atol=1e-5)


def test_windows_of_the_encoder_lie_alike_in_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the features of a moment differ, and all curves with them."""
    monkeypatch.setattr(bottom, "SPAN", 140)  # 84 frames, every 72
    monkeypatch.setattr(bottom, "OVERLAP", 20)
    sizes = {"encoder": "whisper", "bottom_width": 64, "encoder_depth": 1}
    engine = TorchEngine(tiny_model(**sizes))
    sound = speech(first_sample(84 + 4 * 72))
    whole = animated(engine, sound=sound, layout=LAYOUT)
    aligned = Layout(grid=72, window=84 + 2 * 72, step=144, takeover=36, fade=6)
    errors = [
        np.abs(animated(engine, sound=sound, layout=layout) - whole).max()
        for layout in (aligned, replace(aligned, grid=60, step=120))
    ]
    assert errors[0] < 0.1 * errors[1]


def test_windows_mix_the_linear_priors_as_the_whole_sound_does() -> None:
    """Which of them speaks is heard in all of the sound, not in a window."""
    engine = TorchEngine(tiny_model(experts=("news", "talks", "plays")))
    sound = SOUND * np.linspace(0.1, 1, len(SOUND), dtype=np.float32)  # no two windows alike
    read = partial(blocks, 4096, sound)
    measures = measure(read(), 0)
    heard, features = hear(engine, read, measures, SMALL)
    at_once = as_found(engine.config).completed(heard.identity, heard.emotion)
    noise = standard_normal(measures.digest.noise_seed, FRAMES)
    whole = engine.run(measures.levels.levelled(sound), noise, at_once, 1.0).coefficients
    errors = [
        np.abs(predict_in_windows(engine, read, measures, voice, layout=SMALL) - whole).max()
        for voice in (replace(at_once, heard=features), at_once)
    ]
    assert errors[0] < 1e-5 < errors[1]


def test_the_size_of_blocks_does_not_matter(graph: Graph) -> None:
    first = animated(graph)
    for size in (160, 100_000, len(SOUND)):
        np.testing.assert_array_equal(animated(graph, size), first)


def test_both_engines_have_the_same_windows(graph: Graph) -> None:
    torch = animated(TorchEngine(tiny_model()))
    np.testing.assert_allclose(animated(graph), torch, atol=1e-4)


def test_progress_is_told_after_each_window(graph: Graph) -> None:
    told: list[tuple[int, int]] = []
    animated(graph, progress=lambda *done: told.append(done))
    assert told == [(96, 408), (192, 408), (240, 408), (408, 408)]


def test_a_sound_that_has_become_shorter_is_an_error(graph: Graph) -> None:
    voice, measures = chosen_voice(graph.config), measure(blocks(), 0)
    with pytest.raises(AudioError, match="was changed while it was read"):
        predict_in_windows(graph, lambda: iter([SOUND[:-1]]), measures, voice, layout=SMALL)


def test_a_full_disk_is_one_line(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("dtalk.engine.windows.TemporaryFile", Full)
    with pytest.raises(DtalkError, match="cannot write a temporary file: No space left on device"):
        animated(graph)
