"""Speech without labels or faces, in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dtalk.data.clips import Clip, LoadedClip, few
from dtalk.errors import DtalkError
from dtalk.speech.audio import AUDIO_SUFFIXES, SAMPLE_RATE, load_audio
from dtalk.training.batches import SPEECH
from dtalk.training.observer import Observer
from dtalk.utils.files import expand_inputs

PIECE_SECONDS = 4.0  # longer speech is cut into pieces of this


def read_speech(folders: Sequence[Path], observer: Observer) -> list[LoadedClip]:
    """Speech files below folders, in pieces, without labels; unreadable ones are named.

    Raises:
        DtalkError: a folder is missing or holds no sound.
    """
    pieces, failures = [], []
    files = expand_inputs(folders, set(AUDIO_SUFFIXES)) if folders else []
    for done, (path, relative) in enumerate(files, 1):
        try:
            waveform = load_audio(path)
        except DtalkError as error:
            failures.append(str(error))
            continue
        count = max(1, round(len(waveform) / SAMPLE_RATE / PIECE_SECONDS))
        for number, piece in enumerate(np.array_split(waveform, count)):
            clip = Clip(f"{relative.as_posix()}#{number}", SPEECH, "train", "", "", path, None)
            pieces.append(LoadedClip(clip, np.ascontiguousarray(piece), None))
        observer.loading(done, len(files))
    for line in few(failures):
        observer.note(f"left out: {line}")
    return pieces
