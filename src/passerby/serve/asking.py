"""A search as the page's address says it, and back: what makes the address of a search one that can be shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode

from passerby.errors import ConfigError
from passerby.gallery import Filter
from passerby.gallery.where import parse_where, seconds_of

#: Hits that the page shows unless it is asked for another number.
USUAL_K = 24
#: What the page offers to show one hit of each of.
GROUPS = ("person", "track")
#: What the page calls second stages.
STAGES: Mapping[str, str] = MappingProxyType(
    {
        "k-reciprocal": "k-reciprocal neighbours",
        "cross": "words and picture together",
        "context": "the hits around each hit",
    }
)
_CHOICES = ("camera", "source")
_LISTS = (*_CHOICES, "like", "unlike")
#: Most examples; with one more the oldest is forgotten.
_MOST_EXAMPLES = 16
_WORDS = ("since", "until", "where", "group", "rerank", "picture")


@dataclass(frozen=True, slots=True)
class Asking:
    """What the visitor has entered; every field may be empty.

    Attributes:
        q: the sentence.
        picture: name of a picture that was sent before.
        like: ids of hits that the answer should be like.
        unlike: ids of hits that the answer should not be like.
        camera: cameras, any of which will do.
        source: sources, any of which will do.
        since: earliest time, ISO 8601; UTC without an offset.
        until: time before which pictures were taken.
        where: a filter in its own language.
        group: a field of which one hit each is shown, or nothing.
        rerank: a second stage by name, or nothing.
        k: number of hits.
        poor: whether poor matches are shown too.
    """

    q: str = ""
    picture: str = ""
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    camera: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    where: str = ""
    group: str = ""
    rerank: str = ""
    k: int = USUAL_K
    poor: bool = False

    @property
    def is_question(self) -> bool:
        """Whether there is anything to search for."""
        return bool(self.q.strip() or self.picture or self.like)

    def filter(self) -> Filter | None:
        """The pictures that may be found.

        Raises:
            ConfigError: a time or the filter cannot be read.
        """
        parts: list[Filter] = []
        if self.camera or self.source or self.since or self.until:
            parts.append(
                Filter.of(
                    cameras=self.camera or None,
                    sources=self.source or None,
                    since=_moment(self.since, "from"),
                    until=_moment(self.until, "until"),
                )
            )
        if self.where.strip():
            parts.append(parse_where(self.where))
        return parts[0] if len(parts) == 1 else parts[0] & parts[1] if parts else None

    def address(self, **changes: Any) -> str:
        """The page's address for this search, or for it with some fields changed."""
        return "/?" + urlencode(replace(self, **changes).pairs())

    def pairs(self) -> list[tuple[str, str]]:
        """Names and values that differ from an empty search."""
        pairs = [("q", self.q)] if self.q else []
        pairs += [(name, value) for name in _LISTS for value in getattr(self, name)]
        pairs += [(name, getattr(self, name)) for name in _WORDS if getattr(self, name)]
        pairs += [("k", str(self.k))] if self.k != USUAL_K else []
        return pairs + ([("poor", "1")] if self.poor else [])

    def narrowed(self) -> list[tuple[str, str]]:
        """What narrows the search, in words, each with the address of the search without it."""
        chosen = [(f"{name} {value}", self.without(name, value)) for name in _CHOICES for value in getattr(self, name)]
        times = [("from", "since", self.since.replace("T", " ")), ("until", "until", self.until.replace("T", " "))]
        others = [
            ("where", "where", self.where),
            ("one of each", "group", self.group),
            ("ordered by", "rerank", STAGES.get(self.rerank, self.rerank)),
        ]
        chosen += [(f"{word} {value}", self.address(**{name: ""})) for word, name, value in (*times, *others) if value]
        return chosen + ([("poor matches too", self.address(poor=False))] if self.poor else [])

    def same_passage(self, name: str, track: str) -> str:
        """The address of a search for the other pictures of a hit's track."""
        quoted = track.replace("\\", "\\\\").replace('"', '\\"')
        return Asking(like=(name,), where=f'track == "{quoted}"', poor=True).address()

    def more_like(self, name: str) -> str:
        """The address of this search with one more example."""
        rest = tuple(each for each in self.unlike if each != name)
        return self.address(like=(*self._without(self.like, name), name)[-_MOST_EXAMPLES:], unlike=rest)

    def not_like(self, name: str) -> str:
        """The address of this search with one more counter-example."""
        rest = tuple(each for each in self.like if each != name)
        return self.address(unlike=(*self._without(self.unlike, name), name)[-_MOST_EXAMPLES:], like=rest)

    def without(self, field: str, value: str) -> str:
        """The address of this search without one value of a field."""
        return self.address(**{field: self._without(getattr(self, field), value)})

    @staticmethod
    def _without(values: tuple[str, ...], value: str) -> tuple[str, ...]:
        return tuple(each for each in values if each != value)


def _moment(text: str, name: str) -> float | None:
    try:
        return seconds_of(text) if text else None
    except ValueError as error:
        raise ConfigError(f"{name!r} is {text!r}; expected a time such as 2026-11-20 08:00") from error


def with_picture(query: str, picture: str) -> str:
    """The page's address for the fields of a query string and another picture; fields that are none are dropped."""
    known = set(Asking.__dataclass_fields__) - {"picture"}
    pairs = [(name, value) for name, value in parse_qsl(query, max_num_fields=200) if name in known]
    return "/?" + urlencode([*pairs, ("picture", picture)])
