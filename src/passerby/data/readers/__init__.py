"""Readers: one file per public data set, each turning the set's own files into records.

A data set is named as NAME:ROOT, for example ``rstpreid:data/RSTPReid``. The reader's module is imported only when
its data set is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from passerby.data.records import Dataset
from passerby.errors import DataError, nearest

#: Name of a data set -> the module whose `read(root)` opens it.
READERS: Mapping[str, str] = MappingProxyType({"rstpreid": "passerby.data.readers.rstpreid"})


def open_dataset(source: str) -> Dataset:
    """Open a data set by NAME:ROOT.

    Args:
        source: a name of `READERS`, a colon, and the folder of the data set.

    Raises:
        DataError: not of that form, an unknown name, no such folder, or whatever the reader finds wrong in it.
    """
    name, colon, folder = source.partition(":")
    if not colon or not folder:
        raise DataError(f"{source!r} names no data set; expected NAME:ROOT, for example rstpreid:data/RSTPReid")
    if name not in READERS:
        raise DataError(f"no reader for the data set {name!r}; there is {', '.join(READERS)}.{nearest(name, READERS)}")
    root = Path(folder).expanduser()
    if not root.exists():
        raise DataError(f"no such folder: {root}; expected the folder of the data set {name}")
    if not root.is_dir():
        raise DataError(f"{root} is a file; expected the folder of the data set {name}")
    return import_module(READERS[name]).read(root)
