"""The opcodes of a pickle, looked through before it is read."""

from __future__ import annotations

import mmap
import pickletools
from typing import IO, Any, cast

from dtalk.errors import PickleError

# An array takes four. Python computes the hash of nested ones without a look at the stack's end.
_MOST_TUPLES = 50_000
# Of one tuple, whose hash goes through all of it: what is there twice counts twice.
_MOST_PARTS = 1 << 20
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")


def check_opcodes(data: mmap.mmap) -> None:
    """Refuse opcodes that make a few bytes fill memory, stack or time, and names given as numbers.

    Raises:
        PickleError: there are some.
        Exception: whatever pickletools finds wrong with damaged data.
    """
    tuples, sizes = 0, _TupleSizes()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", data))):
        if opcode.name in _PUTS and int(argument or 0) > count:
            raise PickleError("damaged: it counts its objects wrongly")
        if sizes.after(opcode, argument) > _MOST_PARTS:
            raise PickleError("it repeats itself without end")
        if opcode.name.startswith("EXT"):
            raise PickleError("it names what to load by a number")
        tuples += opcode.name.startswith("TUPLE")
        if tuples > _MOST_TUPLES:
            raise PickleError("it holds more tuples than a file of arrays does")


class _TupleSizes:
    """Follows a pickle's stack, and counts the parts of its tuples, parts of parts included."""

    def __init__(self) -> None:
        self._stack: list[int | None] = []  # None is a mark
        self._memo: dict[int, int | None] = {}

    def after(self, opcode: pickletools.OpcodeInfo, argument: Any) -> int:
        """Size of what an opcode leaves on the stack, 1 for all but tuples."""
        stack, name = self._stack, opcode.name
        if name in _PUTS or name == "MEMOIZE":
            self._memo[len(self._memo) if argument is None else int(argument)] = stack[-1]
            return 1
        if name in _GETS:
            stack.append(self._memo.get(int(argument), 1))
            return 1
        if name in ("MARK", "DUP"):
            stack.append(None if name == "MARK" else stack[-1])
            return 1
        parts = self._taken([kind.name for kind in opcode.stack_before])
        size = 1 + sum(parts) if name.startswith("TUPLE") else 1
        stack.extend([size] * len(opcode.stack_after))
        return size

    def _taken(self, kinds: list[str]) -> list[int]:
        """Take from the stack what an opcode takes; sizes."""
        parts: list[int] = []
        if "mark" in kinds:
            while (size := self._stack.pop()) is not None:
                parts.append(size)
            kinds = kinds[: kinds.index("mark")]
        return [*parts, *(self._stack.pop() or 1 for _ in kinds)]
