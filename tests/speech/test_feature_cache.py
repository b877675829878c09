"""The feature cache: nothing is encoded twice, nothing damaged is believed."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Array, speech
from torch import Tensor, nn

from dtalk.speech.audio import frame_count
from dtalk.speech.feature_cache import CacheWarning, FeatureCache, default_folder

WIDTH = 5
SOUND = speech(4000)


@dataclass
class Encoder:
    """What the cache needs of a large encoder; it counts its calls."""

    fingerprint: str = "0123456789abcdef"
    layers: tuple[int, ...] = (2, 4)
    precision: str = "float32"
    name: str = "some/encoder"
    scale: float = 1.0
    calls: int = 0

    def __call__(self, waveform: Array) -> Tensor:
        self.calls += 1
        generator = torch.Generator().manual_seed(len(waveform))
        features = torch.randn(frame_count(len(waveform)), WIDTH, generator=generator)
        return self.scale * (features + float(waveform.sum()))


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def cache(encoder: Encoder, tmp_path: Path) -> FeatureCache:
    return FeatureCache(encoder, tmp_path / "cache")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_same_sound_is_encoded_once(cache, encoder):
    first, second = cache(SOUND), cache(SOUND.copy())
    assert encoder.calls == 1
    assert first.dtype == second.dtype == torch.float32
    assert torch.equal(first, second)
    assert files(cache.folder) == [cache.path(SOUND)]


def test_features_are_the_encoders_in_half_precision(cache, encoder):
    expected = encoder(SOUND)
    assert torch.equal(cache(SOUND), expected.half().float())
    assert not torch.equal(cache(SOUND), expected)


def test_another_run_finds_what_was_kept(cache, tmp_path):
    other = Encoder(name="elsewhere")
    kept = cache(SOUND)
    assert torch.equal(FeatureCache(other, str(tmp_path / "cache"))(SOUND), kept)
    assert other.calls == 0


@pytest.mark.parametrize(
    "change", [{"fingerprint": "f" * 16}, {"layers": (2,)}, {"layers": (4, 2)}, {"precision": "b"}]
)
def test_another_encoder_shares_nothing(cache, encoder, change):
    other = replace(encoder, **change, scale=2.0)
    kept = cache(SOUND)
    fresh = FeatureCache(other, cache.folder)(SOUND)
    assert other.calls == 1
    torch.testing.assert_close(fresh, 2 * kept, rtol=1e-2, atol=1e-2)
    assert torch.equal(cache(SOUND), kept)
    assert encoder.calls == 1


def nudged(sound: Array) -> Array:
    other = sound.copy()
    other[-1] = np.nextafter(other[-1], np.float32(1))
    return other


@pytest.mark.parametrize(
    "change",
    [nudged, lambda s: s[:-1], lambda s: np.pad(s, (0, 1)), lambda s: np.pad(s, (1, 0))],
    ids=["last bit", "shorter", "longer", "later"],
)
def test_another_sound_shares_nothing(cache, encoder, change):
    cache(SOUND)
    cache(change(SOUND))
    assert encoder.calls == 2
    assert len(files(cache.folder)) == 2


def test_another_frame_rate_shares_nothing(cache, encoder, monkeypatch):
    monkeypatch.setattr("dtalk.speech.feature_cache.FPS", 25)
    assert FeatureCache(encoder, cache.folder).path(SOUND) != cache.path(SOUND)


def test_features_can_be_trained_on(cache):
    for features in (cache(SOUND), cache(SOUND)):
        layer = nn.Linear(WIDTH, 1)
        layer(features).sum().backward()
        assert layer.weight.grad is not None
        features.add_(1)  # they are the caller's own
    assert not torch.equal(cache(SOUND), features)


@pytest.mark.parametrize("sign", [-1, 1])
def test_values_beyond_half_precision_stay_finite(cache, encoder, sign):
    encoder.scale = sign * 1e9
    features = cache(SOUND)
    assert features.isfinite().all()
    assert features.abs().max() == np.finfo(np.float16).max


# Size


def sound(number: int) -> Array:
    return speech(4000, seed=number)


def age(path: Path, hours: float) -> None:
    """Let an entry have been used so long ago."""
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))


def aged(cache: FeatureCache, *numbers: int) -> list[Path]:
    """Entries for these sounds, the first used longest ago."""
    paths = []
    for hours, number in zip(range(100, 0, -1), numbers):
        cache(sound(number))
        paths.append(cache.path(sound(number)))
        age(paths[-1], hours)
    return paths


@pytest.fixture
def entry_bytes(cache: FeatureCache) -> int:
    cache(SOUND)
    size = cache.path(SOUND).stat().st_size
    cache.path(SOUND).unlink()
    return size


def test_what_was_used_longest_ago_goes_first(encoder, cache, entry_bytes):
    paths = aged(cache, *range(10))
    small = FeatureCache(encoder, cache.folder, limit=10 * entry_bytes)
    small(sound(10))  # the eleventh: down to nine tenths of the limit
    assert [path.exists() for path in paths] == [False, False, *[True] * 8]
    assert small.path(sound(10)).exists()


def test_use_keeps_an_entry(encoder, cache, entry_bytes):
    paths = aged(cache, *range(10))
    small = FeatureCache(encoder, cache.folder, limit=10 * entry_bytes)
    small(sound(0))
    small(sound(10))
    assert [path.exists() for path in paths] == [True, False, False, *[True] * 7]
    assert encoder.calls == 1 + 11  # the first was not encoded again


def test_the_limit_holds_however_much_is_written(encoder, tmp_path, entry_bytes):
    """Also what other encoders have left there counts, and what a killed process did."""
    FeatureCache(replace(encoder, fingerprint="f" * 16), tmp_path / "small")(SOUND)
    left = tmp_path / "small" / "0a" / ".dtalk-0123456789abcdef.npy"
    left.parent.mkdir()
    left.write_bytes(bytes(5 * entry_bytes))
    age(left, 100)
    small = FeatureCache(encoder, tmp_path / "small", limit=10 * entry_bytes)
    for number in range(40):
        small(sound(number))
        held = sum(path.stat().st_size for path in files(tmp_path / "small"))
        assert held <= 11 * entry_bytes
    assert small.path(sound(39)).exists()
    assert not left.exists()


def test_files_that_are_no_entries_are_left_alone(encoder, cache, entry_bytes):
    """However old and large: a user may name any folder."""
    others = [cache.folder / "song.npy", cache.folder / "0a" / "song.npy"]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(bytes(100 * entry_bytes))
        age(other, 1000)
    small = FeatureCache(encoder, cache.folder, limit=3 * entry_bytes)
    for number in range(6):
        small(sound(number))
    assert all(other.exists() for other in others)
    assert small.path(sound(5)).exists()
    assert len(files(cache.folder)) <= 2 + 3


def test_a_folder_below_its_limit_is_left_alone(cache):
    paths = aged(cache, *range(5))
    cache(sound(5))
    assert all(path.exists() for path in paths)


def test_an_entry_that_another_process_took_is_no_error(encoder, cache, entry_bytes, monkeypatch):
    aged(cache, *range(10))
    plain = Path.unlink

    def raced(path: Path, missing_ok: bool = False) -> None:
        plain(path, missing_ok=True)
        plain(path, missing_ok=missing_ok)

    small = FeatureCache(encoder, cache.folder, limit=5 * entry_bytes)
    with monkeypatch.context() as racing:
        racing.setattr(Path, "unlink", raced)
        assert torch.equal(small(sound(10)), small(sound(10)))
    assert len(files(cache.folder)) <= 5


def test_a_sound_that_never_comes_again_is_not_kept(cache, encoder):
    fresh = cache(SOUND, keep=False)
    assert files(cache.folder) == []
    assert torch.equal(cache(SOUND), fresh)
    assert encoder.calls == 2
    assert torch.equal(cache(SOUND, keep=False), fresh)  # but what is there is used
    assert encoder.calls == 2


# Damage


def flipped(position: int) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        damaged = bytearray(content)
        damaged[position] ^= 4
        return bytes(damaged)

    return flip


def sealed(body: bytes) -> bytes:
    """With the checksum that an entry has, so that only its content is wrong."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:3],
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: content + b"\0",
        lambda content: b"no features",
        flipped(2),
        flipped(200),
        flipped(-6),
        flipped(-1),
        lambda content: sealed(b""),
        lambda content: sealed(b"no features"),
        lambda content: sealed(content[:-40]),
        lambda content: sealed(pickled()),
    ],
)
def test_a_damaged_entry_is_computed_anew_and_repaired(cache, encoder, damage):
    good, entry = cache(SOUND), cache.path(SOUND)
    content = entry.read_bytes()
    assert damage(content) != content
    entry.write_bytes(damage(content))
    assert torch.equal(cache(SOUND), good)
    assert encoder.calls == 2
    assert entry.read_bytes() == content
    cache(SOUND)
    assert encoder.calls == 2


# Writing


def test_a_folder_that_cannot_be_written_is_a_warning(encoder, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    cache = FeatureCache(encoder, tmp_path / "file" / "cache")
    with pytest.warns(CacheWarning) as caught:
        features = cache(SOUND)
    assert torch.equal(features, cache(SOUND, keep=False))
    message = str(caught[0].message)
    assert str(tmp_path / "file") in message
    assert "cannot write" in message
    assert "--cache" in message
    assert "\n" not in message


def test_a_full_disk_leaves_no_part_of_an_entry(cache, monkeypatch):
    write = Path.write_bytes

    def fill(path: Path, content: bytes) -> None:
        write(path, content[:99])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", fill)
        with pytest.warns(CacheWarning, match=os.strerror(errno.ENOSPC)):
            cache(SOUND)
    assert files(cache.folder) == []
    assert torch.equal(cache(SOUND), cache(SOUND))


def test_an_entry_appears_whole(cache, encoder, monkeypatch):
    """What is moved to its name, in one step, is complete: another process may read at any time."""
    moved = []
    move = os.replace

    def watch(source: Path, target: Path) -> None:
        assert not cache.path(SOUND).exists()
        moved.append((Path(source).read_bytes(), Path(source).parent, Path(target)))
        move(source, target)

    monkeypatch.setattr(os, "replace", watch)
    cache(SOUND)
    entry = cache.path(SOUND)
    assert moved == [(entry.read_bytes(), entry.parent, entry)]


def test_an_interrupted_encoder_leaves_nothing(encoder, tmp_path, monkeypatch):
    def interrupt(self: Encoder, waveform: Array) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(Encoder, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        FeatureCache(encoder, tmp_path)(SOUND)
    assert files(tmp_path) == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG folders are Linux's")
def test_features_are_kept_in_the_users_cache_folder(encoder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "dtalk" / "features"
    cache = FeatureCache(encoder)
    cache(SOUND)
    assert files(tmp_path) == [cache.path(SOUND)]
    assert tmp_path / "dtalk" / "features" in cache.path(SOUND).parents
