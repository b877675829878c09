"""Settings as dataclass fields: documentation, limits, groups in ``--help``, earlier names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

# Groups of flags and commands in `--help`, in this order. Flags and commands that name none are
# everyday ones.
EVERYDAY, LOOK, HEAD, REPORTS = "Everyday", "Look", "Head", "Reports"
DATA, NETWORK, LOSSES, OPTIMISATION = "Data", "Network", "Losses", "Optimisation"
SAMPLING, RESEARCH, MACHINE = "Sampling", "Research", "Machine"
GROUPS = (
    *(EVERYDAY, LOOK, HEAD, REPORTS, DATA, NETWORK, LOSSES, OPTIMISATION),
    *(SAMPLING, RESEARCH, MACHINE),
)


def setting(
    default: Any,
    text: str,
    choices: tuple[str, ...] = (),
    least: float | None = 0,
    most: float | None = None,
    was: str = "",
    group: str = "",
) -> Any:
    """Make a dataclass field with a default and its documentation.

    ``choices`` are its values if they are few; a number may be ``least`` to ``most``; ``was`` is
    its name in files and commands of earlier versions; ``group`` is one of :data:`GROUPS`, where
    it is not that of the class.
    """
    about = {"help": text, "choices": choices, "least": least, "most": most}
    return field(default=default, metadata={**about, "was": was, "group": group})


RETIRED = {"bidirectional": True}
"""Settings of earlier versions, with the only value that they still may have in files."""


def with_new_names(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace names of settings from earlier versions by those of a class.

    Settings that are no longer any are left out; with a value that is no longer possible they stay.
    """
    names = {f.metadata["was"]: f.name for f in fields(kind) if f.metadata.get("was")}
    kept = {k: v for k, v in values.items() if k not in RETIRED or RETIRED[k] != v}
    return {names.get(name, name): value for name, value in kept.items()}
