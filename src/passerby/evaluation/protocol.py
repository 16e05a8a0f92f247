"""What a number means: who asks, who is searched, what is a hit, what is left out, which split selects and reports.

A figure without its protocol cannot be compared with anything, so every report carries one. The split that a model
or its epoch was chosen on and the split that is reported are separate fields, and equal ones are refused unless
that is said aloud, in which case the report says it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from passerby.data.records import Split
from passerby.errors import ConfigError, nearest
from passerby.metrics import PrecisionRule, Ties

SameCamera: TypeAlias = Literal["counted", "junk"]

_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "query": ("text", "image"),
        "gallery": ("text", "image"),
        "relevance": ("identity", "picture"),
        "same_camera": get_args(SameCamera),
        "shots": ("all", "single"),
        "precision": get_args(PrecisionRule),
        "ties": get_args(Ties),
    }
)


@dataclass(frozen=True, slots=True)
class Protocol:
    """The rules of one evaluation.

    Attributes:
        name: the key in `PROTOCOLS` that it was made from.
        query: captions or pictures ask; of a split that says which pictures ask, only those.
        gallery: pictures or captions are searched, those of nobody known included (they count as misses); pictures
            that a split keeps for asking are not, and a picture never finds itself.
        relevance: a hit shows, or describes, the same person ("identity"), or belongs to the very picture ("picture").
        same_camera: whether pictures of that person from the query's own camera count, or are junk (left out).
        shots: "single" draws one picture of each person into the gallery, anew for each query.
        draws: how often that is repeated; figures are means over the draws.
        multi_query: whether a query is the mean of its person's pictures by its camera (`pool_queries`).
        report_split: the split that the figures are of.
        selection_split: the split that the model or its epoch was chosen on; None where nothing was chosen.
        ties: how equal scores are ordered; "expected" is the mean over all orders.
        precision: the definition of average precision.
        allow_test_selection: True admits that selection and report are the same split.

    Raises:
        ConfigError: both splits are the same and that is not allowed, a value is not one of those known, or the
            values contradict each other.
    """

    name: str
    query: Literal["text", "image"]
    gallery: Literal["text", "image"] = "image"
    relevance: Literal["identity", "picture"] = "identity"
    same_camera: SameCamera = "counted"
    shots: Literal["all", "single"] = "all"
    draws: int = 10
    multi_query: bool = False
    report_split: str = "test"
    selection_split: str | None = None
    ties: Ties = "expected"
    precision: PrecisionRule = "step"
    allow_test_selection: bool = False

    def __post_init__(self) -> None:
        for field, known in _CHOICES.items():
            value = getattr(self, field)
            if value not in known:
                raise ConfigError(
                    f"protocol {self.name!r}: {field} is {value!r}; expected one of {', '.join(known)}."
                    f"{nearest(str(value), known)}"
                )
        if contradiction := self._contradiction():
            raise ConfigError(f"protocol {self.name!r}: {contradiction}")
        if self.selection_split == self.report_split and not self.allow_test_selection:
            raise ConfigError(
                f"protocol {self.name!r} selects the model on the split it reports, {self.report_split!r}: such a "
                "figure is too good. Select on another split, or allow it explicitly; the report will then say so"
            )

    def _contradiction(self) -> str:
        if self.query == self.gallery == "text":
            return "captions ask captions; expected pictures on one side"
        if self.relevance == "picture" and self.query == self.gallery:
            return "pictures ask pictures, and only the picture itself would be a hit; use relevance 'identity'"
        if self.relevance == "picture" and self.same_camera == "junk":
            return "the only hit is on the query's own camera, which is to be junk; use same_camera 'counted'"
        if self.shots == "single" and (self.gallery, self.relevance) != ("image", "identity"):
            return "one picture of each person is to be drawn; expected a gallery of pictures, judged by identity"
        if self.multi_query and self.query != "image":
            return "pictures of a query are to be pooled, but captions ask"
        if self.draws < 1:
            return f"{self.draws} draws of the gallery; expected at least 1"
        return ""

    def describe(self) -> str:
        """One line for people: what is asked, what counts, which splits, how ties are treated."""
        level = "identity level" if self.relevance == "identity" else "image level (the hit is the picture's own)"
        parts = [f"{self.query} to {self.gallery}", level]
        if self.relevance == "identity":
            counted = self.same_camera == "counted"
            parts.append("all cameras counted" if counted else "same person on the same camera is junk")
        if self.query == self.gallery:
            parts.append("the query picture itself left out")
        if self.multi_query:
            parts.append("multi-query (mean over the person's pictures by the query's camera)")
        if self.shots == "single":
            parts.append(f"single gallery shot, mean of {self.draws} draws")
        parts.append(f"split {self.report_split}")
        if self.selection_split is not None:
            warning = " (THE SAME: figures are too good)" if self.selection_split == self.report_split else ""
            parts.append(f"selected on {self.selection_split}{warning}")
        if self.precision != "step":
            parts.append(f"average precision by the {self.precision} rule")
        parts.append(f"ties: {'expected value' if self.ties == 'expected' else self.ties}")
        return " · ".join(parts)

    def as_dict(self) -> dict[str, str | int | bool | None]:
        """All fields, for JSON."""
        return asdict(self)


#: The protocols that can be asked for by name.
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol("text-to-image", query="text"),
            Protocol("image-to-text", query="image", gallery="text"),
            Protocol("text-to-own-image", query="text", relevance="picture"),
            Protocol("image-to-own-text", query="image", gallery="text", relevance="picture"),
            Protocol("image-to-image", query="image"),
            Protocol("cross-camera", query="image", same_camera="junk"),
            Protocol("multi-query", query="image", same_camera="junk", multi_query=True),
            Protocol("single-shot", query="image", same_camera="junk", shots="single"),
        )
    }
)


def natural_protocol(split: Split) -> str:
    """The name of the protocol that a split's own contents call for.

    Captions of known people ask for the person, captions of nobody known for their own picture; where there are none,
    the pictures that the split keeps for asking ask across cameras, or else each picture asks for all others.
    """
    if split.captions:
        known = any(image.person_id is not None for image in split.images)
        return "text-to-image" if known else "text-to-own-image"
    return "cross-camera" if split.query_ids else "image-to-image"


def find_protocol(
    name: str,
    *,
    report_split: str = "test",
    selection_split: str | None = None,
    same_camera: SameCamera | None = None,
    precision: PrecisionRule = "step",
    ties: Ties = "expected",
    allow_test_selection: bool = False,
) -> Protocol:
    """Return a protocol by its name, with the splits and the rules of this evaluation.

    Args: as the attributes of `Protocol`; `same_camera` None leaves the protocol's own rule.

    Raises:
        ConfigError: the name is unknown, or the combination is refused by `Protocol`.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}.{nearest(name, PROTOCOLS)}")
    found = PROTOCOLS[name]
    return replace(
        found,
        report_split=report_split,
        selection_split=selection_split,
        same_camera=found.same_camera if same_camera is None else same_camera,
        precision=precision,
        ties=ties,
        allow_test_selection=allow_test_selection,
    )
