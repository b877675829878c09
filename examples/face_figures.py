"""What the tables of `dtalk evaluate` do not show of a model: is it a face one believes?

    python examples/face_figures.py --data DATA --speech SPEECH --weights student \
        --teacher teacher --encoder whisper-base

Named emotions at strength 1 against neutral, on ten neutral clips; lids and blinks; neutral speech
that is found neutral; and how well the opening of the lips agrees with the teacher's. Validation
split, one sample a clip; `--speech` is the folder of unlabelled speech.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from dtalk.data.clips import Clip, LoadedClip, load_clips, select
from dtalk.data.index import read_index
from dtalk.evaluation import metrics
from dtalk.evaluation.sampling import predict
from dtalk.evaluation.scoring import Geometry
from dtalk.heads.head import built_in
from dtalk.inference import model_path, read_model
from dtalk.model import DiffusionTalker
from dtalk.motion.arkit import ARKIT_NAMES
from dtalk.speech.audio import SAMPLE_RATE as RATE
from dtalk.speech.audio import load_audio

WANTED = {  # issue: what a named emotion should add to neutral, mean over the clips
    "angry": {"browDown": 0.25},
    "happy": {"mouthSmile": 0.3},
    "sad": {"browInnerUp": 0.2, "mouthFrown": 0.15},
    "surprised": {"browInnerUp": 0.3, "browOuterUp": 0.3, "eyeWide": 0.15},
    "fearful": {"browInnerUp": 0.2, "eyeWide": 0.15, "mouthStretch": 0.1},
    "disgusted": {"noseSneer": 0.25},
}
AT_EASE = {"neutral", "calm"}
FACE = Geometry(built_in())


def channel(motion: np.ndarray, stem: str) -> float:
    """Mean over time of a shape, left and right alike."""
    columns = [i for i, name in enumerate(ARKIT_NAMES) if name.startswith(stem)]
    return float(motion[:, columns].mean())


def emotions(model: DiffusionTalker, clips: list[LoadedClip]) -> None:
    """What each named emotion that the model knows adds to the neutral version of the clips."""
    print("\nnamed emotions at strength 1, less neutral, mean over", len(clips), "clips")
    plain = [said(model, clip, "neutral") for clip in clips]
    for name in filter(model.config.emotions.__contains__, WANTED):
        wanted = WANTED[name]
        shown = [said(model, clip, name) for clip in clips]
        added = {
            stem: np.mean([channel(a, stem) - channel(b, stem) for a, b in zip(shown, plain)])
            for stem in wanted
        }
        opening = np.nanmean(
            [metrics.correlation(FACE.opening(a), FACE.opening(b)) for a, b in zip(shown, plain)]
        )
        found = ", ".join(f"{k} {added[k]:+.2f} (>= {v:.2f})" for k, v in wanted.items())
        print(f"  {name:10} {found}; opening r to neutral {opening:.2f}")


def said(model: DiffusionTalker, clip: LoadedClip, emotion: str) -> np.ndarray:
    """The clip's motion in a named emotion."""
    return model.animate(clip.waveform, emotion=emotion, emotion_strength=1.0).coefficients


def lids(moved: Iterable[tuple[LoadedClip, np.ndarray]]) -> None:
    """Blinks a minute, and how often the lids hang."""
    column = ARKIT_NAMES.index("eyeBlinkLeft")
    shut = [samples[0][:, column] for _, samples in moved]
    minutes = sum(map(len, shut)) / 1800
    blinks = sum(int((np.diff((x > 0.5).astype(int), prepend=0) > 0).sum()) for x in shut)
    hanging = np.mean(np.concatenate([(x > 0.15) & (x < 0.6) for x in shut]))
    print(
        f"\nblinks {blinks / minutes:.1f} a minute; eyeBlink .15 to .6 in {hanging:.1%} of frames"
    )


@torch.inference_mode()
def at_ease(model: DiffusionTalker, name: str, sounds: list[np.ndarray], also: set[str]) -> None:
    """How often neutral speech is found neutral, calm, or one of ``also``."""
    found = [model.animate(sound, steps=1).emotion for sound in sounds]
    share = np.mean([label in AT_EASE | also for label in found])
    print(f"  {name:12} {share:.0%} of {len(found)}")


def openings(model: DiffusionTalker, clips: list[LoadedClip]) -> dict[str, np.ndarray]:
    """Opening of the lips by name of clip."""
    return {c.clip.name: FACE.opening(s[0]) for c, s in predict(model, clips, [0])}


def agreement(student: DiffusionTalker, teacher: DiffusionTalker, clips: list[LoadedClip]) -> float:
    """Mean correlation of the two models' opening."""
    mine, theirs = openings(student, clips), openings(teacher, clips)
    return float(np.nanmean([metrics.correlation(mine[k], theirs[k]) for k in theirs]))


def speech_clips(folder: Path, pattern: str, count: int) -> list[LoadedClip]:
    """Some files of unlabelled speech, at most 12 s each."""
    files = sorted(folder.glob(pattern))
    chosen = files[:: max(1, len(files) // count)][:count]
    return [
        LoadedClip(Clip(p.stem, "speech", "val", "", "", p, None), load_audio(p)[: 12 * RATE], None)
        for p in chosen
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--speech", type=Path, help="folder of unlabelled speech")
    parser.add_argument("--weights", default="student")
    parser.add_argument("--teacher", help="model to agree with")
    parser.add_argument("--encoder", help="large encoder of a teacher")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--count", type=int, default=20, help="files of each kind of speech")
    asked = parser.parse_args()
    model = read_model(model_path(asked.weights), "cpu", asked.encoder, asked.cache)
    index = read_index(asked.data)
    tracked = {
        name: load_clips(select(index, "val", [name], motion=True))[0]
        for name in ("grid", "spokes", "crema")
    }
    neutral = [c for c in tracked["grid"] + tracked["crema"] if c.clip.emotion == "neutral"]
    emotions(model, neutral[:: len(neutral) // 10][:10])
    lids(predict(model, [c for clips in tracked.values() for c in clips], [0]))
    print("\nfound neutral or calm (spokes: or happy)")
    at_ease(model, "grid", [c.waveform for c in tracked["grid"][: asked.count]], set())
    at_ease(model, "spokes", [c.waveform for c in tracked["spokes"]], {"happy"})
    spoken = []
    if asked.speech:
        for pattern in ("librispeech/*.opus", "fleurs/*.opus"):
            clips = speech_clips(asked.speech, pattern, asked.count)
            at_ease(model, pattern.split("/")[0], [c.waveform for c in clips], set())
            spoken += clips
    if asked.teacher:
        teacher = read_model(model_path(asked.teacher), "cpu", asked.encoder, asked.cache)
        print("\nopening against the teacher's, r")
        print(f"  spokes {agreement(model, teacher, tracked['spokes']):.3f}")
        if spoken:
            print(f"  unlabelled speech {agreement(model, teacher, spoken):.3f}")


if __name__ == "__main__":
    main()
