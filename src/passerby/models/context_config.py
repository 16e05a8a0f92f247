"""What a context encoder is: its size, and a switch for each place where the paper, its release and its models differ.

MagFormer's report and its code contradict each other in many places, and NFormer is the same machine with other
settings. Each difference that changes a number is a field here; `PRESETS` are the settings that have a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

from passerby.errors import ConfigError, nearest
from passerby.nn.differential_attention import map_count

#: Field -> its allowed values. The first is the default.
SWITCHES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "diff_mode": ("clean", "off", "repo"),
        "diff_pairs": ("aligned", "crossed"),
        "logits": ("landmark", "exact"),
        "logit_scale": ("map", "model"),
        "landmarks": ("sampled", "fps", "mean_k", "learned"),
        "landmark_norm": ("row", "matrix", "none"),
        "magnitude": ("one", "two", "off"),
        "softmax_sign": ("plus", "minus"),
        "graph": ("cosine", "affinity"),
        "reciprocity": ("row", "column"),
        "input_norm": ("rms", "l2", "none", "repo"),
    }
)


@dataclass(frozen=True, slots=True)
class ContextConfig:
    """A context encoder.

    Attributes:
        width: D, of the features and of everything inside.
        classes: identities that the classifier tells apart.
        layers: L.
        heads: H; the number of maps (H, or 2 H with a difference) must divide the width.
        k: neighbours of a row including itself; clamped to the size of the set.
        landmark_count: P.
        mlp_ratio: width inside the perceptron, in widths.
        dropout: share of the perceptron's output dropped in training.
        attention_dropout: share of the attention's output dropped in training; NFormer has it, MagFormer does not.
        qkv_bias: whether queries, keys and values have a bias.
        head_norm: whether each head is normalised after the difference.
        same_start: whether all layers start as copies of one, as in both releases.
        diff_mode: how two maps of a head become one, see `passerby.nn.differential_attention.DIFF_MODES`.
        diff_pairs: "aligned" compares Q1 with K1 and Q2 with K2; "crossed" Q1 with K2 and Q2 with K1, as the report's
            formula has it.
        logits: "landmark" (rank P) or "exact" (all of q and k), an ablation.
        logit_scale: square root of a map's width or of the model's.
        landmarks: how they are chosen, see `passerby.nn.landmark_attention.LANDMARKS`.
        landmark_norm: what a landmark is divided by: its own length, the matrix norm of all, or nothing.
        magnitude: "one" learned number for each map and landmark (starting at 1), "two" factors of it as in the
            release, or "off".
        softmax_sign: "plus", or "minus" as the report's eq. 5 is written.
        graph: "cosine" of the input, once; or "affinity" of each map and layer, as the report says. The latter works
            in protocol A only.
        reciprocity: whether a neighbour must have the row among its k nearest ("row") or the row's affinity must be
            among the k largest of the neighbour's column; the same for cosine.
        input_norm: "rms" (length sqrt(D)), "l2" (length 1), "none", or "repo" ("none" in training, "l2" after it).
        seed: decides the landmarks wherever they are not drawn for training.
    """

    width: int
    classes: int
    layers: int = 4
    heads: int = 2
    k: int = 20
    landmark_count: int = 5
    mlp_ratio: int = 4
    dropout: float = 0.1
    attention_dropout: float = 0.0
    qkv_bias: bool = False
    head_norm: bool = True
    same_start: bool = False
    diff_mode: str = "clean"
    diff_pairs: str = "aligned"
    logits: str = "landmark"
    logit_scale: str = "map"
    landmarks: str = "sampled"
    landmark_norm: str = "row"
    magnitude: str = "one"
    softmax_sign: str = "plus"
    graph: str = "cosine"
    reciprocity: str = "row"
    input_norm: str = "rms"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "classes", "layers", "heads", "k", "landmark_count", "mlp_ratio"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"context.{name} is {value!r}; expected a whole number above zero")
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"context.{name} is {getattr(self, name)}; expected 0 to below 1")
        for name, known in SWITCHES.items():
            value = getattr(self, name)
            if value not in known:
                hint = nearest(str(value), known)
                raise ConfigError(f"context.{name} is {value!r}; known: {', '.join(known)}.{hint}")
        if self.width % self.maps:
            raise ConfigError(
                f"a width of {self.width} cannot be cut into {self.maps} attention maps ({self.heads} heads, diff_mode "
                f"{self.diff_mode!r}); choose heads that divide it"
            )

    @property
    def maps(self) -> int:
        """S, attention maps of a layer."""
        return map_count(self.heads, self.diff_mode)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)


#: Model name -> the settings in which it differs from the defaults.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "magformer": MappingProxyType({}),
        "magformer-mid": MappingProxyType({"diff_mode": "off", "head_norm": False}),
        "magformer-release": MappingProxyType(
            {"diff_mode": "repo", "magnitude": "two", "input_norm": "repo", "same_start": True}
        ),
        "nformer": MappingProxyType(
            {
                "diff_mode": "off",
                "head_norm": False,
                "magnitude": "off",
                "landmark_norm": "none",
                "qkv_bias": True,
                "attention_dropout": 0.1,
            }
        ),
    }
)


def context_config(name: str, width: int, classes: int, **settings: Any) -> ContextConfig:
    """The configuration of a model that has a name.

    Args:
        name: a key of `PRESETS`.
        width: D, of the features.
        classes: identities of the training set.
        settings: fields of `ContextConfig` that differ from the preset.

    Raises:
        ConfigError: the name or a field is unknown, or a value is not allowed.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise ConfigError(f"no context model is called {name!r}; known: {known}.{nearest(name, PRESETS)}")
    return config_from({"width": width, "classes": classes, **PRESETS[name], **settings})


def config_from(tree: Mapping[str, Any]) -> ContextConfig:
    """Read a configuration back, for example from a checkpoint.

    Raises:
        ConfigError: a key is unknown or missing, or a value is not allowed.
    """
    known = [field.name for field in fields(ContextConfig)]
    for key in tree:
        if key not in known:
            raise ConfigError(f"context.{key}: no such key; known: {', '.join(known)}.{nearest(key, known)}")
    for key in ("width", "classes"):
        if key not in tree:
            raise ConfigError(f"context.{key} is missing; expected {_MEANING[key]}")
    return ContextConfig(**tree)


_MEANING = {"width": "the numbers of a feature", "classes": "the identities of the training set"}
