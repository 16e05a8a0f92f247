"""What routes take from a request, with its limits, and what any of them may answer with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query

from passerby.serve.schema import Fault

#: Most hits, pictures of a list, and chosen ids.
MAX_K = 1_000
#: Longest text, sentence or filter, in characters.
MOST_TEXT = 10_000
#: Most sentences, pictures or examples of one search.
MOST_PARTS = 16
#: What an id looks like.
NAME = r"^[0-9a-f]{32}$"

Id = Annotated[str, Path(pattern=NAME, description="A picture's id.")]
Word = Annotated[str, Query(max_length=MOST_TEXT)]
Ids = Annotated[list[Annotated[str, Query(pattern=NAME)]], Query(max_length=MOST_PARTS)]
Where = Annotated[str | None, Query(max_length=MOST_TEXT, description='For example camera == "c2".')]
Count = Annotated[int, Query(ge=1, le=MAX_K, description="Number of hits.")]
Score = Annotated[float | None, Query(ge=-1, le=1)]
Group = Annotated[str | None, Query(max_length=64, description="One hit for each value of this field.")]
#: A second stage by its name alone. Which checkpoint and numbers it means, whoever starts the service says; clients
#: could otherwise have any number of stages made, and name paths.
Stage = Literal["k-reciprocal", "cross", "context"]
Rerank = Annotated[
    Stage | None, Query(description="A second stage that orders the best hits anew; /v1/facets lists those on offer.")
]

#: Statuses that any route may answer with, for the OpenAPI document.
FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault} for status in (400, 401, 403, 404, 409, 411, 413, 421, 422, 429, 503)
}
