"""What the study of encoders compares: nine picture towers, how they are trained, and what the report says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from passerby.errors import ConfigError, nearest

#: Name in the report -> name in timm. The report announces EfficientNet-B0 and Inception and shows no figure of them.
ENCODERS: Mapping[str, str] = MappingProxyType(
    {
        "MobileNetV2": "mobilenetv2_100",
        "MobileNetV3-Small": "mobilenetv3_small_100",
        "MobileNetV3-Large": "mobilenetv3_large_100",
        "EfficientNet-B0": "efficientnet_b0",
        "EfficientNet-B3": "efficientnet_b3",
        "Inception": "inception_v3",
        "FastViT": "fastvit_t8",
        "CoAtNet-0": "coatnet_0_rw_224",
        "ResNet-50": "resnet50",
    }
)


@dataclass(frozen=True, slots=True)
class Published:
    """A row of the report's Tables II, III and IV, as printed; "FLOPs" are multiply-adds of both towers together."""

    parameters_m: float
    flops_g: float
    one_query_s: float
    five_queries_s: float
    map: float
    loss: float
    rank1: float
    rank5: float
    rank10: float


#: Name in the report -> its printed row; ResNet-50, EfficientNet-B0 and Inception have none.
PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "MobileNetV2": Published(45.213, 8.828, 0.7206, 4.3063, 0.0581, 2.60, 1.74, 1.68, 1.04),
        "MobileNetV3-Small": Published(43.917, 8.563, 0.6803, 4.2104, 0.0544, 2.63, 1.59, 1.51, 0.87),
        "MobileNetV3-Large": Published(45.962, 8.734, 0.6586, 3.6772, 0.0630, 2.53, 1.75, 1.96, 1.16),
        "EfficientNet-B3": Published(54.846, 10.329, 0.6676, 4.5723, 0.0569, 2.07, 1.71, 1.66, 0.98),
        "FastViT": Published(46.142, 9.036, 0.7908, 4.1498, 0.0501, 3.46, 1.39, 1.31, 0.87),
        "CoAtNet-0": Published(70.418, 12.712, 0.7937, 4.7496, 0.1018, 1.95, 3.33, 3.22, 1.75),
    }
)


@dataclass(frozen=True, slots=True)
class EncodersPlan:
    """All numbers of a study.

    Attributes:
        recipe: that every encoder is trained by.
        changes: to the recipe, as ``--set`` takes them.
        encoders: names of `ENCODERS`.
        sizes: encoder -> (height, width) where it takes no other than its own.
        repeats: timed calls of each latency.
        tokens: of a typical query, for multiply-adds and latency.
        street: fields of `Street`, drawn when no data set is given; None where one must be.
    """

    recipe: str
    changes: tuple[str, ...] = ()
    encoders: tuple[str, ...] = tuple(ENCODERS)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=lambda: {"CoAtNet-0": (224, 224)})
    repeats: int = 20
    tokens: int = 24
    street: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "recipe": self.recipe,
            "changes": list(self.changes),
            "encoders": list(self.encoders),
            "sizes": {name: list(size) for name, size in self.sizes.items()},
            "repeats": self.repeats,
            "tokens": self.tokens,
            "street": None if self.street is None else {key: _plain(value) for key, value in self.street.items()},
        }


_THREE = ("MobileNetV3-Small", "MobileNetV3-Large", "EfficientNet-B0")
#: Name -> plan.
PRESETS: Mapping[str, EncodersPlan] = MappingProxyType(
    {
        "ours": EncodersPlan("small-encoder"),
        "report": EncodersPlan("small-encoder-report"),
        "street": EncodersPlan(
            "small-encoder-street",
            encoders=_THREE,
            street=MappingProxyType(
                {"train": 2000, "val": 50, "test": 100, "train_views": 2, "test_views": 4, "size": (128, 64)}
            ),
        ),
        "tiny": EncodersPlan(
            "small-encoder-street",
            ("optimisation.epochs=1", "optimisation.batch_size=16", "data.image_size=[64, 32]", "data.captions=1"),
            encoders=("MobileNetV3-Small", "MobileNetV3-Large"),
            repeats=2,
            street=MappingProxyType(
                {"train": 24, "val": 8, "test": 12, "train_views": 2, "test_views": 2, "size": (64, 32)}
            ),
        ),
    }
)


def plan_of(preset: str, data: str) -> EncodersPlan:
    """The plan of a preset.

    Args:
        preset: a key of `PRESETS`.
        data: NAME:ROOT, or empty.

    Raises:
        ConfigError: no such preset, or it needs data and none were given.
    """
    if preset not in PRESETS:
        raise ConfigError(f"no preset {preset!r}; there are {', '.join(PRESETS)}.{nearest(preset, PRESETS)}")
    if not data and PRESETS[preset].street is None:
        raise ConfigError(f"the preset {preset!r} needs --data NAME:ROOT; street and tiny draw a street of their own")
    return PRESETS[preset]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
