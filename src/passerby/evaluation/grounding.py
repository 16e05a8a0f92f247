"""Grounding: whether a model looks at the coat when the sentence says coat, which only the street can tell.

The street's sidecar says which characters of a caption are about which part, and its masks say which pixels are that
part. For each phrase the vector that the sentence loses without it is asked of the picture, by every mechanism that the
model has; what the tower looks at without any sentence is judged by the same measures.

Axes: P phrases, R rows and S columns of places.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from passerby.data.images import decode_image, resize_image
from passerby.data.records import PersonImage, Split
from passerby.data.world.attributes import PART_LABEL
from passerby.data.world.narrators import Description
from passerby.data.world.pieces import MASKS
from passerby.data.world.sidecar import read_descriptions, read_plan
from passerby.errors import ConfigError, DataError
from passerby.metrics.grounding import chance, covered_shares, mass_inside, pointing_game, selection_precision

if TYPE_CHECKING:
    from passerby.models.explainer import Explainer

#: Share of places that a selection takes, as the local branch of ITSELF does at test.
RATIO = 0.4
#: Key -> heading.
MEASURES: Mapping[str, str] = {"pointing": "pointing", "mass": "mass inside", "precision": "precision of 40 %"}
CHANCE = "chance"
#: Parts that are hidden altogether in a picture cannot be pointed at; a phrase needs this share of it at least.
_LEAST_VISIBLE = 0.002


@dataclass(frozen=True, slots=True)
class GroundingReport:
    """How well maps lie on what is described.

    Attributes:
        name: of the model.
        figures: mechanism -> measure of `MEASURES` -> per cent, mean over phrases; "chance" is among the mechanisms.
        by_class: mechanism -> part of the figure that the words are about -> measure -> per cent.
        phrases: part -> how many phrases.
        pictures: how many pictures were looked at.
        r1: R@1 of the model on the same split in per cent, or None where it was not measured.
    """

    name: str
    figures: Mapping[str, Mapping[str, float]]
    by_class: Mapping[str, Mapping[str, Mapping[str, float]]]
    phrases: Mapping[str, int]
    pictures: int
    r1: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "r1": self.r1,
            "pictures": self.pictures,
            "phrases": dict(self.phrases),
            "figures": {name: dict(values) for name, values in self.figures.items()},
            "by_class": {
                name: {part: dict(values) for part, values in parts.items()} for name, parts in self.by_class.items()
            },
        }


def evaluate_grounding(
    explainer: Explainer,
    root: Path,
    split: Split,
    *,
    name: str = "model",
    most: int | None = 500,
    r1: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GroundingReport:
    """Judge every mechanism of a model on the phrases of a street's split.

    Args:
        explainer: the model with its weights.
        root: a street that was written with masks.
        split: a split of it, as its reader gives it.
        name: of the model.
        most: pictures that are looked at, spread over the split; None for all.
        r1: R@1 on the same split, to stand beside.
        progress: called with (done, total) pictures.

    Raises:
        DataError: the folder is no street, or was written without masks.
        ConfigError: the model's tokens have no places.
    """
    described = _descriptions(root, split)
    captions = defaultdict(list)
    for caption in split.captions:
        captions[caption.image_id].append(described[caption.image_id, caption.text])
    chosen = [image for image in split.images if captions[image.image_id]]
    if most is not None and len(chosen) > most:
        chosen = [chosen[index] for index in np.linspace(0, len(chosen) - 1, most).astype(int)]
    found: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for done, image in enumerate(chosen, start=1):
        for part, mechanism, values in _judged(explainer, root, image, captions[image.image_id]):
            found[mechanism][part].append(values)
        if progress is not None:
            progress(done, len(chosen))
    if not found:
        raise DataError(f"no caption of split {split.name!r} describes a part that can be seen; nothing can be judged")
    return _report(found, name, len(chosen), r1)


def _judged(
    explainer: Explainer, root: Path, image: PersonImage, spoken: list[Description]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Part, mechanism and measures (3,) of each phrase of a picture."""
    from passerby.models.explaining import asked_without, relevances

    preprocessing = explainer.model.preprocessing
    pixels = decode_image(image.path, at_least=preprocessing.image_size)
    places = explainer.places(resize_image(pixels, preprocessing.image_size, preprocessing.interpolation))
    labels = _mask(root, image)
    shares = {part: covered_shares(labels == label, places.grid) for part, label in PART_LABEL.items()}
    saliency = {f"{key}, no sentence": heat.cpu().numpy() for key, heat in places.saliency().items()}
    mechanisms = relevances(places)
    for description in spoken:
        phrases = [one for one in description.phrases if one.part and shares[one.part].mean() >= _LEAST_VISIBLE]
        if not phrases:
            continue
        covered = np.stack([shares[str(one.part)] for one in phrases])
        _, lost = asked_without(explainer.encode, description.text, [(one.start, one.end) for one in phrases])
        maps = {key: ask(lost).cpu().numpy() for key, ask in mechanisms.items()}
        maps |= {key: np.broadcast_to(heat, covered.shape) for key, heat in saliency.items()}
        for key, heat in maps.items():
            values = np.stack(
                [pointing_game(heat, covered), mass_inside(heat, covered), selection_precision(heat, covered, RATIO)],
                axis=1,
            )
            for phrase, row in zip(phrases, values, strict=True):
                yield str(phrase.part), key, row
        for phrase, share in zip(phrases, chance(covered), strict=True):
            yield str(phrase.part), CHANCE, np.full(3, share)


def _report(
    found: Mapping[str, Mapping[str, list[np.ndarray]]], name: str, pictures: int, r1: float | None
) -> GroundingReport:
    figures, by_class = {}, {}
    for mechanism, parts in found.items():
        figures[mechanism] = _named(np.concatenate([np.stack(rows) for rows in parts.values()]))
        by_class[mechanism] = {part: _named(np.stack(rows)) for part, rows in sorted(parts.items())}
    counts = {part: len(rows) for part, rows in sorted(found[CHANCE].items())}
    return GroundingReport(name, figures, by_class, counts, pictures, r1)


def _named(rows: np.ndarray) -> dict[str, float]:
    return {key: float(value) for key, value in zip(MEASURES, 100 * rows.mean(axis=0), strict=True)}


def _descriptions(root: Path, split: Split) -> dict[tuple[str, str], Description]:
    street, _ = read_plan(root)
    if not street.masks:
        raise ConfigError(
            f"the street in {root} was written without masks, so nobody knows where its coats are; make it again: "
            f"passerby world make {root.name} --masks"
        )
    described = read_descriptions(root, split.name)
    for caption in split.captions:
        if (caption.image_id, caption.text) not in described:
            raise DataError(
                f"the sidecar of {root} does not know the caption {caption.text[:80]!r}; is it another street?"
            )
    return described


def _mask(root: Path, image: PersonImage) -> np.ndarray:
    path = (root / MASKS / image.image_id).with_suffix(".png")
    try:
        with Image.open(path) as labels:
            return np.array(labels)
    except OSError as error:
        raise DataError(f"the mask {path} cannot be read: {error}; make the street again with --masks") from error
