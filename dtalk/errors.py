"""The errors dtalk raises on purpose.

::

    DtalkError                 everything below; catch this one to catch them all
    ├── AudioError             a speech file that cannot be read or holds no usable sound
    ├── MotionError            a motion file or array that is not 52 named curves
    ├── DataError              a data set, split or label table that does not fit
    ├── CheckpointError        a model file that is broken, foreign or of another version
    ├── HeadError              a head model (built in or FLAME) that cannot be used
    ├── PickleError            a pickle that is damaged, or asks for more than arrays
    ├── RenderError            no renderer, or a frame that failed
    ├── VideoError             an mp4 that could not be written
    └── OutputExistsError      an output that is there already and must not be overwritten

Every message is one line: what is wrong, where, and what to do about it. Programming
mistakes (wrong types, wrong shapes between internal functions) stay ordinary Python errors.
"""

from __future__ import annotations


class DtalkError(Exception):
    """Base of all errors that a user can cause and cure; its text is one clear line."""


class AudioError(DtalkError):
    """A speech file cannot be read, or holds nothing that can be animated."""


class MotionError(DtalkError):
    """A motion file or array does not hold 52 named, finite curves."""


class DataError(DtalkError):
    """A data set, split or label table is missing, broken or does not fit."""


class CheckpointError(DtalkError):
    """A model file is missing, broken, foreign or of another format version."""


class HeadError(DtalkError):
    """A head model cannot be read, or does not fit what is asked of it."""


class PickleError(DtalkError):
    """A pickle is damaged, or asks for more than arrays and plain containers."""


class RenderError(DtalkError):
    """No renderer could be started, or a frame could not be rendered."""


class VideoError(DtalkError):
    """A video could not be encoded or written."""


class OutputExistsError(DtalkError):
    """The output exists and overwriting was not asked for."""


def one_line(error: BaseException | None) -> str:
    """Format an error as one line of at most 200 characters; its type if it has no message."""
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__
