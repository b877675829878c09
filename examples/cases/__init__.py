"""The inputs of ../shared/cases and their like, each with a check of what dtalk makes of it."""

from __future__ import annotations

from cases.kit import Case


def all_cases() -> list[Case]:
    """Every case, by folder."""
    from cases import batches, curves, hostile, sound

    return [*sound.CASES, *curves.CASES, *batches.CASES, *hostile.CASES]
