"""One finding of a check: what is wrong, how often, where first and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: "fatal": must be put right. "warning": makes figures worse or unfair. "note": good to know. "ok": nothing found.
Level = Literal["fatal", "warning", "note", "ok"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: what was looked for, in the plural: "missing pictures".
        level: how bad it is; "ok" when none was found.
        count: how many were found.
        of: among how many.
        examples: the first few.
        advice: what to do, in one line; empty when none was found.
        detail: how it was counted, or where, where that is not obvious.
    """

    check: str
    level: Level
    count: int
    of: int
    examples: tuple[str, ...] = ()
    advice: str = ""
    detail: str = ""


def finding(check: str, level: Level, found: Sequence[str], of: int, advice: str, detail: str = "") -> Finding:
    """Make a finding out of all that was found; nothing found is "ok".

    Args:
        check: what was looked for.
        level: how bad it is if there is any.
        found: each thing found, as the user would name it.
        of: among how many was looked.
        advice: what to do.
        detail: how it was counted.
    """
    if not found:
        return Finding(check, "ok", 0, of, detail=detail)
    return Finding(check, level, len(found), of, tuple(found[:_SHOWN]), advice, detail)
