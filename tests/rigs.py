"""What tests of rigged heads share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from flames import (
    EYE,
    SKIN,
)

from dtalk.motion.arkit import ARKIT_NAMES

BALLS = {"Left": np.arange(SKIN, SKIN + EYE), "Right": np.arange(SKIN + EYE, SKIN + 2 * EYE)}


def weights_of(**values: float) -> np.ndarray:
    row = np.zeros(52, dtype=np.float32)
    for name, value in values.items():
        row[ARKIT_NAMES.index(name)] = value
    return row


# --- files --------------------------------------------------------------------------------------


def write_npz(path: Path, content: dict[str, Any]) -> Path:
    dense = {k: v.toarray() if hasattr(v, "toarray") else v for k, v in content.items()}
    np.savez(path, **dense)
    return path
