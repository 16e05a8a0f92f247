"""What happens to a decoded picture before an image tower sees it: one size, one mean, one standard deviation.

The record travels with every tower and every checkpoint, so nobody ever types these numbers again. It needs no torch,
because the exported towers are used without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from passerby.errors import ConfigError

#: What OpenAI's CLIPs, and nearly all that came after them, were trained with.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_INTERPOLATIONS = ("bilinear", "bicubic")
_KEYS = ("image_size", "mean", "std", "interpolation")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels become the input of an image tower: resize to `image_size`, divide by 255, then (x - mean) / std.

    Attributes:
        image_size: (height, width) in pixels.
        mean: mean of red, green, blue on the scale 0 to 1.
        std: standard deviation of red, green, blue on the same scale.
        interpolation: the resampling that the tower was trained with, "bilinear" or "bicubic".
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise ConfigError(f"preprocessing: image_size is {self.image_size}; expected (height, width) in pixels")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError(
                f"preprocessing: mean {self.mean} and std {self.std}; expected three numbers each, std above zero"
            )
        if self.interpolation not in _INTERPOLATIONS:
            raise ConfigError(
                f"preprocessing: interpolation {self.interpolation!r}; expected {' or '.join(_INTERPOLATIONS)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values, for ``config.json``."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what `to_dict` wrote.

        Raises:
            ConfigError: a key is missing, unknown or has a value of the wrong kind.
        """
        if set(values) != set(_KEYS):
            raise ConfigError(f"preprocessing has the keys {sorted(values)}; expected {sorted(_KEYS)}")
        try:
            height, width = (int(side) for side in values["image_size"])
            red, green, blue = (float(value) for value in values["mean"])
            std_red, std_green, std_blue = (float(value) for value in values["std"])
        except (TypeError, ValueError) as error:
            raise ConfigError(f"preprocessing {dict(values)} cannot be read: {error}") from error
        mean, std = (red, green, blue), (std_red, std_green, std_blue)
        return cls((height, width), mean, std, str(values["interpolation"]))
