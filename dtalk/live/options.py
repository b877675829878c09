"""Settings of ``dtalk live``; the command line makes flags of them."""

from __future__ import annotations

from dataclasses import dataclass

from dtalk.utils.settings import Settings, setting


@dataclass(frozen=True)
class LiveOptions(Settings):
    """How ``dtalk live`` takes sound in and sends frames out."""

    latency: str = setting(
        "200ms", "how long frames wait for the sound after them: 100ms (faster) to 500ms (better)"
    )
    fps: int = setting(30, "frames a second, such as 30 or 60", least=1, most=120)
    realtime: bool = setting(False, "a file, or sound that is not live, at the pace of its playing")
    microphone: str | None = setting(None, "its number, or a part of its name [the default one]")
    subject: str = setting("dtalk", "the name that Live Link shows")
