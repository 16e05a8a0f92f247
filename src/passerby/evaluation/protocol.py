"""What a number means: who asks, who is searched, what is a hit, what is left out, which split selects and reports.

A figure without its protocol cannot be compared with anything, so every report carries one. The split that a model
or its epoch was chosen on and the split that is reported are separate fields, and equal ones are refused unless
that is said aloud, in which case the report says it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

from passerby.errors import ConfigError, nearest
from passerby.metrics import Ties


@dataclass(frozen=True, slots=True)
class Protocol:
    """The rules of one evaluation.

    Attributes:
        name: the key in `PROTOCOLS` that it was made from.
        query: captions or pictures ask; a picture is always left out of its own gallery.
        gallery: pictures are searched, all of the split, those of nobody known included (they count as misses).
        relevance: a hit is any picture of the person asked for, not only the one described.
        same_camera: whether pictures of that person from the query's own camera count, or are junk (left out).
        report_split: the split that the figures are of.
        selection_split: the split that the model or its epoch was chosen on; None where nothing was chosen.
        ties: how equal scores are ordered; "expected" is the mean over all orders.
        allow_test_selection: True admits that selection and report are the same split.

    Raises:
        ConfigError: both splits are the same and that is not allowed, or a value is not one of those known.
    """

    name: str
    query: Literal["text", "image"]
    gallery: Literal["image"] = "image"
    relevance: Literal["identity"] = "identity"
    same_camera: Literal["counted", "junk"] = "counted"
    report_split: str = "test"
    selection_split: str | None = None
    ties: Ties = "expected"
    allow_test_selection: bool = False

    def __post_init__(self) -> None:
        for field, known in (
            ("query", ("text", "image")),
            ("same_camera", ("counted", "junk")),
            ("ties", get_args(Ties)),
        ):
            value = getattr(self, field)
            if value not in known:
                raise ConfigError(
                    f"protocol {self.name!r}: {field} is {value!r}; expected one of {', '.join(known)}."
                    f"{nearest(str(value), known)}"
                )
        if self.selection_split == self.report_split and not self.allow_test_selection:
            raise ConfigError(
                f"protocol {self.name!r} selects the model on the split it reports, {self.report_split!r}: such a "
                "figure is too good. Select on another split, or allow it explicitly; the report will then say so"
            )

    def describe(self) -> str:
        """One line for people: what is asked, what counts, which splits, how ties are treated."""
        cameras = "all cameras counted" if self.same_camera == "counted" else "same person on the same camera is junk"
        parts = [f"{self.query} to {self.gallery}", f"{self.relevance} level", cameras]
        if self.query == "image":
            parts.append("the query picture itself left out")
        parts.append(f"split {self.report_split}")
        if self.selection_split is not None:
            warning = " (THE SAME: figures are too good)" if self.selection_split == self.report_split else ""
            parts.append(f"selected on {self.selection_split}{warning}")
        parts.append(f"ties: {'expected value' if self.ties == 'expected' else self.ties}")
        return " · ".join(parts)

    def as_dict(self) -> dict[str, str | bool | None]:
        """All fields, for JSON."""
        return asdict(self)


#: The protocols that can be asked for by name.
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "text-to-image": Protocol("text-to-image", query="text"),
        "image-to-image": Protocol("image-to-image", query="image"),
    }
)


def find_protocol(
    name: str,
    *,
    report_split: str = "test",
    selection_split: str | None = None,
    same_camera: Literal["counted", "junk"] = "counted",
    allow_test_selection: bool = False,
) -> Protocol:
    """Return a protocol by its name, with the splits and the camera rule of this evaluation.

    Args: as the attributes of `Protocol`.

    Raises:
        ConfigError: the name is unknown, or the combination is refused by `Protocol`.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}.{nearest(name, PROTOCOLS)}")
    return replace(
        PROTOCOLS[name],
        report_split=report_split,
        selection_split=selection_split,
        same_camera=same_camera,
        allow_test_selection=allow_test_selection,
    )
