"""What the study of selection trains: variants of recipes, the tables that they stand in, and what was published.

A variant is a recipe with changes; several tables may show the same one, which is trained once for each seed. Rows of
the supplement of ITSELF (Nguyen et al. 2026) stand in the order in which it prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from passerby.errors import ConfigError, nearest

#: Figures of the supplement's tables, in their order.
COLUMNS: Mapping[str, str] = MappingProxyType({"r1": "R@1", "r5": "R@5", "r10": "R@10", "map": "mAP"})
#: Methods in the order of the comparison, weakest claim first; the issue of order is about the last and these.
METHODS = ("clip-ft", "irra-sdm-id", "rde", "tal-cid", "itself")


@dataclass(frozen=True, slots=True)
class Variant:
    """A recipe with changes, as ``--set`` takes them.

    Attributes:
        recipe: its name.
        changes: ``section.key=value``.
        start: the variant whose model of the same seed is gone on from; empty for what the recipe begins with.
    """

    recipe: str
    changes: tuple[str, ...] = ()
    start: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        label: how it is called there.
        what: in a few words.
        variant: key of the plan's variants.
        printed: R@1, R@5, R@10 and mAP as the supplement prints them (RSTPReid); empty where it has no such row.
    """

    label: str
    what: str
    variant: str
    printed: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its title, what it says, and its rows."""

    title: str
    what: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class SelectionPlan:
    """All numbers of a study.

    Attributes:
        variants: name -> what is trained.
        tables: what is shown.
        changes: of every recipe, before a variant's own.
        seeds: how often everything is repeated.
        pictures: most pictures that grounding looks at, on a street with masks.
        street: fields of `Street`, drawn when no data set is given; None where one must be.
    """

    variants: Mapping[str, Variant]
    tables: tuple[Table, ...]
    changes: tuple[str, ...] = ()
    seeds: int = 3
    pictures: int = 100
    street: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values; tables are presentation and no part of it."""
        return {
            "variants": {name: asdict(one) | {"changes": list(one.changes)} for name, one in self.variants.items()},
            "changes": list(self.changes),
            "seeds": self.seeds,
            "pictures": self.pictures,
            "street": None
            if self.street is None
            else {key: list(value) if isinstance(value, tuple) else value for key, value in self.street.items()},
        }


_LAYER = ("model.local.selector=layer", "model.local.layers=[2]")
_NO_SCHEDULE = "model.local.schedule=none"
_PUBLISHED_SECOND = "model.clip=timm/vit_base_patch32_clip_224.openai"
#: The published methods, on CLIP's ViT-B/16 and, for the second backbone, ViT-B/32.
_PUBLISHED: Mapping[str, Variant] = MappingProxyType(
    {
        **{name: Variant(name) for name in METHODS},
        **{
            f"itself-layer-{schedule}": Variant("itself", (*_LAYER, f"model.local.schedule={schedule}"))
            for schedule in ("none", "epoch", "step")
        },
        "itself-none": Variant("itself", (_NO_SCHEDULE,)),
        **{f"itself-{key}": Variant("itself", (f"model.local.selector={key}", _NO_SCHEDULE)) for key in "ABCD"},
        "tal-cid-second": Variant("tal-cid", (_PUBLISHED_SECOND,)),
        "itself-second": Variant("itself", (_PUBLISHED_SECOND,)),
    }
)


#: What the street's methods go on from, as the published ones go on from CLIP, and the same on the second backbone.
_START, _SECOND_START = "start", "start-second"


def _small(second: tuple[str, ...], epochs: int) -> Mapping[str, Variant]:
    """The same on the street's small towers; the schedules are compared under MARS, so that one cell serves twice.

    Attention points at nothing before it has learned, so each backbone is trained by contrast first (`epochs`), once
    for each seed, and every method goes on from there.
    """
    trained = f"optimisation.epochs={epochs}"
    return MappingProxyType(
        {
            _START: Variant("street-clip-ft", (trained,)),
            _SECOND_START: Variant("street-clip-ft", (*second, trained)),
            **{name: Variant(f"street-{name}", start=_START) for name in METHODS},
            "itself-none": Variant("street-itself", (_NO_SCHEDULE,), _START),
            "itself-epoch": Variant("street-itself", ("model.local.schedule=epoch",), _START),
            **{
                f"itself-{key}": Variant("street-itself", (f"model.local.selector={key}", _NO_SCHEDULE), _START)
                for key in "ABCD"
            },
            "tal-cid-second": Variant("street-tal-cid", start=_SECOND_START),
            "itself-second": Variant("street-itself", start=_SECOND_START),
        }
    )


def _tables(
    scheduled: tuple[str, str, str], under: str, backbones: tuple[str, str], begun: tuple[Row, ...] = ()
) -> tuple[Table, ...]:
    """The comparison and the supplement's three tables; its figures stand beside those of the same recipes only."""

    def row(label: str, what: str, variant: str, *figures: float) -> Row:
        return Row(label, what, variant, figures)

    none, epoch, step = scheduled
    first, second = backbones
    return (
        Table(
            "Methods",
            "Every method on the same towers, by its own losses.",
            (
                *begun,
                row("clip-ft", "contrast by identity, global vectors", "clip-ft"),
                row("irra-sdm-id", "IRRA without masked words", "irra-sdm-id"),
                row("rde", "triplet alignment, both branches, last layer selects", "rde"),
                row("tal-cid", "what ITSELF is built on, global vectors", "tal-cid"),
                row("itself", "both branches, MARS selects, ATS by step", "itself"),
            ),
        ),
        Table(
            "Table 1: the schedule (ATS)",
            f"How the share of tokens falls in training, with {under}. The supplement's baseline is a single layer "
            "without a schedule.",
            (
                row("none", "no schedule, a fixed share", none, 65.00, 85.45, 90.15, 52.26),
                row("epoch", "ATS by epoch", epoch, 65.25, 83.85, 89.95, 51.39),
                row("step", "ATS by step", step, 65.95, 85.70, 90.10, 52.71),
            ),
        ),
        Table(
            "Table 2: backbones",
            "Global vectors alone (tal-cid) against ITSELF on two backbones.",
            (
                row(f"{first}, baseline", "tal-cid", "tal-cid", 61.30, 80.85, 87.65, 49.12),
                row(f"{first}, ITSELF", "itself", "itself", 67.30, 85.60, 90.50, 53.05),
                row(f"{second}, baseline", "tal-cid", "tal-cid-second", 59.65, 79.35, 86.35, 47.40),
                row(f"{second}, ITSELF", "itself", "itself-second", 64.50, 84.10, 90.40, 50.28),
            ),
        ),
        Table(
            "Table 3: selectors",
            "What ranks the tokens, all without a schedule.",
            (
                row("A", "smallest mean attention", "itself-A", 60.25, 79.70, 88.10, 48.27),
                row("B", "largest mean attention", "itself-B", 66.25, 84.45, 90.20, 52.29),
                row("C", "smallest standard deviation", "itself-C", 60.95, 81.40, 87.60, 48.99),
                row("D", "largest standard deviation", "itself-D", 65.65, 84.00, 89.95, 51.58),
                row("MARS", "rollout of two layers", "itself-none", 66.95, 85.15, 90.40, 53.05),
            ),
        ),
    )


_SMALL_TABLES = _tables(
    ("itself-none", "itself-epoch", "itself"),
    "MARS",
    ("patch 8", "patch 16"),
    (Row("start", "what all of them go on from: contrast by identity", _START),),
)
_SECOND = ("model.image.options.patch=16",)
_TINY_TOWERS = (
    "data.image_size=[64, 32]",
    "model.image={name: stem_vit, options: {patch: 8, channels: 16, layers: 2, heads: 2}}",
    "model.text={name: transformer, options: {channels: 16, layers: 2, heads: 2}}",
    "model.tokenizer.vocabulary=128",
    "model.embedding_dim=16",
    "optimisation.epochs=1",
    "optimisation.batch_size=16",
)
#: Name -> plan.
PRESETS: Mapping[str, SelectionPlan] = MappingProxyType(
    {
        "published": SelectionPlan(
            _PUBLISHED,
            _tables(
                ("itself-layer-none", "itself-layer-epoch", "itself-layer-step"),
                "the attention of a single layer, the third, selecting",
                ("ViT-B/16", "ViT-B/32"),
            ),
            pictures=500,
        ),
        "street": SelectionPlan(
            _small(_SECOND, 8),
            _SMALL_TABLES,
            ("optimisation.epochs=2",),
            pictures=60,
            # Rates were chosen on the street of seed 0, which has other people.
            street=MappingProxyType(
                {"seed": 6, "train": 2000, "val": 60, "test": 250, "train_views": 2, "test_views": 4, "masks": True}
            ),
        ),
        "tiny": SelectionPlan(
            _small(_SECOND, 2),
            _SMALL_TABLES,
            changes=_TINY_TOWERS,
            seeds=2,
            pictures=3,
            street=MappingProxyType(
                {
                    "train": 12,
                    "val": 4,
                    "test": 6,
                    "train_views": 2,
                    "test_views": 2,
                    "size": (64, 32),
                    "masks": True,
                }
            ),
        ),
    }
)


def plan_of(preset: str, data: str) -> SelectionPlan:
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
