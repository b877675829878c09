"""Files made to harm: each ends in one line, within 10 s and 1 GB."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cases.kit import Case, Kit, NotTried, Result, Verdict, decoded, run_apart

MEGABYTE = 1 << 20


def _refused(result: Result, status: int = 1) -> Verdict:
    """Whether a run ended in a line, in time, with little memory and nothing raw on the screen."""
    faults = [f"status {result.status}"] if result.status != status else []
    faults += ["traceback"] if result.crashed else []
    faults += ["escape codes"] if "\x1b" in result.out + result.err else []
    used = f"{result.seconds:.0f} s, {result.memory / MEGABYTE:.0f} MB"
    good = not faults and result.bounded
    return Verdict(good, ", ".join([*faults, used]))


def _motion(kit: Kit) -> Path:
    path = kit.work / "still.json"
    path.write_text(json.dumps({"facsNames": ["jawOpen"], "weightMat": [[0.1]] * 3}))
    return path


def _read(name: str, *flags: object) -> Callable[[Kit], Verdict]:
    """A motion file of ``hostile``, drawn."""
    return lambda kit: _refused(
        kit.apart("render", kit.cases / "hostile" / name, "--still", 0, *flags)
    )


def _head(name: str) -> Callable[[Kit], Verdict]:
    """A head of ``hostile``."""
    return lambda kit: _refused(
        kit.apart("render", _motion(kit), "--still", 0, "--head", kit.cases / "hostile" / name)
    )


def _masks(name: str) -> Callable[[Kit], Verdict]:
    """A pickle of ``hostile`` as masks: whatever else is wrong, in time."""
    return lambda kit: _refused(
        run_apart(
            _python(
                "import sys; from dtalk.errors import DtalkError\n"
                "try:\n    from dtalk.utils.pickles import load_pickle\n"
                "except ImportError:\n    from dtalk.pickles import load_pickle\n"
                "try:\n    load_pickle(sys.argv[1])\n"
                "except DtalkError as error:\n    print(error); sys.exit(1)",
                kit.cases / "hostile" / name,
            ),
            kit.work,
        )
    )


def _python(code: str, *arguments: object) -> list[str]:
    import sys

    return [sys.executable, "-c", code, *map(str, arguments)]


def _etf(kit: Kit) -> Verdict:
    """An npy of a published data set among others: left out, the others are used."""
    folder = kit.work / "etf"
    folder.mkdir()
    shutil.copy(kit.cases / "hostile" / "tokenerror.npy", folder / "WDA_Bob_000.npy")
    shutil.copy(kit.user("tracebacks/speech.wav"), folder / "WDA_Bob_000.wav")
    return _refused(kit.apart("evaluate", "--data", folder, "--split", "train"))


def _rate(kit: Kit, fps: float) -> Verdict:
    """A motion with an absurd rate."""
    path = kit.work / "rate.npz"
    values = np.full((3, 1), 0.1, np.float32)
    np.savez(path, coefficients=values, names=["jawOpen"], fps=fps)
    return _refused(kit.apart("render", path, "--audio", kit.user("tracebacks/speech.wav")))


def _weights(name: str) -> Callable[[Kit], Verdict]:
    return lambda kit: _refused(
        kit.apart(
            "animate",
            kit.user("tracebacks/speech.wav"),
            *("-o", kit.work / "x.npz", "--weights", kit.cases / "hostile" / name),
        )
    )


def _background(name: str) -> Callable[[Kit], Verdict]:
    def check(kit: Kit) -> Verdict:
        path = kit.work / name
        if name.endswith(".dds"):
            shutil.copy(kit.cases / "hostile" / name, path)
        else:
            path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
        return _refused(kit.apart("render", _motion(kit), "--still", 0, "--background", path))

    return check


def _clips(kit: Kit) -> Verdict:
    folder = kit.cases / "hostile" / "clips_nul_audio"
    return _refused(kit.apart("evaluate", "--data", folder, "--split", "train"))


def _manifest(kit: Kit, kind: str) -> Path:
    """A playlist that names a secret sound by its absolute path, as a sound of another name."""
    secret = kit.work / "secret" / "secret.mp4"
    secret.parent.mkdir()
    kit.ffmpeg("-f", "lavfi", "-i", "sine=f=997:d=3", "-c:a", "aac", secret)
    texts = {
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT3S" profiles="urn:mpeg:dash:profile:isoff-main:2011">'
        '<Period><AdaptationSet mimeType="audio/mp4"><Representation id="0" bandwidth="64000" '
        f'codecs="mp4a.40.2"><BaseURL>{secret}</BaseURL><SegmentBase/></Representation>'
        "</AdaptationSet></Period></MPD>",
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{secret}'\n",
    }
    path = kit.work / f"{kind}.mp4"
    path.write_text(texts[kind])
    return path


def _reach(kit: Kit, kind: str) -> Verdict:
    """A playlist as ``--audio``: no other file is opened."""
    video = kit.work / "out.mp4"
    result = kit.apart(
        "render", _motion(kit), "--size", 64, "--audio", _manifest(kit, kind), "-o", video
    )
    heard = video.exists() and float(abs(decoded(video)).max(initial=0)) > 0.01
    verdict = _refused(result)
    return Verdict(verdict.good and not heard, verdict.seen + (", the secret is heard" * heard))


def _far_stamp(kit: Kit) -> Verdict:
    """A time stamp a day ahead: no day of silence is made."""
    path = kit.work / "far.mkv"
    shift = r"setts=ts=TS+if(gte(TS*TB\,1)\,86400/TB\,0)"
    try:
        kit.ffmpeg(
            *("-i", kit.user("tracebacks/speech.wav"), "-c:a", "libopus", "-bsf:a", shift, path)
        )
    except Exception as error:
        raise NotTried(f"ffmpeg does not make it: {error}") from error
    result = kit.apart("animate", path, "-o", kit.work / "far.npz")
    return _refused(result, 0)


def _huge_wav(kit: Kit) -> Verdict:
    """A header that promises a million channels."""
    data = b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt " + struct.pack("<I", 16)
    data += struct.pack("<HHIIHH", 1, 65535, 16000, 2097120000 // 2, 65535, 16)
    data += b"data" + struct.pack("<I", 131070) + bytes(131070)
    (kit.work / "wide.wav").write_bytes(data)
    result = kit.apart("animate", kit.work / "wide.wav")
    return _refused(result, result.status if result.status in (0, 1) else 1)


CASES = [
    Case("hostile", "tokenerror.npy", _etf),
    Case("hostile", "bytes_names.npz", _read("bytes_names.npz")),
    Case("hostile", "fps999999.json", _read("fps999999.json", "--audio", "x.wav")),
    *(
        Case("hostile", f"rate {fps:g}", lambda kit, fps=fps: _rate(kit, fps))  # type: ignore[misc]
        for fps in (1e8, 1e12, 1e-7, 1e-12)
    ),
    Case("hostile", "bomb_unused_member", _read("bomb_unused_member_20GB.npz")),
    Case("hostile", "ck_layers1e6", _weights("ck_layers1e6.safetensors")),
    Case("hostile", "ck_temperature", _weights("ck_temperature.safetensors")),
    *(
        Case("hostile", name, _masks(name))
        for name in ("tuplehash.pkl", "masks_bomb.pkl", "sparse_huge.pkl", "esc.pkl")
    ),
    Case("hostile", "zeros.glb", _head("zeros.glb")),
    Case("hostile", "uri_passwd.gltf", _head("uri_passwd.gltf")),
    Case("hostile", "bad.dds", _background("bad.dds")),
    Case("hostile", "EPS as bg.png", _background("bg.png")),
    Case("hostile", "clips_nul_audio", _clips),
    *(
        Case("hostile", f"{kind} as mp4", lambda kit, kind=kind: _reach(kit, kind))  # type: ignore[misc]
        for kind in ("dash", "hls", "concat")
    ),
    Case("hostile", "a stamp a day ahead", _far_stamp),
    Case("hostile", "65535 channels", _huge_wav),
]
