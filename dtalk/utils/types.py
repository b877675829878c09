"""Types that many modules use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""
