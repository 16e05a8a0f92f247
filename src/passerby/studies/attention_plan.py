"""What the attention study trains: every backbone with every mechanism, under one budget, once for each seed.

A preset says which recipe, which towers stand for the two backbones of the reports, and how each mechanism is put on
them; the rest of the recipe is the same for all cells, so that nothing but tower and mechanism differs. "cross" trains
no towers: it is a re-ranker on the finished cell "none" of the same backbone and seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from passerby.data.world.street import Street
from passerby.errors import ConfigError, nearest
from passerby.training.recipe import load_recipe
from passerby.training.tasks.dual_encoder_recipe import DualEncoderRecipe
from passerby.training.tasks.reranker_recipe import RerankerRecipe

#: Mechanisms in the order of every table and of training; "cross" re-ranks what "none" finds.
MECHANISMS = ("none", "self", "sparse", "cross")
#: Pictures that a query is re-ranked with.
CANDIDATES = (16, 32, 64, 128)
#: The K whose figures stand in the table.
KEPT = 64

_SECOND = "reranker."  # what a change of the re-ranker's recipe begins with


@dataclass(frozen=True, slots=True)
class Preset:
    """One way to run the study.

    Attributes:
        recipes: start of a data set's name -> recipe of the towers; "" is for all others.
        reranker: recipe of the re-ranker.
        backbones: name in tables -> changes of the recipe.
        mechanisms: name -> changes of the recipe; of the re-ranker's for "cross".
        street: drawn when no data set is given; None where one must be given.
        queries: most sentences that are asked of the test split; None for all.
        paired_batch: rows of a paired batch; None for the recipe's own batch size.
    """

    recipes: Mapping[str, str]
    reranker: str
    backbones: Mapping[str, tuple[str, ...]]
    mechanisms: Mapping[str, tuple[str, ...]]
    street: Street | None = None
    queries: int | None = None
    paired_batch: int | None = None


_NARROW = "{width: 96, heads: 4, pooling: tower, dropout: 0.0}"
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "published": Preset(
            recipes={"flickr": "attention-flickr30k", "": "attention-rstpreid"},
            reranker="reranker",
            backbones={"ResNet-50": ("model.image.name=resnet50",), "FastViT-T8": ("model.image.name=fastvit_t8",)},
            mechanisms={
                "none": (),
                "self": ("model.attention=self",),
                "sparse": ("model.attention=sparse",),
                "cross": (),
            },
        ),
        "street": Preset(
            recipes={"": "attention-street"},
            reranker="reranker-street",
            backbones={
                "stripe_conv": ("model.image={name: stripe_conv, options: {channels: 48}}",),
                "byobnet": ("model.image={name: 'timm:test_byobnet', options: {weights: random, last_stride: 1}}",),
            },
            mechanisms={
                "none": (),
                "self": (
                    f"model.attention={{image: {{name: self, options: {_NARROW}}}, "
                    f"text: {{name: self, options: {_NARROW}}}}}",
                ),
                "sparse": (
                    f"model.attention={{image: {{name: sparse, options: {_NARROW}}}, "
                    f"text: {{name: sparse, options: {_NARROW}}}}}",
                ),
                "cross": (),
            },
            street=Street(train=2_500, val=100, test=250),
            queries=500,
            paired_batch=96,
        ),
        "tiny": Preset(
            recipes={"": "attention-street"},
            reranker="reranker-street",
            backbones={
                f"stripe_conv-{channels}": (
                    f"model.image={{name: stripe_conv, options: {{channels: {channels}}}}}",
                    "model.text={name: conv, options: {channels: 24}}",
                    "model.tokenizer.vocabulary=128",
                    "model.embedding_dim=32",
                    "data.image_size=[64, 32]",
                    "optimisation.batch_size=16",
                )
                for channels in (8, 16)
            },
            mechanisms={
                "none": (),
                "self": ("model.attention={image: {name: self, options: {width: 16}}}",),
                "sparse": ("model.attention={image: {name: sparse, options: {width: 16}}}",),
                "cross": ("model={width: 16, layers: 1}", "optimisation.batch_size=16"),
            },
            street=Street(train=32, val=8, test=12, size=(64, 32)),
            paired_batch=16,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One training run with all that is measured on it.

    Attributes:
        backbone: name of the image tower in tables.
        mechanism: one of `MECHANISMS`.
        seed: of the training.
        recipe: of the towers, resolved.
        reranker: resolved but for its first stage, which is the cell at `start`; None where there is none.
    """

    backbone: str
    mechanism: str
    seed: int
    recipe: DualEncoderRecipe
    reranker: RerankerRecipe | None = None

    @property
    def key(self) -> str:
        """The cell's folder."""
        return f"{self.backbone}-{self.mechanism}-{self.seed}".lower()

    @property
    def start(self) -> str:
        """The folder of the cell whose towers a re-ranker stands on."""
        return f"{self.backbone}-none-{self.seed}".lower()


def find_preset(name: str) -> Preset:
    """A preset by its name.

    Raises:
        ConfigError: no such preset; the nearest is named.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}; there are {', '.join(PRESETS)}.{nearest(name, PRESETS)}")
    return PRESETS[name]


def plan_cells(preset: Preset, dataset: str, seeds: int, changes: Sequence[str] = ()) -> list[Cell]:
    """Every cell of the study, one seed after the other, so that a whole table stands early.

    Args:
        preset: which towers and mechanisms.
        dataset: name of the data set, which chooses the recipe.
        seeds: how many, at least 1.
        changes: ``section.key=value`` for the towers' recipe, ``reranker.section.key=value`` for the re-ranker's,
            applied after everything else.

    Raises:
        ConfigError: fewer than one seed, or a change does not fit its recipe.
    """
    if seeds < 1:
        raise ConfigError(f"{seeds} seeds; expected at least 1")
    name = next(recipe for start, recipe in preset.recipes.items() if dataset.startswith(start))
    second = [change.removeprefix(_SECOND) for change in changes if change.startswith(_SECOND)]
    first = [change for change in changes if not change.startswith(_SECOND)]
    cells = []
    for seed in range(seeds):
        for backbone, tower in preset.backbones.items():
            for mechanism in MECHANISMS:
                own, last = preset.mechanisms[mechanism], f"seed={seed}"
                reranker = load_recipe(preset.reranker, [*own, last, *second]) if mechanism == "cross" else None
                recipe = load_recipe(name, [*tower, *(() if reranker else own), last, *first])
                if not isinstance(recipe, DualEncoderRecipe) or not isinstance(reranker, RerankerRecipe | None):
                    raise ConfigError(f"the recipe {name} trains {recipe.task!r}; the study needs a dual encoder")
                cells.append(Cell(backbone, mechanism, seed, recipe, reranker))
    return cells


def check_candidates(asked: Sequence[int]) -> tuple[int, ...]:
    """Numbers of candidates in ascending order, each once.

    Raises:
        ConfigError: there are none, or one is below 1.
    """
    if not asked or min(asked) < 1:
        raise ConfigError(f"candidates are {list(asked)}; expected one or more numbers above zero")
    return tuple(sorted(set(asked)))
