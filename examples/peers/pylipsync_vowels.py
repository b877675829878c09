"""pylipsync: which of five vowels, or silence, each 20 ms of speech are most like, and how loud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import soundfile
from clips import run
from pylipsync import PhonemeAnalyzer

FPS = 50  # of its answers; 16000 / 50 is a whole number of samples, so that no time is lost

ANALYZER = PhonemeAnalyzer()


def cues(wav: Path, frames: int) -> dict[str, Any]:
    """The dominant vowel, as strong as all vowels together: that is the loudness it tells."""
    samples, rate = soundfile.read(wav, dtype="float32")
    segments = ANALYZER.extract_phoneme_segments(samples, rate, fps=FPS, return_seconds=True)
    found = []
    for segment in segments:
        weight = sum(phoneme.target for phoneme in segment.phonemes)
        name = segment.dominant_phoneme.name
        found.append([segment.start, segment.end, {name: float(min(weight, 1))}])
    return {"cues": found}


if __name__ == "__main__":
    run(cues)
