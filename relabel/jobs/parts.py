"""Parts of a job that run by themselves: `--slices I/N`, each an element of a job array."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.errors import RelabelError
from schemas.slices import Slice

OPTION: Final = "--slices"
_FORM: Final = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class Part:
    """The I-th of N parts of a store's slices.

    Example:
        >>> Part.parse("2/3")
        Part(number=2, count=3)
    """

    number: int  # from 1
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """From `I/N`.

        Raises:
            RelabelError: it is none.
        """
        found = _FORM.fullmatch(text.strip())
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count:
            counts = "; parts are counted from 1" if found and number == 0 else ""
            raise RelabelError(
                f"{OPTION} {text}: expected I/N, the I-th of N parts, such as 1/8 to 8/8{counts}"
            )
        return cls(number, count)

    def of(self, slices: Sequence[Slice]) -> tuple[Slice, ...]:
        """Every N-th slice, so that parts take alike; none if there are fewer than `number`."""
        return tuple(slices[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def whole_command(command: str | None) -> str | None:
    """The command of a part as that of the whole job, which all parts have in common.

    Example:
        >>> whole_command("vlm-relabel score --slices 2/3 --store my.store")
        'vlm-relabel score --store my.store'
    """
    if command is None:
        return None
    words = shlex.split(command)
    if OPTION in words:
        place = words.index(OPTION)
        del words[place : place + 2]
    return shlex.join(word for word in words if not word.startswith(f"{OPTION}="))
