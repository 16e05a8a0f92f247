"""Writing a street to disk, in as many processes as there are cores and with the same bytes for any number of them.

The work is cut into fixed pieces of a few people each. A piece is finished when its record lies in `.unfinished`;
a run that was killed goes on with the pieces that are missing, and `street.json`, written last, says that all is done.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import Image

from passerby.data.world.attributes import Identity
from passerby.data.world.cameras import CAMERAS
from passerby.data.world.contact_sheet import PART_COLOURS
from passerby.data.world.layouts import Layout, layout_of
from passerby.data.world.sidecar import (
    FORMAT,
    FORMAT_VERSION,
    PLAN_FILE,
    image_record,
    person_record,
    plan_record,
    read_plan,
    split_file,
)
from passerby.data.world.street import SPLITS, STANDARD_QUERIES, WORLD_VERSION, Street, inhabitants, take_picture
from passerby.errors import ConfigError, DataError

#: Called with (pictures finished, pictures in all).
Progress = Callable[[int, int], None]

_UNFINISHED = ".unfinished"
_PEOPLE_PER_PIECE = 24
_MASKS = "masks"
_PALETTE = [level for colour in PART_COLOURS for level in colour]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some people of one split, drawn and written by one worker in one go."""

    street: Street
    layout: str
    root: Path
    split: str
    first: int
    people: tuple[Identity, ...]

    @property
    def record(self) -> Path:
        """Where it is noted that the piece is finished, and with what."""
        return self.root / _UNFINISHED / f"{self.split}_{self.first:06d}.jsonl"


def write(
    street: Street,
    root: Path | str,
    *,
    layout: str = "rstpreid",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a street in a real data set's layout; do nothing when it is there already.

    Processes are started afresh ("spawn"), so a script that calls this with more than one worker keeps its own work
    under ``if __name__ == "__main__":``.

    Args:
        street: the plan.
        root: the folder; made when missing. May hold an unfinished or a finished street of the same plan.
        layout: a name of `layouts.LAYOUTS`.
        workers: processes; None for one per core that this process may use. The bytes written do not depend on it.
        progress: told how far it is, from this process.

    Returns:
        The folder.

    Raises:
        DataError: the folder holds another street or something else, or cannot be written.
        ConfigError: no such layout, or fewer than one worker.
    """
    root = Path(root)
    form = layout_of(layout)
    workers = len(os.sched_getaffinity(0)) if workers is None and hasattr(os, "sched_getaffinity") else workers
    workers = workers if workers is not None else os.cpu_count() or 1
    if workers < 1:
        raise ConfigError(f"workers is {workers}; expected at least 1")
    claim = {"world_version": WORLD_VERSION, "layout": layout, "plan": plan_record(street)}
    try:
        if _is_finished(root, claim, form, street):
            if progress:
                progress(street.images, street.images)
            return root
        _claim_folder(root, claim, form, street)
        pieces = _cut(street, layout, root)
        _draw_all(pieces, street, workers, progress)
        _put_together(pieces, claim, form, street, root)
    except OSError as error:
        raise DataError(
            f"the street could not be written to {root}: {error.strerror or error}. What is finished is kept; once "
            f"that is put right, the same call goes on"
        ) from error
    return root


def _is_finished(root: Path, claim: dict[str, Any], layout: Layout, street: Street) -> bool:
    """Whether the folder holds all of this street; another street is refused."""
    if not (root / PLAN_FILE).exists():
        return False
    _, found = read_plan(root)
    _refuse_other(root, found, claim)
    with os.scandir(root / layout.images) as entries:
        images = sum(1 for _ in entries)
    whole = all(
        (root / name).exists() and (root / name).stat().st_size == size for name, size in found["files"].items()
    )
    return whole and images == street.images


def _refuse_other(root: Path, found: dict[str, Any], claim: dict[str, Any]) -> None:
    if found.get("world_version") != claim["world_version"]:
        raise DataError(
            f"{root} holds a street drawn by version {found.get('world_version')} of the street; this passerby draws "
            f"version {claim['world_version']}. Choose another folder, or delete that one"
        )
    old, new = {"layout": found["layout"], **found["plan"]}, {"layout": claim["layout"], **claim["plan"]}
    differing = [f"{key} {old.get(key)} (asked for: {new.get(key)})" for key in new if old.get(key) != new.get(key)]
    if differing:
        raise DataError(
            f"{root} holds another street: {', '.join(differing)}. Choose another folder, or delete that one"
        )


def _claim_folder(root: Path, claim: dict[str, Any], layout: Layout, street: Street) -> None:
    """Make the folders and note whose they are; refuse a folder with other things in it."""
    unfinished = root / _UNFINISHED
    note = unfinished / "plan.json"
    if note.exists():
        _refuse_other(root, json.loads(note.read_text("utf-8")), claim)
    elif root.exists() and not (root / PLAN_FILE).exists():
        if not root.is_dir():
            raise DataError(f"{root} is a file; a street needs a folder")
        strangers = sorted(entry.name for entry in root.iterdir() if entry.name != _UNFINISHED)
        if strangers:
            raise DataError(f"{root} is not empty ({strangers[0]} is in it) and holds no street; choose a new folder")
    (root / layout.images).mkdir(parents=True, exist_ok=True)
    if street.masks:
        (root / _MASKS).mkdir(exist_ok=True)
    unfinished.mkdir(exist_ok=True)
    _write_whole(note, json.dumps(claim))


def _cut(street: Street, layout: str, root: Path) -> list[_Piece]:
    return [
        _Piece(street, layout, root, split, first, tuple(residents[first : first + _PEOPLE_PER_PIECE]))
        for split, residents in inhabitants(street).items()
        for first in range(0, len(residents), _PEOPLE_PER_PIECE)
    ]


def _draw_all(pieces: list[_Piece], street: Street, workers: int, progress: Progress | None) -> None:
    """Draw the pieces that are not finished yet."""
    finished = 0

    def note(piece: _Piece) -> None:
        nonlocal finished
        finished += len(piece.people) * street.views_in(piece.split)
        if progress:
            progress(finished, street.images)

    missing: list[_Piece] = []
    for piece in pieces:
        if piece.record.exists():
            note(piece)
        else:
            missing.append(piece)
    if workers == 1 or len(missing) <= 1:
        for piece in missing:
            _draw(piece)
            note(piece)
        return
    with ProcessPoolExecutor(min(workers, len(missing)), mp_context=get_context("spawn")) as pool:
        running = {pool.submit(_draw, piece): piece for piece in missing}
        try:
            for done in as_completed(running):
                done.result()
                note(running[done])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _draw(piece: _Piece) -> None:
    """Draw, describe and write some people, then note that they are finished."""
    layout = layout_of(piece.layout)
    lines: list[str] = []
    for place, identity in enumerate(piece.people, start=piece.first):
        images: list[dict[str, Any]] = []
        for number in range(piece.street.views_in(piece.split)):
            picture = take_picture(piece.street, piece.split, place, identity, number)
            camera = picture.view.camera
            name = layout.image_name(identity.person_id, camera, picture.frame)
            target = piece.root / layout.images / name
            Image.fromarray(picture.rendering.image).save(target, "JPEG", quality=CAMERAS[camera].jpeg_quality)
            if piece.street.masks:
                labels = Image.fromarray(picture.rendering.mask)
                labels.putpalette(_PALETTE)
                labels.save((piece.root / _MASKS / name).with_suffix(".png"), "PNG", compress_level=3)
            images.append(image_record(picture, name))
        lines.append(json.dumps(person_record(identity, piece.split, images)))
    _write_whole(piece.record, "\n".join(lines) + "\n")


def _put_together(pieces: list[_Piece], claim: dict[str, Any], layout: Layout, street: Street, root: Path) -> None:
    """Join the records of all pieces into the annotations and the sidecars, and declare the street finished."""
    texts = {split: "".join(p.record.read_text("utf-8") for p in pieces if p.split == split) for split in SPLITS}
    content = {split_file(split): text for split, text in texts.items() if text}
    content[layout.annotations] = layout.annotate(_annotation_records(texts))
    for name, text in content.items():
        _write_whole(root / name, text)
    about = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **claim,
        "images": street.images,
        "standard_queries": STANDARD_QUERIES,
        "files": {name: (root / name).stat().st_size for name in sorted(content)},
    }
    _write_whole(root / PLAN_FILE, json.dumps(about, indent=2) + "\n")
    shutil.rmtree(root / _UNFINISHED)


def _annotation_records(texts: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Every picture as the annotations of a real set have it, in the order of the people."""
    for text in texts.values():
        for line in text.splitlines():
            person = json.loads(line)
            for image in person["images"]:
                yield {
                    "id": person["person"]["person_id"],
                    "img_path": image["img_path"],
                    "captions": [caption["text"] for caption in image["captions"]],
                    "split": person["split"],
                }


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
