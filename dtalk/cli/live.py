"""``dtalk live``: sound as it comes to curves for other programs."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtalk.cli.flags import Settings, takes
from dtalk.config import MOST_THREADS, AnimationOptions, EngineOptions
from dtalk.errors import DtalkError
from dtalk.live.options import LiveOptions
from dtalk.utils.settings import MACHINE

if TYPE_CHECKING:
    from dtalk.live.session import Statistics
    from dtalk.live.sources import Source
    from dtalk.live.targets import Target
    from dtalk.live.window import SlidingWindow

STANDARD_INPUT = "-"
_LATENCY = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_LEAST_LATENCY, _MOST_LATENCY = 0.1, 0.5  # s


@takes(LiveOptions, AnimationOptions, EngineOptions)
def live(
    sound: Annotated[
        str | None,
        typer.Argument(help="a sound file, or - for raw standard input [the microphone]"),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="live-link, vmc or json; the first two with =HOST:PORT if not on this "
            "computer; repeatable [json]"
        ),
    ] = None,
    microphones: Annotated[bool, typer.Option("--microphones", help="list them, and end")] = False,
    threads: Annotated[
        int, typer.Option(help="CPU threads", min=1, max=MOST_THREADS, rich_help_panel=MACHINE)
    ] = 1,
    live_flags: Settings = {},  # noqa: B006
    animation_flags: Settings = {},  # noqa: B006
    runtime_flags: Settings = {},  # noqa: B006
) -> None:
    """Animate sound as it comes, for other programs.

    A microphone, a pipe (s16le, 16 kHz, mono) or a file, to Unreal Engine (Live
    Link), VTuber programs (VMC) or scripts (a line of JSON a frame). Ctrl-C ends
    it with a neutral face.
    """
    if microphones:
        from dtalk.live.microphone import microphones as listed

        typer.echo("\n".join(listed()) or "no microphone")
        return
    options, animation = LiveOptions(**live_flags), AnimationOptions(**animation_flags)
    latency = _seconds(options.latency)
    if animation.sampler != "ddim":
        raise DtalkError(f"--sampler {animation.sampler}: live, frames agree with ddim only")
    in_real_time = options.realtime or sound in (None, STANDARD_INPUT)

    from dtalk.live.targets import parse_target

    targets = [parse_target(text) for text in to or ["json"]]
    if not in_real_time and any(target.host for target in targets):
        raise DtalkError(f"add --realtime, so that {sound} is sent at the pace of its playing")
    runtime = EngineOptions(threads=threads, **runtime_flags)
    window = _window(latency, options.fps, animation, runtime)
    _run(sound, options, targets, window, in_real_time)


def _seconds(text: str) -> float:
    match = _LATENCY.fullmatch(text.strip().lower())
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else 0.0
    if not _LEAST_LATENCY <= seconds <= _MOST_LATENCY:
        raise DtalkError(f"--latency {text}: write 100ms to 500ms, or 0.1s to 0.5s")
    return seconds


def _window(
    latency: float, fps: int, options: AnimationOptions, runtime: EngineOptions
) -> SlidingWindow:
    """The model that the flags name, made to slide over sound."""
    from dtalk.cli.loading import checked_labels
    from dtalk.inference import load_talker
    from dtalk.live.engine import live_engine_of
    from dtalk.live.window import SlidingWindow, look_ahead

    talker = checked_labels(load_talker(runtime, options), options)
    window = SlidingWindow(live_engine_of(talker, options.steps), look_ahead(latency, fps), options)
    window.warm_up()
    return window


def _run(
    sound: str | None,
    options: LiveOptions,
    targets: Sequence[Target],
    window: SlidingWindow,
    in_real_time: bool,
) -> None:
    from dtalk.live.session import LiveSession, animate_blocks
    from dtalk.live.sources import file_blocks
    from dtalk.live.targets import open_target

    with ExitStack() as stack:
        senders = []
        for target in targets:
            sender = open_target(
                target, options.fps, sys.stdout, options.subject, patient=not in_real_time
            )
            stack.callback(sender.close)
            senders.append(sender)
        if not in_real_time:
            for frame in animate_blocks(file_blocks(Path(str(sound))), window, options.fps):
                for sender in senders:
                    sender.send(frame)
            return
        source = _source(sound, options)
        typer.echo(f"to {', '.join(map(str, targets))}; Ctrl-C ends", err=True)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        stack.callback(signal.signal, signal.SIGTERM, before)
        _report(LiveSession(source, window, senders, options.fps).run())


def _source(sound: str | None, options: LiveOptions) -> Source:
    """The microphone, standard input or file that is to be animated in real time."""
    from dtalk.live.microphone import Microphone
    from dtalk.live.sources import Blocks, file_blocks, paced, raw_blocks, standard_input

    if sound is None:
        name = options.microphone
        return Microphone(int(name) if name and name.isdecimal() else name)
    blocks = raw_blocks(standard_input()) if sound == STANDARD_INPUT else file_blocks(Path(sound))
    return Blocks(paced(blocks) if options.realtime else blocks)


def _report(found: Statistics) -> None:
    """Say how it went, with warnings about what was lost."""
    from dtalk.cli.console import warn

    line = f"{found.frames} frames, {found.dropped} dropped"
    if found.latencies:
        median, late = (round(1000 * found.latency(share)) for share in (0.5, 0.95))
        line += f"; from sound to frame {median} ms (median), {late} ms (95 %)"
    typer.echo(line, err=True)
    if found.added_silence:
        typer.echo(f"{found.added_silence:.1f} s without sound, taken as silence", err=True)
    if found.lost_sound:
        warn(
            f"{found.lost_sound:.1f} s of sound came faster than it could be used and were left "
            "out; sound that is not live needs --realtime, a slow computer fewer other programs"
        )
    for name, lost in found.lost.items():
        if lost:
            warn(f"{lost} frames could not be sent to {name}")
