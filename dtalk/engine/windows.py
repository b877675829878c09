"""Long clips in windows, so that the memory of a prediction does not grow with their length.

Windows last a minute; neighbours overlap by ten seconds and are cross-faded in the middle of
them. Who speaks and how they feel is found in each window anew.
"""

from __future__ import annotations

import numpy as np

from dtalk.engine.graph import Found, Graph
from dtalk.engine.voice import Voice
from dtalk.speech.audio import first_sample
from dtalk.utils.types import Array

WINDOW, OVERLAP, FADE = 1800, 300, 60  # frames: 60 s, 10 s, 2 s


def run_in_windows(
    graph: Graph, levelled: Array, noise: Array, voice: Voice, temperature: float = 1.0
) -> Found:
    """As :meth:`.Graph.run`, in windows if the clip is longer than one."""
    frames = len(noise)
    if frames <= WINDOW:
        return graph.run(levelled, noise, voice, temperature)
    curves, done = np.zeros_like(noise), 0
    heard, likely, spent = [], [], []
    for begin, end in bounds(frames):
        sound = levelled[first_sample(begin) : None if end == frames else first_sample(end)]
        found = graph.run(sound, noise[begin:end], voice, temperature)
        curves[begin:end] = faded(curves[begin:end], found.coefficients, done - begin)
        heard.append((found.identity, found.emotion))
        likely.append((found.identity_probability, found.emotion_probability))
        spent.append(end - begin)
        done = end
    means = (np.average(of, axis=0, weights=spent) for of in (*zip(*heard), *zip(*likely)))
    return Found(curves, *means)


def bounds(frames: int) -> list[tuple[int, int]]:
    """First and last (exclusive) frames of the windows; the last one overlaps most."""
    last = max(0, frames - WINDOW) // 3 * 3
    begins = [*range(0, last, WINDOW - OVERLAP), last]
    return [(begin, begin + WINDOW) for begin in begins[:-1]] + [(last, frames)]


def faded(before: Array, window: Array, overlap: int) -> Array:
    """A window ``[T, 52]`` that takes over from what there is in the middle of the overlap."""
    if not overlap:
        return window
    start = (overlap - FADE) // 2
    share = ((np.arange(len(window), dtype=np.float32) + 0.5 - start) / FADE).clip(0, 1)[:, None]
    return before + share * (window - before)
