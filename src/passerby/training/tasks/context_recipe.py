"""The recipe of a context encoder: the features that it is trained on, its settings and its losses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from passerby.training.recipe import Recipe, Section
from passerby.training.tasks.dual_encoder_recipe import Scalar
from passerby.training.tasks.reid_recipe import ReidAugmentationConfig


class ContextDataConfig(Section):
    """Which vectors, and how a set is drawn from them; `optimisation.batch_size` counts the pictures of all sets."""

    features: str = ""
    """A model (a checkpoint folder, hf:org/name or a shipped name) that encodes the pictures, or a ``.npy`` file of
    (N, D) or (V, N, D) floats in the order of the training split."""
    train_split: str = "train"
    views: Annotated[int, Field(ge=1, le=64)] = 1
    """Vectors of each picture where a model makes them: the picture as it is, then random changes of it."""
    set_size: Annotated[int, Field(ge=2)] = 2048
    """Pictures of a set; clamped to what the split has."""


class ContextModelConfig(Section):
    """The context encoder."""

    name: str = "magformer"
    """A key of `passerby.models.context_config.PRESETS`."""
    settings: dict[str, Scalar] = Field(default_factory=dict)
    """Fields of `passerby.models.context_config.ContextConfig` that differ; width and classes come from the data."""


class ContextObjectiveConfig(Section):
    """Cross-entropy after the neck, triplets and centers before it."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    triplet: Annotated[float, Field(ge=0)] = 1.0
    margin: Annotated[float, Field(ge=0)] | None = 0.3
    """Margin of the triplet loss; null for the soft margin."""
    center: Annotated[float, Field(ge=0)] = 0.0005
    center_rate: Annotated[float, Field(ge=0)] = 0.5
    """Rate of the centers' own gradient descent, which the weight does not slow."""


class ContextRecipe(Recipe):
    """Everything that decides a context encoder except the data set's place."""

    task: str = "context"
    data: ContextDataConfig = ContextDataConfig()
    model: ContextModelConfig = ContextModelConfig()
    objective: ContextObjectiveConfig = ContextObjectiveConfig()
    # Recipes are frozen, so a narrower section is safe, which the checker cannot know.
    augmentation: ReidAugmentationConfig = ReidAugmentationConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
