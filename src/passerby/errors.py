"""The exception family of passerby.

Every error that a user can cause is one of these. A message says what was given, what was expected and what to
do next; anything else that escapes the library is a defect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PasserbyError(Exception):
    """Base of every error that passerby raises on purpose."""


class ConfigError(PasserbyError):
    """A recipe, an option or an argument is wrong."""


class DataError(PasserbyError):
    """A picture, a caption or a data set is missing, damaged or not what it should be."""


class CheckpointError(PasserbyError):
    """A checkpoint folder is missing, damaged, too new or of another kind."""


class GalleryError(PasserbyError):
    """A gallery is missing, damaged, locked or made with another model."""


class MissingExtraError(PasserbyError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Name the missing package, the extra and what it was needed for.

        Args:
            package: the import name that was not found, for example ``torch``.
            extra: the extra of passerby that installs it, for example ``train``.
            purpose: what was about to be done, as a noun phrase.
        """
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; run: pip install 'passerby[{extra}]'"
        )
        self.package = package
        self.extra = extra


def nearest(given: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest known name, or an empty string when none is close."""
    matches = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""
