"""What the study of pictures in context runs: encoders, models, seeds, and what is varied; by presets with names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from passerby.errors import ConfigError, nearest

#: Model of `passerby.models.context_config.PRESETS` -> its name in tables.
MODELS: Mapping[str, str] = MappingProxyType(
    {
        "nformer": "NFormer",
        "magformer-mid": "MagFormer without differential attention",
        "magformer": "MagFormer",
    }
)
#: Letter -> protocol of `passerby.models.context_protocols`, and what it is, for every table.
PROTOCOLS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "-": ("", "each picture by itself, no context"),
        "A": ("transductive", "transductive: queries and gallery together, as published; answers depend on the others"),
        "B": ("gallery", "the gallery in context, each query reads it one-way; answers depend on no other query"),
    }
)


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """All numbers of a study.

    Attributes:
        recipe: of stage 1.
        changes: to the recipe, as ``--set`` takes them.
        seeds: how often everything is repeated.
        views: of each training picture in stage 2, the plain one first.
        model: settings that all context encoders share, fields of `ContextConfig`.
        training: of stage 2, fields of `ContextTraining`.
        rerank: numbers of k-reciprocal re-ranking as on the command line.
        ablations: field of `ContextConfig` -> values tried beside the plan's own, with the first seed.
        people: shown in the map of vectors.
        street: fields of `Street`, made when no data set is given; None where one must be.
    """

    recipe: str
    changes: tuple[str, ...] = ()
    seeds: int = 3
    views: int = 4
    model: Mapping[str, Any] = field(default_factory=lambda: {"k": 20})
    training: Mapping[str, Any] = field(default_factory=lambda: {"epochs": 20, "set_size": 2048})
    rerank: str = "k1=20,k2=6,lambda=0.3"
    ablations: Mapping[str, tuple[int, ...]] = field(
        default_factory=lambda: {"k": (10, 20, 40), "landmark_count": (1, 5, 20), "layers": (1, 2, 4)}
    )
    people: int = 12
    street: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            key: dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
            for key, value in plain.items()
        }


#: Reader of a data set -> recipe of its stage 1.
_RECIPES = {
    "market1501": "reid-market1501",
    "dukemtmc": "reid-dukemtmc",
    "cuhk03-labeled": "reid-cuhk03-labeled",
    "cuhk03-detected": "reid-cuhk03-detected",
    "msmt17": "reid-msmt17",
}
_STREET = ContextPlan(
    recipe="reid-street",
    changes=("optimisation.epochs=10",),
    views=3,
    model=MappingProxyType({"k": 8, "layers": 2, "heads": 2}),
    training=MappingProxyType({"epochs": 3, "set_size": 512, "rate": 5e-4, "schedule": "cosine", "warmup": 20}),
    rerank="k1=8,k2=3,lambda=0.3",
    ablations=MappingProxyType({"k": (4, 8, 16), "landmark_count": (1, 5, 20), "layers": (1, 2, 4)}),
    street=MappingProxyType(
        {"train": 300, "val": 0, "test": 100, "train_views": 10, "test_views": 14, "size": (96, 48)}
    ),
)
_TINY = ContextPlan(
    recipe="reid-street",
    changes=("optimisation.epochs=1", "optimisation.batch_size=32", "model.image.options.channels=8"),
    seeds=2,
    views=2,
    model=MappingProxyType({"k": 5, "layers": 1, "heads": 2}),
    training=MappingProxyType({"epochs": 1, "set_size": 64, "rate": 5e-4}),
    rerank="k1=5,k2=2,lambda=0.3",
    ablations=MappingProxyType({"k": (3, 5), "layers": (1, 2)}),
    people=4,
    street=MappingProxyType({"train": 20, "val": 0, "test": 10, "train_views": 4, "test_views": 8, "size": (96, 48)}),
)
#: Name -> plan. "published" takes the recipe that belongs to the data set.
PRESETS: Mapping[str, ContextPlan] = MappingProxyType(
    {"published": ContextPlan(recipe=""), "street": _STREET, "tiny": _TINY}
)


def plan_of(preset: str, reader: str) -> ContextPlan:
    """The plan of a preset for a data set.

    Args:
        preset: a key of `PRESETS`.
        reader: name of the data set, the part of its address before the colon; empty where none was given.

    Raises:
        ConfigError: no such preset, it brings no data of its own and none was given, or no recipe belongs to the set.
    """
    if preset not in PRESETS:
        raise ConfigError(f"no preset {preset!r}; there are {', '.join(PRESETS)}.{nearest(preset, PRESETS)}")
    plan = PRESETS[preset]
    if not reader and plan.street is None:
        raise ConfigError(f"the preset {preset!r} needs --data NAME:ROOT; street and tiny draw a street of their own")
    if plan.recipe:
        return plan
    if reader not in _RECIPES:
        raise ConfigError(
            f"no recipe of stage 1 belongs to {reader!r}; known: {', '.join(_RECIPES)}. The preset street goes with "
            "any set that says which pictures ask"
        )
    return replace(plan, recipe=_RECIPES[reader])
