"""The recipe of an image encoder for re-identification: its batches of people, its tower and its three losses."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from passerby.training.recipe import AugmentationConfig, Recipe, Section
from passerby.training.tasks.dual_encoder_recipe import TowerConfig


class ReidDataConfig(Section):
    """What a batch looks like; `optimisation.batch_size` counts its pictures."""

    image_size: tuple[Annotated[int, Field(ge=16, le=2048)], Annotated[int, Field(ge=16, le=2048)]] = (256, 128)
    """(height, width) in pixels; the image tower's own size when the tower fixes one."""
    train_split: str = "train"
    pictures_each: Annotated[int, Field(ge=2)] = 4
    """K, pictures of each person in a batch."""
    cover_all: bool = True
    """Whether every picture comes at least once an epoch; see `passerby.data.pk_sampler`."""
    camera_balanced: bool = False
    """Whether a person's cameras take turns."""


class ReidModelConfig(Section):
    """The encoder."""

    image: TowerConfig
    embedding_dim: Annotated[int, Field(ge=8, le=8192)] | None = 512
    """Width of the vector; null keeps the tower's own, without a projection."""


class ReidObjectiveConfig(Section):
    """Cross-entropy after the neck, triplets and centers before it."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    triplet: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the triplet loss with the hardest positive and negative of the whole batch."""
    margin: Annotated[float, Field(ge=0)] | None = 0.3
    """Margin of the triplet loss; null for the soft margin."""
    center: Annotated[float, Field(ge=0)] = 0.0005
    """Weight of the center loss."""
    center_rate: Annotated[float, Field(ge=0)] = 0.5
    """Rate of the centers' own gradient descent, which the weight does not slow."""


class ReidAugmentationConfig(AugmentationConfig):
    """As everywhere, and what re-identification adds."""

    crop: Annotated[int, Field(ge=0, le=256)] = 0
    """Pixels of a black border out of which the picture's size is cut at random."""
    largest_erased: Annotated[float, Field(gt=0.02, le=0.9)] = 0.2
    """Largest share of a picture that `erase` fills."""


class ReidRecipe(Recipe):
    """Everything that decides an image encoder except the data set's place."""

    task: str = "reid"
    data: ReidDataConfig = ReidDataConfig()
    model: ReidModelConfig
    objective: ReidObjectiveConfig = ReidObjectiveConfig()
    # Recipes are frozen, so a narrower section is safe, which the checker cannot know.
    augmentation: ReidAugmentationConfig = ReidAugmentationConfig()  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def people(self) -> int:
        """P, people of a batch."""
        return self.optimisation.batch_size // self.data.pictures_each

    @model_validator(mode="after")
    def _whole_people(self) -> Self:
        size, each = self.optimisation.batch_size, self.data.pictures_each
        if size % each or size // each < 2:
            raise ValueError(
                f"optimisation.batch_size={size} is not two or more people with data.pictures_each={each} pictures "
                "each; choose a multiple"
            )
        return self
