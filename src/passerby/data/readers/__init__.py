"""Readers: one file per public data set, each turning the set's own files into records.

A data set is named as NAME:ROOT, for example ``rstpreid:data/RSTPReid``. What can be read in more than one way, such
as CUHK03 with drawn or detected boxes, has a name for each way, so that a report that carries the name carries the
choice. The reader's module is imported only when its data set is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from passerby.data.records import Dataset
from passerby.data.splitting import hold_out
from passerby.errors import DataError, nearest

if TYPE_CHECKING:
    from passerby.data.readers.source import Source


@dataclass(frozen=True, slots=True)
class Reader:
    """How one name is read.

    Attributes:
        module: in this package; its `read(root, **options)` gives records, its `source(root, **options)` what the
            files say.
        options: what makes this name differ from others of the same module.
        takes: what the part after the colon must be: "folder" or "file".
        held_out: so many people of train become val, for data sets that have no val split of their own.
        withdrawn: True where its authors took the data set back; tables of all data sets leave it out.
    """

    module: str
    options: Mapping[str, str | int | bool] = field(default_factory=dict)
    takes: str = "folder"
    held_out: int = 0
    withdrawn: bool = False


#: Name of a data set, or of a variant of it -> its reader.
READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "rstpreid": Reader("rstpreid"),
        "cuhk-pedes": Reader("cuhk_pedes"),
        "cuhk-pedes-proofread": Reader("cuhk_pedes", {"proofread": True}),
        "icfg-pedes": Reader("icfg_pedes"),
        "icfg-pedes-val": Reader("icfg_pedes", held_out=200),
        "flickr30k": Reader("flickr30k"),
        "flickr30k-8020": Reader("flickr30k", {"kaggle": True}),
        "flickr8k": Reader("flickr8k"),
        "flickr8k-8020": Reader("flickr8k", {"by_seed": True}),
        "market1501": Reader("market1501"),
        "market1501-500k": Reader("market1501", {"distractors": True}),
        "dukemtmc": Reader("dukemtmc", withdrawn=True),
        "cuhk03-labeled": Reader("cuhk03", {"boxes": "labeled"}),
        "cuhk03-detected": Reader("cuhk03", {"boxes": "detected"}),
        "cuhk03-classic-labeled": Reader("cuhk03", {"boxes": "labeled", "classic": True}),
        "cuhk03-classic-detected": Reader("cuhk03", {"boxes": "detected", "classic": True}),
        "msmt17": Reader("msmt17"),
        "msmt17-train": Reader("msmt17", {"with_val": False}),
        "msmt17-v2": Reader("msmt17", {"version": 2}),
        "msmt17-v2-train": Reader("msmt17", {"version": 2, "with_val": False}),
        "folders": Reader("own_folders"),
        "flat": Reader("own_folders", {"people": False}),
        "hf": Reader("hugging_face"),
        "csv": Reader("own_list", {"form": "csv"}, takes="file"),
        "jsonl": Reader("own_list", {"form": "jsonl"}, takes="file"),
    }
)


def open_dataset(address: str) -> Dataset:
    """Open a data set by NAME:ROOT.

    Args:
        address: a name of `READERS`, a colon, and the folder or file of the data set.

    Raises:
        DataError: not of that form, an unknown name, no such folder, or whatever the reader finds wrong in it.
    """
    name, colon, place = address.partition(":")
    if not colon or not place:
        raise DataError(f"{address!r} names no data set; expected NAME:ROOT, for example rstpreid:data/RSTPReid")
    reader, root = _resolve(name, Path(place).expanduser())
    dataset = import_module(f"{__name__}.{reader.module}").read(root, **reader.options)
    return hold_out(dataset, name, reader.held_out) if reader.held_out else dataset


def open_source(name: str, root: Path) -> Source:
    """Parse a data set's files without judging them, for `passerby data check`; splits are the files' own.

    Args:
        name: a name of `READERS`.
        root: the folder or file of the data set.

    Raises:
        DataError: an unknown name, no such folder, or files that cannot be parsed.
    """
    reader, root = _resolve(name, root.expanduser())
    return import_module(f"{__name__}.{reader.module}").source(root, **reader.options)


def _resolve(name: str, root: Path) -> tuple[Reader, Path]:
    if name not in READERS:
        raise DataError(f"no reader for the data set {name!r}; there is {', '.join(READERS)}.{nearest(name, READERS)}")
    reader = READERS[name]
    if not root.exists():
        raise DataError(f"no such {reader.takes}: {root}; expected the {reader.takes} of the data set {name}")
    if reader.takes == "folder" and not root.is_dir():
        raise DataError(f"{root} is a file; expected the folder of the data set {name}")
    if reader.takes == "file" and not root.is_file():
        raise DataError(f"{root} is a folder; expected the file that lists the data set {name}")
    return reader, root
