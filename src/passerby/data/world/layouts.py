"""How a street is laid out on disk: in a real data set's own layout, so that one reader serves both.

A layout says where a picture and its mask lie and what the annotation file looks like. RSTPReid's: flat `imgs/` with
names of person, camera and frame, and one line of JSON in `data_captions.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from passerby.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Layout:
    """A data set's layout.

    Attributes:
        images: folder of the pictures below the root.
        annotations: file with captions and splits below the root.
        image_name: (person, camera, frame) to the picture's file name.
        annotate: the street's records, in order, to the content of the annotation file.
    """

    images: str
    annotations: str
    image_name: Callable[[int, int, int], str]
    annotate: Callable[[Iterable[Mapping[str, Any]]], str]


def _rstpreid_name(person: int, camera: int, frame: int) -> str:
    """Zero-padded person, camera from 1, zero-padded frame: "0000_c14_0031.jpg"."""
    return f"{person:04d}_c{camera + 1:02d}_{frame:04d}.jpg"


def _rstpreid_annotations(records: Iterable[Mapping[str, Any]]) -> str:
    """One line: a list of {id, img_path, captions, split}."""
    rows = [
        {"id": one["id"], "img_path": one["img_path"], "captions": one["captions"], "split": one["split"]}
        for one in records
    ]
    return json.dumps(rows)


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {"rstpreid": Layout("imgs", "data_captions.json", _rstpreid_name, _rstpreid_annotations)}
)


def layout_of(name: str) -> Layout:
    """A layout by the name of its data set.

    Raises:
        ConfigError: no such layout.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"no layout {name!r}; there is {', '.join(LAYOUTS)}.{nearest(name, LAYOUTS)}")
    return LAYOUTS[name]
