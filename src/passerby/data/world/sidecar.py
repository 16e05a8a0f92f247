"""What a street knows about itself, on disk: its plan, its people and what every phrase is about.

`street.json` names the plan; `street_<split>.jsonl` has one line per person with looks, views and phrases. The
evaluation reads them for the oracle's ceiling and for grounding; no model ever sees them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from passerby.data.records import Split
from passerby.data.world.attributes import Identity
from passerby.data.world.narrators import Description
from passerby.data.world.noticing import Fact
from passerby.data.world.oracle import score_matrix
from passerby.data.world.phrasing import Phrase
from passerby.data.world.render import View
from passerby.data.world.street import Picture, Street
from passerby.errors import ConfigError, DataError

PLAN_FILE = "street.json"
FORMAT = "passerby street"
FORMAT_VERSION = 1

# flat records of numbers and words: nothing in them needs the deep copy that `asdict` makes
_PERSON_FIELDS = tuple(field.name for field in fields(Identity))
_VIEW_FIELDS = tuple(field.name for field in fields(View))


def split_file(split: str) -> str:
    """The name of a split's sidecar."""
    return f"street_{split}.jsonl"


def plan_record(street: Street) -> dict[str, Any]:
    """A street as JSON values."""
    record = asdict(street)
    return {**record, "size": street.size if isinstance(street.size, str) else list(street.size)}


def image_record(picture: Picture, image_path: str) -> dict[str, Any]:
    """One picture as JSON values: where it lies, its view and its captions with their phrases."""
    view = picture.view
    return {
        "img_path": image_path,
        "facing": picture.rendering.facing,
        "view": {**{name: getattr(view, name) for name in _VIEW_FIELDS}, "crop": list(view.crop)},
        "captions": [_description_record(one) for one in picture.descriptions],
    }


def person_record(identity: Identity, split: str, images: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One person as JSON values, with their pictures."""
    return {
        "split": split,
        "person": {name: getattr(identity, name) for name in _PERSON_FIELDS},
        "images": list(images),
    }


def read_plan(root: Path) -> tuple[Street, dict[str, Any]]:
    """The plan of a written street, and everything else that `street.json` says.

    Raises:
        DataError: the folder holds no street, a damaged one, or one of another version of passerby.
    """
    path = root / PLAN_FILE
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["format"] != FORMAT or record["format_version"] != FORMAT_VERSION:
            raise DataError(
                f"{path} says format {record['format']!r} version {record['format_version']!r}; this passerby reads "
                f"{FORMAT!r} version {FORMAT_VERSION}. Make the street again: passerby world make {root.name}"
            )
        plan = record["plan"]
        return Street(
            **{**plan, "size": plan["size"] if isinstance(plan["size"], str) else tuple(plan["size"])}
        ), record
    except FileNotFoundError:
        raise DataError(f"{root} holds no street: there is no {PLAN_FILE} in it") from None
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise DataError(f"{path} is damaged ({error}); make the street again in an empty folder") from error


def read_people(root: Path, split: str) -> list[Identity]:
    """The people of a split of a written street, in the order of their ids.

    Raises:
        DataError: the street has no such split, or its sidecar is damaged.
    """
    return [identity for identity, _ in _read_lines(root, split)]


def read_descriptions(root: Path, split: str) -> dict[tuple[str, str], Description]:
    """(image path as in the annotations, caption text) to the caption with its phrases.

    Raises:
        DataError: the street has no such split, or its sidecar is damaged.
    """
    return {
        (image["img_path"], record["text"]): _description(record)
        for _, images in _read_lines(root, split)
        for image in images
        for record in image["captions"]
    }


def ceiling_scores(root: Path, split: Split) -> np.ndarray:
    """What the all-knowing reader of the words gives every image for every caption.

    Args:
        root: a written street.
        split: a split of it as its reader gives it, its captions being the queries. Pictures are known by their ids,
            because not every layout names people.

    Shape:
        - returns: (Q, G) float64; images of one person have equal scores

    Raises:
        DataError: the split is not one of this street's.
    """
    street, _ = read_plan(root)
    whole = not (root / split_file(split.name)).exists() and (root / split_file("all")).exists()
    sidecar = "all" if whole else split.name  # a layout whose files know no splits has one sidecar
    described = read_descriptions(root, sidecar)
    people = read_people(root, sidecar)
    column = {
        image["img_path"]: place for place, (_, images) in enumerate(_read_lines(root, sidecar)) for image in images
    }
    try:
        spoken = [described[caption.image_id, caption.text] for caption in split.captions]
        places = [column[image.image_id] for image in split.images]
    except KeyError as error:
        raise DataError(f"the sidecar of {root} does not know {error}; it belongs to another street") from None
    return score_matrix(spoken, people, street.error_rate)[:, places]


def _read_lines(root: Path, split: str) -> Iterator[tuple[Identity, list[dict[str, Any]]]]:
    path = root / split_file(split)
    read = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                yield Identity(**record["person"]), record["images"]
                read += 1
    except FileNotFoundError:
        raise DataError(f"the street in {root} has no split {split!r}: there is no {path.name}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}, line {read + 1}, is damaged ({error}); make the street again") from error


def _description_record(description: Description) -> dict[str, Any]:
    return {
        "text": description.text,
        "narrator": description.narrator,
        "phrases": [
            {
                "start": phrase.start,
                "end": phrase.end,
                "part": phrase.part,
                "facts": [[fact.attribute, fact.stated, fact.true] for fact in phrase.facts],
            }
            for phrase in description.phrases
        ],
    }


def _description(record: Mapping[str, Any]) -> Description:
    phrases = tuple(
        Phrase(one["start"], one["end"], one["part"], tuple(Fact(*fact) for fact in one["facts"]))
        for one in record["phrases"]
    )
    return Description(record["text"], record["narrator"], phrases)


if {field.name for field in fields(Description)} != {"text", "narrator", "phrases"}:
    raise RuntimeError("the fields of Description and its record have drifted apart")
