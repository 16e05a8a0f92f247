"""Variables of a MATLAB file, of either of its two formats: up to version 7, and HDF5 of version 7.3.

Only arrays of numbers, strings and cells of these come out of it; both packages that read the formats are optional.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from passerby.errors import DataError, MissingExtraError, nearest

_HDF5 = b"\x89HDF\r\n\x1a\n"
#: MATLAB puts 512 bytes of its own before the HDF5 file.
_USER_BLOCK = 512


def read_matlab(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read some variables.

    Args:
        path: a `.mat` file.
        names: the variables that are needed.

    Returns:
        Name to array, as MATLAB shows it (rows first); a cell array is an array of objects.

    Raises:
        DataError: no such file, no MATLAB file, or a variable is missing.
        MissingExtraError: the package for this format is not installed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_USER_BLOCK + len(_HDF5))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}; check the path and its permissions"
        ) from error
    newer = _HDF5 in (head[: len(_HDF5)], head[_USER_BLOCK:])
    return _read_hdf5(path, names) if newer else _read_older(path, names)


def _read_older(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        from scipy.io import loadmat, whosmat
    except ImportError as error:
        raise MissingExtraError("scipy", "data", f"reading {path.name}") from error
    try:
        held = [name for name, _, _ in whosmat(str(path))]
        found = loadmat(str(path), variable_names=list(names))
    except Exception as error:  # scipy raises what it stumbles over: ValueError, TypeError, its own, zlib's
        raise DataError(f"{path} is no MATLAB file, or a damaged one ({error}); download it again") from error
    return {name: _present(found.get(name), name, held, path) for name in names}


def _read_hdf5(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "data", f"reading {path.name}") from error

    def value_of(dataset: Any) -> np.ndarray:
        values = dataset[()].T  # columns first on disk
        if h5py.check_ref_dtype(dataset.dtype) is None:
            return values
        cells = np.empty(values.shape, dtype=object)
        for place, reference in np.ndenumerate(values):
            cells[place] = file[reference][()].T
        return cells

    try:
        file: Any
        with h5py.File(path) as file:
            held = list(file)
            return {name: _present(value_of(file[name]) if name in file else None, name, held, path) for name in names}
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} is a damaged MATLAB file ({error}); download it again") from error


def _present(value: Any, name: str, held: Sequence[str], path: Path) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise DataError(f"{path} has no variable {name!r}; it has {', '.join(held) or 'none'}.{nearest(name, held)}")
    return value
