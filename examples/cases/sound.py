"""Sound as it comes: time lines, tracks, joined streams, channels, loudness, containers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from cases.kit import (
    FPS,
    RATE,
    Case,
    Kit,
    NotTried,
    Signal,
    Verdict,
    correlation,
    decoded,
    lag,
    mouth_in,
)

OPEN = 0.15  # of jawOpen: from here on a mouth is seen to open
MOST_OFF = 1.0  # frames


def _speech(kit: Kit) -> Signal:
    """4.85 s of clean speech."""
    samples, _ = soundfile.read(kit.user("loudness/good.flac"), dtype="float32")
    return samples


def _wav(kit: Kit, name: str, samples: Signal, rate: int = RATE) -> Path:
    soundfile.write(kit.work / name, samples, rate, subtype="FLOAT")
    return kit.work / name


def _length(kit: Kit, path: Path, seconds: float, quiet: bool = True) -> Verdict:
    """Whether a file is animated for as long as it sounds, without a warning."""
    jaw, result = kit.animated(path)
    warned = "damaged" if result.said("damaged") else ""
    noisy = "libmpg123" in result.err or "Note:" in result.err
    good = abs(len(jaw) - seconds * FPS) <= MOST_OFF and not (quiet and warned) and not noisy
    seen = f"{len(jaw)} of {seconds * FPS:.0f} frames"
    if result.status:
        seen += ", refused"
    return Verdict(good, ", ".join(filter(None, [seen, warned, "noise on screen" * noisy])))


def _sync(kit: Kit, path: Path, seconds: float, *flags: object) -> Verdict:
    """Whether mouth and voice of its video go together, and both last as long as they should."""
    video, result = kit.rendered(path, *flags)
    if not video.exists():
        return Verdict(False, f"no video: {result.err.strip()[-80:]}")
    late, r = kit.lag(video)
    heard, seen = len(decoded(video)) / RATE, len(mouth_in(video)) / FPS
    whole = abs(heard - seconds) * FPS <= 3 and abs(seen - seconds) * FPS <= 2
    return Verdict(
        abs(late) <= MOST_OFF and whole and r > 0.7,
        f"mouth {late:+.0f} frames off the voice (r {r:.2f}), {seen:.2f} s of picture, "
        f"{heard:.2f} s of sound, wanted {seconds:.2f}",
    )


# Time lines ----------------------------------------------------------------------------------


def _muxed(kit: Kit, name: str, sound: tuple[object, ...], picture: tuple[object, ...]) -> Path:
    """A video of ffmpeg: options of the sound, whose input is speech, and of the picture."""
    speech = _wav(kit, f"{name}.wav", _speech(kit))
    black = ("-f", "lavfi", "-i", "color=s=64x36:r=10:d=6.5")
    before = [*sound[: sound.index("-")], "-i", speech]
    after = [*sound[sound.index("-") + 1 :]]
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-map", "1:v", "-map", "0:a")
    kit.ffmpeg(*before, *picture, *black, *codec, *after, kit.work / name)
    return kit.work / name


def _late(kit: Kit, name: str, *codec: object) -> Path:
    return _muxed(kit, name, ("-itsoffset", 1.5, "-", *codec), ())


def _holes(kit: Kit, name: str, *codec: object) -> tuple[Path, Signal]:
    """Speech of which the packets from 1.5 to 2.5 s are lost, and how it is to sound."""
    path = _muxed(kit, name, ("-", *codec, "-bsf:a", r"noise=drop=between(pts*tb\,1.5\,2.5)"), ())
    wanted = _speech(kit).copy()
    wanted[round(1.5 * RATE) : round(2.5 * RATE)] = 0
    return path, wanted


def _hole(kit: Kit, name: str, *codec: object, delay: int = 0) -> Verdict:
    """Players play the ``delay`` of an encoder, samples, where a container cannot tell it."""
    path, wanted = _holes(kit, name, *codec)
    return _as_wanted(kit, path, np.concatenate([np.zeros(delay, np.float32), wanted]))


def _as_wanted(kit: Kit, path: Path, wanted: Signal) -> Verdict:
    """Whether the mouth moves as for ``wanted``, at its own times, in its last second too."""
    jaw, result = kit.animated(path)
    expected, _ = kit.animated(_wav(kit, f"{path.stem}-wanted.wav", wanted))
    if not len(jaw):
        return Verdict(False, f"refused: {result.err.strip()[-80:]}")
    tail = len(expected) - 2 * FPS
    late, _ = lag(jaw[tail:], expected[tail : len(jaw)], FPS)
    r = correlation(jaw, expected)
    good = r > 0.9 and abs(len(jaw) - len(expected)) <= 2 and abs(late) <= MOST_OFF
    return Verdict(good, f"{len(jaw)} of {len(expected)} frames, end {late:+.0f} frames, r {r:.2f}")


def _jump(kit: Kit, name: str, change: float) -> Verdict:
    """Time stamps that jump by ``change`` seconds at 2 s."""
    shift = rf"if(gte(TS*TB\,2)\,{change}/TB\,0)"
    options = ("-", "-c:a", "libopus", "-bsf:a", f"setts=ts=TS+{shift}")
    try:
        path = _muxed(kit, name, options, ())
    except Exception as error:
        raise NotTried(f"ffmpeg does not make it: {error}") from error
    speech, at = _speech(kit), 2 * RATE
    if change > 0:
        gap = np.zeros(round(change * RATE), np.float32)
        return _as_wanted(kit, path, np.concatenate([speech[:at], gap, speech[at:]]))
    return _as_wanted(kit, path, np.concatenate([speech[:at], speech[at - round(change * RATE) :]]))


def _capture(kit: Kit, late: Path, seconds: float) -> Verdict:
    """A motion longer than the sound's own length, up to the sound's end on its time line."""
    rows = round(seconds * 60)
    lines = ["Timecode,BlendShapeCount,JawOpen"]
    for row in range(rows):
        second, frame = divmod(row, 60)
        value = 0.5 + 0.5 * np.sin(row / 60 * 12)
        lines.append(f"00:00:{second:02}:{frame:02}.000,61,{value:.4f}")
    motion = kit.work / "capture.csv"
    motion.write_text("\n".join(lines) + "\n")
    video, result = kit.rendered(motion, "--audio", late)
    frames = len(decoded(video)) / RATE
    cut = result.said("cut off")
    return Verdict(
        not cut and abs(frames - seconds) < 0.1,
        f"sound of {frames:.2f} of {seconds:.2f} s{', motion is cut' if cut else ''}",
    )


# Tracks and channels ---------------------------------------------------------------------------


def _second_track(kit: Kit) -> Verdict:
    video, result = kit.rendered(kit.user("second-track/two.mp4"))
    late, r = kit.lag(video)
    told = result.said("track")
    return Verdict(
        abs(late) <= MOST_OFF and r > 0.7 and told,
        f"voice and mouth r {r:.2f}, {'track is named' if told else 'not a word'}",
    )


def _chosen_track(kit: Kit) -> Verdict:
    video, result = kit.rendered(kit.user("second-track/two.mp4"), "--track", 1)
    if not video.exists():
        return Verdict(False, f"no --track: {result.err.strip()[-60:]}")
    tone = decoded(video)
    spectrum = np.abs(np.fft.rfft(tone))
    share = float(np.sort(spectrum)[-50:].sum() / spectrum.sum())
    return Verdict(share > 0.2, f"the tone is heard ({100 * share:.0f} % in 50 lines)")


def _opposite(kit: Kit) -> Verdict:
    jaw, result = kit.animated(kit.user("opposite-phase/antiphase.flac"))
    told = result.said("phase")
    top = float(jaw.max(initial=0))
    return Verdict(
        top > OPEN and told, f"mouth opens to {top:.2f}, {'told' if told else 'no word'}"
    )


def _opposite_video(kit: Kit) -> Verdict:
    return _sync(kit, kit.user("opposite-phase/antiphase.flac"), 3.35)


def _one_channel(kit: Kit, name: str, index: int) -> Verdict:
    """Two speakers, one a channel: ``--channel`` animates and plays one."""
    speech = _speech(kit)
    other = np.roll(speech, RATE)
    both = _wav(kit, "interview.wav", np.stack([speech, other], axis=1))
    jaw, result = kit.animated(both, "--channel", name)
    wanted, _ = kit.animated(_wav(kit, "alone.wav", (speech, other)[index]))
    r = correlation(jaw, wanted)
    return Verdict(r > 0.99 and not result.status, f"r {r:.2f} to that speaker alone")


# Whole files -----------------------------------------------------------------------------------


def _xing_few(kit: Kit) -> Verdict:
    """An mp3 whose Xing header counts 5 frames."""
    path = kit.work / "xing_few.mp3"
    kit.ffmpeg("-i", kit.user("loudness/good.flac"), "-b:a", "48k", path)
    data = bytearray(path.read_bytes())
    place = max(data.find(b"Xing"), data.find(b"Info"))
    data[place + 8 : place + 12] = struct.pack(">I", 5)
    path.write_bytes(data)
    return _length(kit, path, 4.85)


def _joined(kit: Kit, name: str, *codec: object) -> Verdict:
    """The same speech twice, joined byte by byte."""
    path = kit.work / name
    kit.ffmpeg("-i", kit.user("loudness/good.flac"), *codec, path)
    path.write_bytes(2 * path.read_bytes())
    jaw, _ = kit.animated(path)
    # What joins two mp3 or aac streams plays their encoders' delay too.
    good = 2 * 4.85 * FPS - 1 <= len(jaw) <= 2 * 4.85 * FPS + 5
    return Verdict(good, f"{len(jaw)} of {2 * 4.85 * FPS:.0f} frames")


def _joined_video(kit: Kit, name: str) -> Verdict:
    path = kit.user(f"joined-streams/{name}")
    return _sync(kit, path, len(decoded(path)) / RATE)


def _wav_of_size(kit: Kit, size: int) -> Verdict:
    """A wav whose header gives ``size`` as that of its data."""
    path = kit.work / f"data{size:x}.wav"
    soundfile.write(path, _speech(kit), RATE, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    place = data.find(b"data")
    data[place + 4 : place + 8] = struct.pack("<I", size)
    if size:
        data[4:8] = struct.pack("<I", size)
    path.write_bytes(data)
    return _length(kit, path, 4.85)


def _encoded(kit: Kit, name: str, *codec: object, seconds: float = 4.85) -> Verdict:
    """Speech in another container or codec."""
    try:
        kit.ffmpeg("-i", kit.user("loudness/good.flac"), *codec, kit.work / name)
    except Exception as error:
        raise NotTried(f"this ffmpeg does not make it: {error}") from error
    return _length(kit, kit.work / name, seconds)


def _streamed_flac(kit: Kit) -> Verdict:
    """A flac written to a pipe: no length in its header."""
    import subprocess

    from cases.kit import FFMPEG

    source = kit.user("loudness/good.flac")
    command = [FFMPEG, "-v", "error", "-i", source, "-f", "flac", "pipe:1"]
    done = subprocess.run(command, capture_output=True, check=True)
    (kit.work / "streamed.flac").write_bytes(done.stdout)
    return _length(kit, kit.work / "streamed.flac", 4.85)


def _cut(kit: Kit, name: str, *codec: object) -> Verdict:
    """The first two thirds of a file: what there is is used, and it is said."""
    path = kit.work / name
    kit.ffmpeg("-i", kit.user("loudness/good.flac"), *codec, path)
    data = path.read_bytes()
    path.write_bytes(data[: 2 * len(data) // 3])
    jaw, result = kit.animated(path)
    told = result.said("cut off") or result.said("damaged")
    return Verdict(len(jaw) >= 60 and told, f"{len(jaw)} frames, {'told' if told else 'no word'}")


# Loudness --------------------------------------------------------------------------------------


def _quiet(kit: Kit) -> Verdict:
    good, _ = kit.animated(kit.user("loudness/good.flac"))
    jaw, _ = kit.animated(kit.user("loudness/quiet.flac"))
    r = correlation(jaw, good)
    return Verdict(r > 0.9, f"r {r:.2f} to the same at usual level, mouth to {jaw.max():.2f}")


def _softer(kit: Kit, decibels: float) -> Verdict:
    """Speech at another level."""
    speech = _speech(kit)
    good, _ = kit.animated(_wav(kit, "usual.wav", speech))
    jaw, _ = kit.animated(_wav(kit, "soft.wav", speech * np.float32(10 ** (decibels / 20))))
    r = correlation(jaw, good)
    return Verdict(r > 0.9, f"r {r:.2f}")


def _two_speakers(kit: Kit) -> Verdict:
    jaw, _ = kit.animated(kit.user("loudness/two_speakers.opus"))
    first, second = jaw[: 7 * FPS].max(), jaw[7 * FPS :].max()
    return Verdict(
        second > max(OPEN, first / 3), f"mouth to {first:.2f}, then to {second:.2f} for the softer"
    )


def _after_music(kit: Kit) -> Verdict:
    """Speech at -36 dB after six seconds of loud chords."""
    time = np.arange(6 * RATE) / RATE
    chords = sum(np.sin(2 * np.pi * f * time) for f in (220, 277.2, 329.6, 440))
    music = (0.2 * chords * (0.7 + 0.3 * np.sin(2 * np.pi * 2 * time))).astype(np.float32)
    speech = _speech(kit)
    soft = speech * np.float32(10 ** (-30 / 20))
    jaw, _ = kit.animated(_wav(kit, "music.wav", np.concatenate([music, soft])))
    good, _ = kit.animated(_wav(kit, "alone.wav", speech))
    r = correlation(jaw[6 * FPS :], good)
    return Verdict(r > 0.6, f"r {r:.2f} to the speech alone, mouth to {jaw[6 * FPS :].max():.2f}")


def _offset(kit: Kit) -> Verdict:
    """3 % of DC under speech of 30 % peak after two seconds of silence."""
    speech = _speech(kit)
    lead = np.zeros(2 * RATE, np.float32)
    clean = np.concatenate([lead, 0.3 * speech / abs(speech).max()])
    jaw, _ = kit.animated(_wav(kit, "dc.wav", clean + np.float32(0.03)))
    rest = float(jaw[: int(1.4 * FPS)].mean())
    good, _ = kit.animated(_wav(kit, "nodc.wav", clean))
    r = correlation(jaw, good)
    return Verdict(rest < 0.02 and r > 0.95, f"{rest:.2f} open in silence, r {r:.2f} without DC")


def _rests(kit: Kit, samples: Signal, name: str) -> Verdict:
    jaw, _ = kit.animated(_wav(kit, name, samples.astype(np.float32)))
    swing = float(jaw.max() - jaw.min())
    return Verdict(swing < 0.1 and jaw.mean() < 0.1, f"mouth {jaw.mean():.2f}, swing {swing:.2f}")


def _noise(decibels: float) -> Signal:
    noise = np.random.default_rng(0).standard_normal(5 * RATE)
    return (noise * 10 ** (decibels / 20)).astype(np.float32)


def _case(folder: str, name: str, check: Callable[..., Verdict], *arguments: object) -> Case:
    return Case(folder, name, lambda kit: check(kit, *arguments))


def _user(name: str, check: Callable[..., Verdict], *arguments: object) -> Callable[[Kit], Verdict]:
    return lambda kit: check(kit, kit.user(name), *arguments)


AAC, OPUS, LAME = ("-c:a", "aac"), ("-c:a", "libopus"), ("-c:a", "libmp3lame")

CASES = [
    Case("01", "late.mov", _user("late-sound/late.mov", _sync, 4.89)),
    Case("01", "late.mkv", lambda kit: _sync(kit, _late(kit, "late.mkv", *AAC), 6.35)),
    Case("01", "late.webm", lambda kit: _sync(kit, _late(kit, "late.mkv", *OPUS), 6.35)),
    Case(
        "01",
        "capture.csv --audio late.mov",
        lambda kit: _capture(kit, kit.user("late-sound/late.mov"), 4.89),
    ),
    _case("01", "hole in an mkv", _hole, "hole.mkv", *OPUS),
    _case("01", "hole in an mp4", _hole, "hole.mp4", *AAC),
    Case("01", "hole in a ts", lambda kit: _hole(kit, "hole.ts", *AAC, delay=1024)),
    _case("01", "time stamps jump on", _jump, "on.mkv", 1.0),
    _case("01", "time stamps overlap", _jump, "back.mkv", -0.5),
    Case("03", "two.mp4", _second_track),
    Case("03", "two.mp4 --track 1", _chosen_track),
    Case("04", "joined.mp3", _user("joined-streams/joined.mp3", _length, 6.88)),
    Case("04", "joined.opus", _user("joined-streams/joined.opus", _length, 6.7)),
    Case("04", "joined.mp3, video", partial(_joined_video, name="joined.mp3")),
    Case("04", "xing_few.mp3", _xing_few),
    _case("04", "joined.ogg (vorbis)", _joined, "joined.ogg", "-c:a", "libvorbis"),
    _case("04", "joined.aac", _joined, "joined.aac", *AAC),
    Case("07", "antiphase.flac", _opposite),
    Case("07", "antiphase.flac, video", _opposite_video),
    _case("07", "--channel left", _one_channel, "left", 0),
    _case("07", "--channel 2", _one_channel, "2", 1),
    Case("09", "quiet.flac", _quiet),
    Case("09", "two_speakers.opus", _two_speakers),
    Case("09", "dc.flac", _offset),
    Case("09", "speech after music", _after_music),
    *(_case("09", f"speech at {db} dB", _softer, db) for db in (-20, -40, -60)),
    Case("09", "digital silence", lambda kit: _rests(kit, np.zeros(5 * RATE), "zero.wav")),
    *(
        Case(
            "09",
            f"steady noise at {db} dB",
            lambda kit, db=db: _rests(kit, _noise(db), "noise.wav"),  # type: ignore[misc]
        )
        for db in (-20, -40, -60, -80)
    ),
    Case("10", "data0.wav", _user("ffmpeg-would-read/data0.wav", _length, 1.5)),
    Case("10", "aac.mp3", _user("ffmpeg-would-read/aac.mp3", _length, 1.6)),
    Case("10", "alac.caf", _user("ffmpeg-would-read/alac.caf", _length, 1.5)),
    _case("10", "size 0 in a wav", _wav_of_size, 0),
    _case("10", "size ffffffff in a wav", _wav_of_size, 0xFFFFFFFF),
    _case("10", "flac.ogg", _encoded, "flac.ogg", "-c:a", "flac"),
    _case("10", "adpcm.wav (Yamaha)", _encoded, "adpcm.wav", "-c:a", "adpcm_yamaha"),
    # What holds mp3 in a wav, or wma, cannot tell the encoder's delay: players play it.
    Case("10", "mp3.wav", lambda kit: _encoded(kit, "mp3.wav", *LAME, seconds=4.92)),
    _case("10", "bw64.wav", _encoded, "bw64.wav", "-rf64", "always", "-f", "wav"),
    _case("10", "opus.caf", _encoded, "opus.caf", *OPUS),
    _case("10", "aac.m4a", _encoded, "a.m4a", *AAC),
    _case("10", "a.mp3", _encoded, "a.mp3"),
    _case("10", "a.opus", _encoded, "a.opus"),
    _case("10", "a.webm", _encoded, "a.webm", *OPUS),
    _case("10", "a.flv", _encoded, "a.flv", *AAC, "-ar", "44100"),
    _case("10", "a.wv", _encoded, "a.wv"),
    Case("10", "a.wma", lambda kit: _encoded(kit, "a.wma", seconds=4.9)),
    Case("11", "no_xing.mp3", _user("false-alarm/no_xing.mp3", _length, 3.456)),
    Case("11", "streamed.flac", _streamed_flac),
    *(
        _case("11", f"cut {name}", _cut, f"cut.{name}", *codec)
        for name, codec in {
            "wav": (),
            "flac": (),
            "ogg": ("-c:a", "libvorbis"),
            "opus": (),
            "mkv": OPUS,
        }.items()
    ),
]
