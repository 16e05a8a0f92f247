"""The kinds of model that a checkpoint folder can hold: what each reads, and what builds it.

The table holds names of modules, so that a folder can be read without importing PyTorch. A new kind is one line here
and one function that builds a module from the folder's ``model`` section.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from passerby.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of model.

    Attributes:
        builder_at: where the function is that makes the module from the ``model`` section, as ``module:name``.
        pictures: whether it reads pictures, and the folder says how they are prepared.
        sentences: whether it reads sentences, and the folder brings a tokenizer.
        about: a sentence for the model card.
    """

    builder_at: str
    pictures: bool
    sentences: bool
    about: str

    def build(self, model: Mapping[str, Any]) -> nn.Module:
        """The module with random weights.

        Raises:
            ConfigError: the section names something unknown or lacks something.
        """
        module, _, name = self.builder_at.partition(":")
        return getattr(import_module(module), name)(model)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "dual_encoder": Kind(
            "passerby.models.dual_encoder:build_dual_encoder",
            pictures=True,
            sentences=True,
            about="A dual encoder: pictures of people and sentences about them meet in one space.",
        ),
        "itself": Kind(
            "passerby.models.itself:build_itself",
            pictures=True,
            sentences=True,
            about="A dual encoder with a local branch: a vector holds the whole and the parts that stand out.",
        ),
        "reid": Kind(
            "passerby.models.reid:build_reid_model",
            pictures=True,
            sentences=False,
            about="An image encoder: pictures of one person, taken by different cameras, come close to each other.",
        ),
        "context": Kind(
            "passerby.models.context:build_context_encoder",
            pictures=False,
            sentences=False,
            about="A context encoder: turns the vectors of pictures into vectors that know their neighbours.",
        ),
    }
)


def find_kind(name: str) -> Kind:
    """A kind by its name.

    Raises:
        ConfigError: no such kind; the nearest is named.
    """
    if name not in KINDS:
        raise ConfigError(f"unknown kind {name!r}; known: {', '.join(KINDS)}.{nearest(name, KINDS)}")
    return KINDS[name]
