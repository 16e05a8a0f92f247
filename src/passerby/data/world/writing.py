"""Writing a street to disk, in as many processes as there are cores and with the same bytes for any number of them.

The work is cut into fixed pieces of a few people each. A piece is finished when its record lies in `.unfinished`;
a run that was killed goes on with the pieces that are missing, and `street.json`, written last, says that all is done.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from passerby.data.world.layout import Layout
from passerby.data.world.layouts import layout_of
from passerby.data.world.pieces import MASKS, UNFINISHED, Piece, draw, entries_of, write_whole
from passerby.data.world.sidecar import (
    FORMAT,
    FORMAT_VERSION,
    PLAN_FILE,
    plan_record,
    read_plan,
    split_file,
)
from passerby.data.world.street import (
    STANDARD_QUERIES,
    WORLD_VERSION,
    Street,
    inhabitants,
)
from passerby.errors import ConfigError, DataError

#: Called with (pictures finished, pictures in all).
Progress = Callable[[int, int], None]

_PEOPLE_PER_PIECE = 24
_THUMBS = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0")  # how Windows begins its file of thumbnails
_PICTURES = (".jpg", ".png", ".bmp")


def write(
    street: Street,
    root: Path | str,
    *,
    layout: str = "rstpreid",
    defects: bool = False,
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
        defects: also what is wrong with published sets, as far as the layout can have it: a picture that is listed and
            missing, a caption that two people share, a row without its separator, junk and distractors, a `Thumbs.db`.
        workers: processes; None for one per core that this process may use. The bytes written do not depend on it.
        progress: told how far it is, from this process.

    Returns:
        The folder.

    Raises:
        DataError: the folder holds another street or something else, or cannot be written.
        ConfigError: no such layout, or fewer than one worker.
        MissingExtraError: the layout's files cannot be written without a package that is not installed.
    """
    root = Path(root)
    form = layout_of(layout)
    workers = len(os.sched_getaffinity(0)) if workers is None and hasattr(os, "sched_getaffinity") else workers
    workers = workers if workers is not None else os.cpu_count() or 1
    if workers < 1:
        raise ConfigError(f"workers is {workers}; expected at least 1")
    claim: dict[str, Any] = {"world_version": WORLD_VERSION, "layout": layout, "plan": plan_record(street)}
    if defects:
        claim["defects"] = True
    try:
        if _is_finished(root, claim, form, street):
            if progress:
                progress(street.images, street.images)
            return root
        _claim_folder(root, claim, form, street)
        pieces = _cut(street, layout, defects, root)
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
    whole = all(
        (root / name).exists() and (root / name).stat().st_size == size for name, size in found["files"].items()
    )
    return whole and _pictures_in(root) == found.get("pictures", street.images)


def _pictures_in(root: Path) -> int:
    """How many pictures a street's folder holds, masks not counted."""
    count = 0
    for folder, below, names in os.walk(root):
        if Path(folder) == root:
            below[:] = [name for name in below if name not in (MASKS, UNFINISHED)]
        count += sum(name.endswith(_PICTURES) for name in names)
    return count


def _refuse_other(root: Path, found: dict[str, Any], claim: dict[str, Any]) -> None:
    if found.get("world_version") != claim["world_version"]:
        raise DataError(
            f"{root} holds a street drawn by version {found.get('world_version')} of the street; this passerby draws "
            f"version {claim['world_version']}. Choose another folder, or delete that one"
        )
    old, new = (
        {"layout": one["layout"], "defects": one.get("defects", False), **one["plan"]} for one in (found, claim)
    )
    differing = [f"{key} {old.get(key)} (asked for: {new.get(key)})" for key in new if old.get(key) != new.get(key)]
    if differing:
        raise DataError(
            f"{root} holds another street: {', '.join(differing)}. Choose another folder, or delete that one"
        )


def _claim_folder(root: Path, claim: dict[str, Any], layout: Layout, street: Street) -> None:
    """Make the folders and note whose they are; refuse a folder with other things in it."""
    unfinished = root / UNFINISHED
    note = unfinished / "plan.json"
    if note.exists():
        _refuse_other(root, json.loads(note.read_text("utf-8")), claim)
    elif root.exists() and not (root / PLAN_FILE).exists():
        if not root.is_dir():
            raise DataError(f"{root} is a file; a street needs a folder")
        strangers = sorted(entry.name for entry in root.iterdir() if entry.name != UNFINISHED)
        if strangers:
            raise DataError(f"{root} is not empty ({strangers[0]} is in it) and holds no street; choose a new folder")
    (root / layout.images).mkdir(parents=True, exist_ok=True)
    if street.masks:
        (root / MASKS).mkdir(exist_ok=True)
    unfinished.mkdir(exist_ok=True)
    write_whole(note, json.dumps(claim))


def _cut(street: Street, layout: str, defects: bool, root: Path) -> list[Piece]:
    return [
        Piece(street, layout, defects, root, split, first, tuple(residents[first : first + _PEOPLE_PER_PIECE]))
        for split, residents in inhabitants(street).items()
        for first in range(0, len(residents), _PEOPLE_PER_PIECE)
    ]


def _draw_all(pieces: list[Piece], street: Street, workers: int, progress: Progress | None) -> None:
    """Draw the pieces that are not finished yet."""
    finished = 0

    def note(piece: Piece) -> None:
        nonlocal finished
        finished += len(piece.people) * street.views_in(piece.split)
        if progress:
            progress(finished, street.images)

    missing: list[Piece] = []
    for piece in pieces:
        if piece.record.exists():
            note(piece)
        else:
            missing.append(piece)
    if workers == 1 or len(missing) <= 1:
        for piece in missing:
            draw(piece)
            note(piece)
        return
    with ProcessPoolExecutor(min(workers, len(missing)), mp_context=get_context("spawn")) as pool:
        running = {pool.submit(draw, piece): piece for piece in missing}
        try:
            for done in as_completed(running):
                done.result()
                note(running[done])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _put_together(pieces: list[Piece], claim: dict[str, Any], layout: Layout, street: Street, root: Path) -> None:
    """Join the records of all pieces into the annotations and the sidecars, and declare the street finished."""
    records: dict[str, list[str]] = {}
    for piece in pieces:  # in the order of the splits and of their people
        records.setdefault(layout.splits[piece.split], []).append(piece.record.read_text("utf-8"))
    content: dict[str, str | bytes] = {split_file(split): "".join(texts) for split, texts in records.items()}
    entries = [entry for piece in pieces for entry in entries_of(piece, layout)]
    annotations = layout.annotate(entries, "defects" in claim)
    content.update(annotations)
    for name, text in content.items():
        write_whole(root / name, text)
    about = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **claim,
        "images": street.images,
        "standard_queries": STANDARD_QUERIES,
        "files": {name: (root / name).stat().st_size for name in sorted(content)},
    }
    if "defects" in claim:
        if annotations:
            (root / layout.images / entries[-1].image_id).unlink(missing_ok=True)
        for folder in layout.thumbs:
            if (root / folder).is_dir():
                (root / folder / "Thumbs.db").write_bytes(_THUMBS)
    pictures = _pictures_in(root)
    if pictures != street.images:
        about["pictures"] = pictures
    write_whole(root / PLAN_FILE, json.dumps(about, indent=2) + "\n")
    shutil.rmtree(root / UNFINISHED)
