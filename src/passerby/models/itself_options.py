"""What the local branch of ITSELF can be told, and the ways in which the released code differs from its paper.

The record needs no torch, so that recipes and checkpoints can be checked without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

from passerby.errors import ConfigError, nearest

#: Behaviour of the released code that the paper does not have -> why it is there to be asked for. Off by default.
COMPAT: Mapping[str, str] = MappingProxyType(
    {
        "last_layer_test": "at test the release selects by the last layer's attention, whatever it was trained with; "
        "the published checkpoints were chosen and measured that way",
        "padded_statistics": "the release takes as many tokens as the longest sentence could have, so that padding "
        "enters the batch normalisation of the text head in training; its running statistics hold that padding",
    }
)


#: Options that came after the first checkpoints. They are written down only where they are set, so that a model
#: without them has the configuration, and the fingerprint, that it always had.
_LATER = ("discard_among", "diversity")


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The local branch.

    Attributes:
        dim: width of its vector.
        selector: how tokens are ranked; a key of `passerby.nn.token_selection.SELECTORS`.
        layers: layers that the selector reads, from 0; a middle and the last where it is empty.
        discard: share of the picture's attention map that MARS sets to zero, in [0, 1).
        normalisation: of the rows of MARS; "l1", "softmax" or "none".
        ratio: share of tokens that are taken at test, and in training without a schedule; in (0, 1].
        schedule: how the share falls in training: "none", "epoch" or "step" (`passerby.nn.selection_ratio`).
        start: the share that a schedule begins at.
        end: the share that it ends at.
        until_epochs: epochs until it is there.
        pooling: "max", "mean" or "gpo".
        norm: "batch" or "layer", inside the head.
        mix: share of the global score, in [0, 1]; the rest is the local branch's.
        compat: keys of `COMPAT`.
        compact: width that the local vector is projected to for galleries; None keeps it whole.
        discard_among: which entries `discard` is a share of; "map", "row" or "nonzero".
        diversity: how much it counts that a token is like one already taken, in [0, 1); 0 takes the highest ranks.

    Raises:
        ConfigError: a value is out of range or a name unknown.
    """

    dim: int = 4096
    selector: str = "mars"
    layers: tuple[int, ...] = ()
    discard: float = 0.25
    normalisation: str = "l1"
    ratio: float = 0.4
    schedule: str = "none"
    start: float = 0.65
    end: float = 0.5
    until_epochs: float = 10.0
    pooling: str = "max"
    norm: str = "batch"
    mix: float = 0.5
    compat: tuple[str, ...] = ()
    compact: int | None = None
    discard_among: str = "map"
    diversity: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.dim, int) or self.dim < 1:
            raise ConfigError(f"local.dim is {self.dim!r}; expected a whole number above zero")
        for name in ("ratio", "start", "end"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ConfigError(f"local.{name} is {value}; expected a share of the tokens above 0 and up to 1")
        if self.until_epochs <= 0:
            raise ConfigError(f"local.until_epochs is {self.until_epochs}; expected epochs, above 0")
        if not 0 <= self.mix <= 1:
            raise ConfigError(f"local.mix is {self.mix}; expected the global branch's share of the score, from 0 to 1")
        if self.compact is not None and not 1 <= self.compact <= self.dim:
            raise ConfigError(f"local.compact is {self.compact}; expected 1 to {self.dim}, the width of the branch")
        for name in self.compat:
            if name not in COMPAT:
                raise ConfigError(
                    f"no compat option is called {name!r}; known: {', '.join(COMPAT)}.{nearest(name, COMPAT)}"
                )

        if not 0 <= self.diversity < 1:
            raise ConfigError(f"local.diversity is {self.diversity}; expected a weight from 0 to below 1")
        if self.diversity and "padded_statistics" in self.compat:
            raise ConfigError(
                f"local.diversity is {self.diversity} with compat padded_statistics, whose padding comes after every "
                "word; the release knows no diversity, so set it to 0 or leave that compat option out"
            )

    @property
    def width(self) -> int:
        """Width of the local part of a gallery's vectors."""
        return self.dim if self.compact is None else self.compact

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values; an option that came later is there only where it is set."""
        plain = {field.name: field.default for field in fields(self)}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key not in _LATER or value != plain[key]
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LocalOptions:
        """Read what `to_dict` wrote, or a recipe's section; what is not there keeps its default.

        Raises:
            ConfigError: a key is unknown, or as for the record.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(f"local.{key}: no such key; known: {', '.join(known)}.{nearest(key, known)}")
        settled: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in values.items()}
        return cls(**settled)


def branch_columns(global_dim: int, options: LocalOptions) -> dict[str, tuple[int, int]]:
    """Columns of each branch in a vector: its first, and the one after its last.

    A branch that the mixture leaves out is zero in every vector, so it is none of them.

    Args:
        global_dim: width of the global branch.
        options: of the local one.
    """
    columns = {"global": (0, global_dim), "local": (global_dim, global_dim + options.width)}
    shares = {"global": options.mix, "local": 1 - options.mix}
    return {name: columns[name] for name, share in shares.items() if share > 0}
