"""A folder of pictures as Hugging Face's `datasets` knows it: an ImageFolder, or what `save_to_disk` wrote.

An ImageFolder has pictures in folders, of splits or of classes, and perhaps `metadata.csv` or `metadata.jsonl` beside
them. Pictures that `save_to_disk` put into its tables are written to passerby's cache once, because a record holds a
path. Nothing is fetched and no code of the folder is run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from passerby.data.cache import cache_root
from passerby.data.readers.own_list import COLUMNS, gather
from passerby.data.readers.source import Source, assemble
from passerby.data.records import Dataset
from passerby.errors import DataError, MissingExtraError

#: Column of such folders -> ours; ours are read under their own names too.
ALIASES: Mapping[str, str] = {
    "text": "caption",
    "texts": "captions",
    "label": "identity",
    "person_id": "identity",
    "pid": "identity",
    "camera_id": "camera",
    "camid": "camera",
    "timestamp": "time",
}
_SPLITS = {"validation": "val"}
_SAVED = ("dataset_dict.json", "state.json")


def read(root: Path) -> Dataset:
    """Open a folder of pictures with Hugging Face's `datasets`.

    Args:
        root: the folder that holds the pictures, or that `save_to_disk` wrote.

    Raises:
        DataError: the folder cannot be read, or is not what it should be.
        MissingExtraError: `datasets` is not installed.
    """
    return assemble(source(root))


def source(root: Path) -> Source:
    """What a folder of Hugging Face's `datasets` says, defects included.

    Raises:
        DataError: the folder cannot be read, or is not what it should be.
        MissingExtraError: `datasets` is not installed.
    """
    tables = _loaded(root)
    lines = [line for name, table in tables.items() for line in _lines(table, _SPLITS.get(name, name), root)]
    rows, notes = gather(list(enumerate(lines, 1)), root, (*COLUMNS, "captions"))
    return Source(
        name="hf",
        title="your Hugging Face folder",
        root=root,
        pictures=root.absolute(),
        listing=root,
        rows=rows,
        licence="as its own card says",
        own=True,
        notes=notes,
    )


def _loaded(root: Path) -> Mapping[str, Any]:
    """Split -> table, with pictures left as they are stored."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingExtraError("datasets", "data", "reading a Hugging Face folder of pictures") from error
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        if any((root / name).is_file() for name in _SAVED):
            found = datasets.load_from_disk(str(root.absolute()))
        else:
            # The builder's name is fixed, so that no script that lies in the folder is looked for.
            cache = cache_root() / "datasets"
            found = datasets.load_dataset("imagefolder", data_dir=str(root.absolute()), cache_dir=str(cache))
    except Exception as error:  # `datasets` raises errors of many libraries on damaged folders
        raise DataError(
            f"{root} cannot be read as a Hugging Face folder of pictures ({type(error).__name__}: {error!s:.200}); "
            f"expected an ImageFolder or what save_to_disk wrote"
        ) from error
    finally:
        if shown:
            datasets.enable_progress_bars()
    tables = found if isinstance(found, datasets.DatasetDict) else {"all": found}
    return {str(name): _with_stored_pictures(table, datasets, root) for name, table in tables.items()}


def _with_stored_pictures(table: Any, datasets: Any, root: Path) -> Any:
    columns = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    if len(columns) != 1:
        raise DataError(
            f"{root} has {len(columns)} columns of pictures among {', '.join(table.features)}; expected one"
        )
    stored = table.cast_column(columns[0], datasets.Image(decode=False))
    return stored if columns[0] == "image" else stored.rename_column(columns[0], "image")


def _lines(table: Any, split: str, root: Path) -> Iterator[dict[str, Any]]:
    """Rows with our column names; what a row leaves empty is not in it."""
    for row in table:
        line = {ALIASES.get(key, key): value for key, value in row.items() if value is not None}
        line["image"] = _place(row["image"], root)
        yield {"split": split, **line}


def _place(stored: Mapping[str, Any], root: Path) -> str:
    """Path of a picture, relative to the root where it lies below it; bytes are written to the cache first."""
    path, encoded = stored.get("path"), stored.get("bytes")
    if encoded is None:
        if not path:
            raise DataError(f"{root} has a row without a picture; remove it")
        place = Path(path)
    else:
        # Named by what is in it: two folders never meet, and a second run writes nothing.
        digest = hashlib.sha256(encoded).hexdigest()
        place = cache_root() / "hf" / digest[:2] / f"{digest}{Path(path or '').suffix.lower() or '.jpg'}"
        _write_once(place, encoded)
    return place.relative_to(root.absolute()).as_posix() if place.is_relative_to(root.absolute()) else str(place)


def _write_once(place: Path, encoded: bytes) -> None:
    if place.is_file():
        return
    unfinished = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(encoded)
        unfinished.replace(place)
    except OSError as error:
        raise DataError(f"{place} cannot be written: {error.strerror or error}; set PASSERBY_CACHE") from error
