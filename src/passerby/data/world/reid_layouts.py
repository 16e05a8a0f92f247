"""Layouts of the data sets that search people by a picture: Market-1501, DukeMTMC-reID, CUHK03 and MSMT17.

At most one picture of each person and camera asks, as in the published sets. None of them has a validation split, so
the street's validation people train. A street has seven cameras, which keep their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np

from passerby.data.world.cameras import CAMERAS
from passerby.data.world.layout import TWO_SPLITS, Entry, Extra, Layout, Sighting
from passerby.data.world.text_layouts import msmt_name

#: Hand-drawn boxes of each query of Market-1501, for asking with several pictures at once.
HAND_BOXES = 3
#: With defects, every how many test people bring a junk box and an empty scene.
STRAY_EVERY = 4
#: CUHK03: views of each pair of cameras, and people seen by each of the five pairs.
_VIEWS, _PAIRS = 2, (843, 440, 77, 58, 49)
#: CUHK03's classic protocol: draws of test people, how many at most, and where the street lists them.
_DRAWS, _DRAWN, TESTSETS = 20, 100, "cuhk03_testsets.mat"


def _nothing(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
    """The names of the pictures say everything."""
    del entries, defects
    return {}


def _box_folder(sighting: Sighting, cameras: int = len(CAMERAS)) -> str:
    if sighting.asks(cameras):
        return "query"
    return "bounding_box_test" if sighting.split == "test" else "bounding_box_train"


def _market_name(person: str, camera: int, frame: int, box: int) -> str:
    return f"{person}_c{camera + 1}s1_{frame:06d}_{box:02d}.jpg"


def _market_id(sighting: Sighting, frame: int) -> str:
    """Person, camera, sequence, frame, box: "0002_c1s1_000451_03.jpg"; the boxes of queries are number 00."""
    folder = _box_folder(sighting)
    box = 0 if folder == "query" else 1
    return f"{folder}/{_market_name(f'{sighting.person:04d}', sighting.camera, frame, box)}"


def _market_extras(sighting: Sighting, image_id: str, defects: bool) -> tuple[Extra, ...]:
    """`gt_bbox/`: hand-drawn boxes of each query. As defects: junk, called -1, and distractors, called 0000."""
    if sighting.asks(len(CAMERAS)):
        person, camera, frame = f"{sighting.person:04d}", sighting.camera, int(image_id.split("_")[2])
        names = [_market_name(person, camera, frame + later, 0) for later in range(HAND_BOXES)]
        return tuple(Extra(f"gt_bbox/{name}", "exact", later) for later, name in enumerate(names))
    strays = defects and sighting.split == "test" and sighting.place % STRAY_EVERY == 0
    if not strays or sighting.number != sighting.views - 1:
        return ()
    junk = _market_name("-1", sighting.camera, sighting.person, 2)
    nobody = _market_name("0000", sighting.camera, sighting.person, 2)
    return Extra(f"bounding_box_test/{junk}", "junk"), Extra(f"bounding_box_test/{nobody}", "nobody")


def _duke_id(sighting: Sighting, frame: int) -> str:
    """Person, camera, frame: "0005_c2_f0046985.jpg"."""
    return f"{_box_folder(sighting)}/{sighting.person:04d}_c{sighting.camera + 1}_f{frame:07d}.jpg"


def _view_of(number: int) -> int:
    """Which of its pair's two views a person's picture is from, from 0: their cameras fall to the views in turn."""
    return number % len(CAMERAS) % _VIEWS


def _view(sighting: Sighting) -> int:
    return _view_of(sighting.number)


def _cuhk03_id(sighting: Sighting, frame: int) -> str:
    """Person, view, picture: "0003_c1_21.png"."""
    del frame
    return f"{_box_folder(sighting, _VIEWS)}/{sighting.person:04d}_c{_view(sighting) + 1}_{sighting.number + 1}.png"


def _cuhk03_extras(sighting: Sighting, image_id: str, defects: bool) -> tuple[Extra, ...]:
    """The same pictures in boxes drawn by hand."""
    del sighting, defects
    return (Extra(f"labeled/{image_id}", "exact"),)


def _pair(person: int) -> tuple[int, int]:
    """A label of CUHK03 to its pair of cameras and the person in it, both from 1; the last pair takes all others."""
    for pair, people in enumerate(_PAIRS[:-1], start=1):
        if person <= people:
            return pair, person
        person -= people
    return len(_PAIRS), person


def _extracted_id(sighting: Sighting, frame: int) -> str:
    """Pair, person in it, view, picture as they are extracted from `cuhk-03.mat`: "1_001_1_01.png".

    Pictures 1 to 5 are the first view's, 6 to 10 the second's.
    """
    del frame
    pair, person = _pair(sighting.person)
    view = _view(sighting)
    before = sum(_view_of(number) == view for number in range(sighting.number))
    return f"{pair}_{person:03d}_{view + 1}_{view * 5 + before + 1:02d}.png"


def _extracted_extras(sighting: Sighting, image_id: str, defects: bool) -> tuple[Extra, ...]:
    del sighting, defects
    return (Extra(f"images_labeled/{image_id}", "exact"),)


def _cuhk03_lists(entries: Sequence[Entry], defects: bool) -> dict[str, bytes]:
    """The new protocol's two configurations, and the classic protocol's draws of test people."""
    del defects
    ordered = sorted(entries, key=lambda entry: (entry.sighting.person, entry.image_id))
    asks = np.array([entry.sighting.asks(_VIEWS) for entry in ordered])
    tests = np.array([entry.sighting.split == "test" for entry in ordered])
    configuration = {
        "filelist": _cells([entry.image_id for entry in ordered]),
        "labels": _column([entry.sighting.person for entry in ordered]),
        "camId": _column([_view(entry.sighting) + 1 for entry in ordered]),
        "train_idx": _column(np.flatnonzero(~tests) + 1),
        "query_idx": _column(np.flatnonzero(asks) + 1),
        "gallery_idx": _column(np.flatnonzero(tests & ~asks) + 1),
    }
    people = sorted({entry.sighting.person for entry in ordered if entry.sighting.split == "test"})
    draws = []
    for draw in range(_DRAWS):
        chosen = np.random.default_rng(draw).permutation(people)[: min(_DRAWN, (len(people) + 1) // 2)]
        draws.append(np.array([_pair(int(person)) for person in sorted(chosen)], dtype=np.float64).reshape(-1, 2))
    content = _matlab(configuration)
    return {
        "cuhk03_new_protocol_config_labeled.mat": content,
        "cuhk03_new_protocol_config_detected.mat": content,
        TESTSETS: _matlab({"testsets": _cells(draws)}),
    }


def _column(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)


def _cells(values: Sequence[Any]) -> np.ndarray:
    cells = np.empty((len(values), 1), dtype=object)
    for row, value in enumerate(values):
        cells[row, 0] = value
    return cells


def _matlab(variables: Mapping[str, np.ndarray]) -> bytes:
    """A MATLAB 5 file whose heading names no date, so that the same street gives the same bytes."""
    from scipy.io import savemat

    stream = BytesIO()
    savemat(stream, dict(variables))
    content = stream.getvalue()
    return b"MATLAB 5.0 MAT-file, street of passerby".ljust(116) + content[116:]


def _msmt17_id(sighting: Sighting, frame: int) -> str:
    """A folder for each person; ids start again at 0 in `test/`."""
    folder, person = ("test", sighting.place) if sighting.split == "test" else ("train", sighting.person)
    return f"{folder}/{person:04d}/{msmt_name(sighting, person, frame)}"


def _msmt17_lists(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
    """`list_train.txt`, `list_val.txt`, `list_query.txt` and `list_gallery.txt`.

    As in the real set, `list_val.txt` holds pictures of training people: the last one of who has at least three.
    """
    del defects
    lines: dict[str, list[str]] = {"train": [], "val": [], "query": [], "gallery": []}
    for entry in entries:
        sighting = entry.sighting
        path = entry.image_id.partition("/")[2]
        if sighting.split == "test":
            role = "query" if sighting.asks(len(CAMERAS)) else "gallery"
        else:
            role = "val" if sighting.number == sighting.views - 1 >= 2 else "train"
        lines[role].append(f"{path} {int(path[: path.index('/')])}\n")
    return {f"list_{role}.txt": "".join(rows) for role, rows in lines.items()}


#: Name -> layout.
REID_LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "market1501": Layout(
            reader="market1501",
            images="",
            image_id=_market_id,
            annotate=_nothing,
            splits=TWO_SPLITS,
            first_person=1,
            extras=_market_extras,
            thumbs=("bounding_box_train", "query"),
        ),
        "dukemtmc": Layout(
            reader="dukemtmc",
            images="",
            image_id=_duke_id,
            annotate=_nothing,
            splits=TWO_SPLITS,
            first_person=1,
            thumbs=("bounding_box_train",),
        ),
        "cuhk03": Layout(
            reader="cuhk03-detected",
            images="detected",
            image_id=_cuhk03_id,
            annotate=_nothing,
            splits=TWO_SPLITS,
            first_person=1,
            extras=_cuhk03_extras,
            thumbs=("detected/bounding_box_train",),
        ),
        "cuhk03-mat": Layout(
            reader="cuhk03-detected",
            images="images_detected",
            image_id=_extracted_id,
            annotate=_cuhk03_lists,
            splits=TWO_SPLITS,
            first_person=1,
            extras=_extracted_extras,
            thumbs=("images_detected",),
            needs="scipy",
        ),
        "msmt17": Layout(
            reader="msmt17",
            images="",
            image_id=_msmt17_id,
            annotate=_msmt17_lists,
            splits=TWO_SPLITS,
            thumbs=("train",),
        ),
    }
)
