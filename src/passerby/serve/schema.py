"""What the service answers, as records that also make its OpenAPI document.

A search answers what `passerby search --json` prints, field by field; every failure has one shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from passerby.gallery import Hits, Picture


class Record(BaseModel):
    """A record with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Known(Record):
    """What a gallery knows about a picture."""

    id: str = Field(description="Digest of the file's bytes, 32 hexadecimal digits.")
    path: str = Field(description="Where the file was when it was last indexed, on the machine of the service.")
    camera: str | None = None
    time: float | None = Field(None, description="Seconds since the epoch.")
    person: int | None = None
    track: str | None = Field(None, description="The passage past one camera that it belongs to.")
    source: str | None = None
    metadata: dict[str, str | int | float] = {}


class HitRecord(Known):
    """One answer of a search."""

    score: float = Field(description="Cosine between query and picture.")
    band: str = Field(description="How far the score stands out in this gallery: strong, weak or none.")
    others: list[str] = Field(default=[], description="The other pictures of the same group, best first.")


class Asked(Record):
    """The query, as it was understood."""

    text: list[str] = []
    image: list[str] = Field(default=[], description="Names of the pictures that were sent.")
    like: list[str] = []
    unlike: list[str] = []
    k: int = 10
    where: str | None = None
    group: str | None = None
    min_score: float | None = None
    rerank: str | None = None


class Answer(Record):
    """The answer to a search."""

    gallery: str
    query: Asked
    seconds: dict[str, float] = Field(description="How long each stage took.")
    warnings: list[str] = Field(description="What was done to the query, and why an answer is empty or not grouped.")
    band: str = Field(description="The best that a hit has; none for an empty answer.")
    hits: list[HitRecord]


class Problem(Record):
    """Why a request failed."""

    code: str = Field(description="A word for programs: bad_request, unauthorised, busy, ...")
    message: str = Field(description="A sentence for people.")


class Fault(Record):
    """The answer to a request that failed."""

    error: Problem


class WordWeight(Record):
    """A word and what it adds to a score."""

    word: str
    weight: float = Field(description="How much the score falls without the word.")
    relevance: list[list[float]] = Field(description="What each place of the picture adds for the word, by rows.")


class Explained(Record):
    """Which words and which places decided a score."""

    text: str
    score: float
    how: str = Field(description="What the maps are made of: gradient or occlusion.")
    relevance: list[list[float]] = Field(description="What each place of the picture adds for the sentence, by rows.")
    words: list[WordWeight]


class Listing(Record):
    """Pictures in the order of their ids; the last one's id is `after` of the next page."""

    pictures: list[Known]


class Facets(Record):
    """What there is to filter by."""

    fields: dict[str, dict[str, int]] = Field(description="Values of each field with their number of pictures.")
    times: tuple[float, float] | None = Field(description="The earliest and the latest time, or nothing.")
    metadata_fields: list[str]
    stages: list[str] = Field(description="Second stages that a search may name as `rerank`.")


class Added(Record):
    """What became of pictures that were sent."""

    added: int
    already_there: int
    unreadable: list[str] = Field(description="Why pictures were left out.")


class Deleted(Record):
    """How many pictures were erased."""

    deleted: int


class Health(Record):
    """That the service is up."""

    status: str


def printable(text: str) -> str:
    """Text that can be written as UTF-8: a file's name may hold bytes that are no letters."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def known_of(picture: Picture) -> Known:
    """The record of a picture."""
    return Known(id=picture.id, path=printable(str(picture.path)), **_clean(picture.known()))


def answer_of(hits: Hits, gallery: str, query: Asked) -> Answer:
    """The record of a search's answer."""
    return Answer(
        gallery=printable(gallery),
        query=query,
        seconds={stage: round(spent, 4) for stage, spent in hits.seconds.items()},
        warnings=list(hits.warnings),
        band=hits.band,
        hits=[HitRecord(**_clean(hit.to_dict())) for hit in hits],
    )


def _clean(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: printable(value) if isinstance(value, str) else value for name, value in record.items()}
