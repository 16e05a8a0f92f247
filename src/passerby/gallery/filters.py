"""Which pictures a search may return: one typed filter for every engine.

A filter is a small tree of conditions on a picture's fields. `matches` says what it means; engines translate the tree
into their own terms and are tested against `matches`. A condition on a field that a picture does not have is false,
so its negation is true.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from passerby.errors import ConfigError, nearest

if TYPE_CHECKING:
    from passerby.gallery.records import Picture

#: What a field holds: text or a number; truth values are the texts "true" and "false".
Value = str | int | float
#: Fields that every picture may have, and whether they hold text or numbers; any other name is metadata of the user's.
FIELDS: Mapping[str, type] = {"camera": str, "time": float, "person": float, "track": str, "source": str}
#: Another name of a field, as people who re-identify say it.
ALIASES = {"identity": "person"}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
#: Larger numbers are not exact in every engine.
_LARGEST = 2**53


class Filter(ABC):
    """A condition on pictures; combine filters with ``&``, ``|`` and ``~``.

    Make one with `Filter.of` or, out of a sentence such as ``camera == "c2" and time >= "2026-11-20"``, with
    `passerby.gallery.where.parse_where`.
    """

    @abstractmethod
    def matches(self, picture: Picture) -> bool:
        """Whether a picture passes; the definition that every engine is tested against."""

    @staticmethod
    def of(
        *,
        cameras: Iterable[str] | None = None,
        since: float | None = None,
        until: float | None = None,
        identities: Iterable[int] | None = None,
        tracks: Iterable[str] | None = None,
        sources: Iterable[str] | None = None,
        **metadata: Value | Iterable[Value],
    ) -> Filter:
        """All of the given conditions at once; without any, every picture passes.

        Args:
            cameras: names, any of which the picture's camera must be.
            since: earliest time, seconds since the epoch, inclusive.
            until: latest time, seconds since the epoch, exclusive.
            identities: people, any of whom the picture must show.
            tracks: names of tracks.
            sources: folders, tables or videos that the picture came from.
            **metadata: a value, or several of which any will do, for each field of the user's own.

        Raises:
            ConfigError: a value is of the wrong kind or a field's name is none.
        """
        parts: list[Filter] = []
        named = {"camera": cameras, "person": identities, "track": tracks, "source": sources}
        for field, values in named.items():
            if values is not None:
                parts.append(OneOf(field, tuple([values] if isinstance(values, str) else values)))
        if since is not None or until is not None:
            parts.append(Between("time", since, until, high_open=True))
        for field, given in metadata.items():
            values = (given,) if isinstance(given, str | int | float) else tuple(given)
            parts.append(OneOf(field, values))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def __and__(self, other: Filter) -> Filter:
        """Both."""
        return Every((self, other))

    def __or__(self, other: Filter) -> Filter:
        """Either."""
        return Some((self, other))

    def __invert__(self) -> Filter:
        """Not this."""
        return Not(self)


@dataclass(frozen=True, slots=True)
class OneOf(Filter):
    """The field is one of the values; with no values nothing passes."""

    field: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", known_field(self.field))
        object.__setattr__(self, "values", tuple(checked_value(value, self.field) for value in self.values))

    def matches(self, picture: Picture) -> bool:
        """Whether the field is there and equals a value of its own kind."""
        held = picture.get(self.field)
        return any(isinstance(held, str) == isinstance(value, str) and held == value for value in self.values)


@dataclass(frozen=True, slots=True)
class Between(Filter):
    """The field is a number between two bounds, of which either may be missing; text is never between numbers."""

    field: str
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", known_field(self.field))
        if FIELDS.get(self.field) is str:
            raise ConfigError(f"{self.field} holds text, which has no range; compare it with == or in")
        for bound in (self.low, self.high):
            if bound is not None and isinstance(checked_value(bound, self.field), str):
                raise ConfigError(f"a bound of {self.field} is the text {bound!r}; expected a number")
        if self.low is None and self.high is None:
            raise ConfigError(f"the range of {self.field} has no bound; give at least one")

    def matches(self, picture: Picture) -> bool:
        """Whether the field is a number inside the bounds."""
        held = picture.get(self.field)
        if held is None or isinstance(held, str):
            return False
        above = self.low is None or held > self.low or (held == self.low and not self.low_open)
        below = self.high is None or held < self.high or (held == self.high and not self.high_open)
        return above and below


@dataclass(frozen=True, slots=True)
class Every(Filter):
    """All parts pass; without parts everything does."""

    parts: tuple[Filter, ...] = ()

    def matches(self, picture: Picture) -> bool:
        """Whether all parts pass."""
        return all(part.matches(picture) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Some(Filter):
    """At least one part passes; without parts nothing does."""

    parts: tuple[Filter, ...] = ()

    def matches(self, picture: Picture) -> bool:
        """Whether any part passes."""
        return any(part.matches(picture) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """The part does not pass, be it that the field is missing."""

    part: Filter

    def matches(self, picture: Picture) -> bool:
        """Whether the part fails."""
        return not self.part.matches(picture)


def named_fields(where: Filter) -> set[str]:
    """Names of all fields that a filter asks about."""
    if isinstance(where, Every | Some):
        return set().union(*map(named_fields, where.parts))
    if isinstance(where, Not):
        return named_fields(where.part)
    return {where.field} if isinstance(where, OneOf | Between) else set()


def known_field(name: str) -> str:
    """The field's own name.

    Raises:
        ConfigError: it is no name; those are letters, digits and underscores, at most 64, no digit first.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no field; fields are {', '.join(FIELDS)}, and metadata named with letters, digits and _"
        )
    return ALIASES.get(name, name)


def checked_value(value: Value, field: str) -> Value:
    """A value that every engine can hold: text without NUL, or a finite number up to 2**53; truth becomes text.

    Raises:
        ConfigError: the value is of another kind, or of the wrong kind for a field that every picture has.
    """
    kind = FIELDS.get(field)
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, str):
        if "\0" in value or not _is_unicode(value):
            raise ConfigError(f"the value {value!r} of {field} holds a character that cannot be stored; remove it")
        if kind is float:
            raise ConfigError(f"{field} is a number; {value!r} is text: write it without quotes")
        return value
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > _LARGEST:
        raise ConfigError(f"the value {value!r} of {field} is neither text nor a finite number up to 2**53")
    value = int(value) if value == int(value) else value
    if kind is str:
        raise ConfigError(f'{field} is text; write it in quotes: "{value}"')
    return value


def metadata_of(values: Mapping[str, Value]) -> dict[str, Value]:
    """Metadata of one picture with checked names and values.

    Raises:
        ConfigError: a name is no field's name or belongs to a field of passerby, or a value cannot be stored.
    """
    checked = {}
    for name, value in values.items():
        if known_field(name) in FIELDS:
            raise ConfigError(f"{name} is a field of every picture and no metadata.{nearest(name, FIELDS)}")
        checked[name] = checked_value(value, name)
    return checked


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
