"""The table of cases, ../shared/cases: each input of users and attackers does as they want.

The quick ones run here. ``DTALK_CASES=all`` runs all, as ``python examples/cases`` does: sounds,
videos and what runs in a process of its own take ten minutes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared" / "cases"
QUICK = ("05 ", "08 percent", "13 ")
SLOW = ("13 --fps", "13 take", "13 windows")  # these draw videos


def _cases() -> list[object]:
    """All cases that run here; none where nothing could run them."""
    pytest.importorskip("resource", reason="measures memory as Unix does")
    sys.path.insert(0, str(REPOSITORY / "examples"))
    try:
        from cases import all_cases

        found = all_cases()
    finally:
        sys.path.remove(str(REPOSITORY / "examples"))
    if os.environ.get("DTALK_CASES") == "all":
        return list(found)
    names = {id(case): f"{case.folder} {case.name}" for case in found}
    return [
        case
        for case in found
        if names[id(case)].startswith(QUICK) and not names[id(case)].startswith(SLOW)
    ]


@pytest.fixture
def kit(tmp_path: Path) -> object:
    """A folder to work in, and the folder of the cases."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/cases")
    from cases.kit import Kit

    return Kit(tmp_path, SHARED)


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case.folder} {case.name}")
def test_case(case, kit):
    from cases.kit import NotTried

    try:
        verdict = case.check(kit)
    except NotTried as reason:
        pytest.skip(str(reason))
    assert verdict.good, verdict.seen
