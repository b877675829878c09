"""The cache of transfers."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtalk.heads.flame_head import FlameHead
from dtalk.heads.load import load_head
from dtalk.heads.transfer import cache as transfer_cache


def test_the_cache_gives_the_same_and_is_asked_first(
    place: Path, head: FlameHead, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_cache, "transfer", None)  # whoever calls it fails
    told: list[tuple[int, int]] = []
    again = load_head(place, cache=cache, progress=lambda *done: told.append(done))
    assert not told
    for name in ("vertices", "colors", "lips", "upper_face", "parts"):
        assert getattr(again, name).tobytes() == getattr(head, name).tobytes()
    assert again.shapes.data.tobytes() == head.shapes.data.tobytes()
    assert (again.opening, again.corners) == (head.opening, head.corners)


def test_damaged_entries_are_made_anew(place: Path, head: FlameHead, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = load_head(place, cache=tmp_path, progress=lambda *done: told.append(done))
    assert told[-1][0] == told[-1][1] == len(told)
    assert first.shapes.data.tobytes() == head.shapes.data.tobytes()  # computed twice, the same
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (b"", whole[:middle], flipped):
        entry.write_bytes(damaged)
        assert transfer_cache._read(entry, 5023) is None
    again = load_head(place, cache=tmp_path)
    assert again.shapes.data.tobytes() == head.shapes.data.tobytes()
    assert entry.read_bytes() == whole
