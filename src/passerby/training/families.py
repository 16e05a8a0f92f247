"""Families of methods: what kind of recipe each is described by, and which task trains it.

A recipe names its family under the key ``task``. The table holds names of modules, so that a recipe can be read and
checked without importing PyTorch, and a new family is one line here, one recipe class and one task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from passerby.errors import ConfigError, nearest

if TYPE_CHECKING:
    from passerby.data.records import Dataset
    from passerby.training.recipe import Recipe
    from passerby.training.tasks.base import Task


@dataclass(frozen=True, slots=True)
class Family:
    """Where the recipe class and the task of a family are, each as ``module:name``."""

    recipe_at: str
    task_at: str

    def recipe(self) -> type[Recipe]:
        """The recipe class; imports no PyTorch."""
        return _named(self.recipe_at)

    def task(self) -> Callable[[Any, Dataset, Callable[[int, int], None] | None], Task]:
        """The task class, called with (recipe, data set, progress of decoding)."""
        return _named(self.task_at)


#: The value of a recipe's key ``task`` -> its family.
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "dual_encoder": Family(
            "passerby.training.tasks.dual_encoder_recipe:DualEncoderRecipe",
            "passerby.training.tasks.dual_encoder:DualEncoderTask",
        ),
        "alignment": Family(
            "passerby.training.tasks.alignment_recipe:AlignmentRecipe",
            "passerby.training.tasks.alignment:AlignmentTask",
        ),
        "frozen_text": Family(
            "passerby.training.tasks.frozen_text_recipe:FrozenTextRecipe",
            "passerby.training.tasks.frozen_text:FrozenTextTask",
        ),
        "distillation": Family(
            "passerby.training.tasks.distillation_recipe:DistillationRecipe",
            "passerby.training.tasks.distillation:DistillationTask",
        ),
        "reid": Family(
            "passerby.training.tasks.reid_recipe:ReidRecipe",
            "passerby.training.tasks.reid:ReidTask",
        ),
        "reranker": Family(
            "passerby.training.tasks.reranker_recipe:RerankerRecipe",
            "passerby.training.tasks.reranker:RerankerTask",
        ),
        "context": Family(
            "passerby.training.tasks.context_recipe:ContextRecipe",
            "passerby.training.tasks.context:ContextTask",
        ),
    }
)


def find_family(name: object) -> Family:
    """A family by its name.

    Raises:
        ConfigError: no such family; the nearest is named.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        raise ConfigError(f"task is {name!r}; known: {', '.join(FAMILIES)}.{nearest(str(name), FAMILIES)}")
    return FAMILIES[name]


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
