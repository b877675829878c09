"""Who is told how training goes."""

from __future__ import annotations

from typing import Protocol

from dtalk.evaluation.scoring import Scores


class Observer(Protocol):
    """Who is told how training goes: the command line, a log, a test."""

    def loading(self, done: int, total: int) -> None: ...

    def updated(self, update: int, updates: int, loss: float, seconds: float) -> None: ...

    def validated(self, update: int, tables: dict[str, Scores]) -> None: ...

    def note(self, line: str) -> None: ...


class Silent:
    """An observer that says nothing: that of all ranks but the first."""

    def loading(self, done: int, total: int) -> None: ...

    def updated(self, update: int, updates: int, loss: float, seconds: float) -> None: ...

    def validated(self, update: int, tables: dict[str, Scores]) -> None: ...

    def note(self, line: str) -> None: ...
