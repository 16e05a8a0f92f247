"""The recipe of a dual encoder: its pictures and captions, its two towers and what stands on them, and its losses."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from passerby.training.recipe import EvaluationConfig, OptimisationConfig, Recipe, Section

Scalar = bool | int | float | str | None


class DataConfig(Section):
    """What the pictures and captions look like when they reach the model."""

    image_size: tuple[Annotated[int, Field(ge=16, le=2048)], Annotated[int, Field(ge=16, le=2048)]] = (96, 48)
    """(height, width) in pixels of the training pictures; the image tower's own size when the tower fixes one."""
    train_split: str = "train"
    sampler: Literal["shuffled", "identities", "neighbours"] = "identities"
    """How a batch is put together; see `passerby.data.samplers`."""
    neighbours: Annotated[int, Field(ge=2)] = 4
    """Group size of the `neighbours` sampler."""
    captions_of: Literal["image", "person"] = "image"
    """Whether a picture is paired with its own captions only, or with those of any picture of its person."""
    captions: Annotated[int, Field(ge=1, le=8)] = 1
    """Captions that go with each picture in a batch; each is a positive of its own."""
    epoch_of: Literal["image", "person"] = "image"
    """Whether an epoch shows every picture, or one picture of each person, the next one in the next epoch; hard
    negatives are found anew in each."""


class TowerConfig(Section):
    """A tower by its registry name, with its own options."""

    name: str
    options: dict[str, Scalar] = Field(default_factory=dict)


class TokenizerConfig(Section):
    """The BPE that is trained on the captions when the text tower brings no tokenizer of its own."""

    vocabulary: Annotated[int, Field(ge=64, le=65536)] = 800
    context_length: Annotated[int, Field(ge=4, le=512)] = 64


class ModelConfig(Section):
    """The dual encoder."""

    image: TowerConfig
    text: TowerConfig
    tokenizer: TokenizerConfig = TokenizerConfig()
    embedding_dim: Annotated[int, Field(ge=8, le=8192)] = 256
    projection: str = "linear"
    """Both heads; a key of `passerby.nn.projection.PROJECTIONS`."""
    attention: str | dict[str, Any] = "none"
    """An attention mechanism for both towers, or one for each; see `passerby.models.dual_encoder.attention_of`."""


class ObjectiveConfig(Section):
    """The losses."""

    name: Literal["identity_contrastive", "info_nce", "soft_target"] = "identity_contrastive"
    """What pulls both towers together; see `passerby.losses`."""
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.07
    """Initial temperature, learned from there; for `soft_target` it stays as it is."""
    legacy: bool = False
    """Whether gradients also flow through the targets of `soft_target`, as they once did."""
    text_to_text: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the contrast between two captions of the same person; needs data.captions of 2 or more."""


class DualEncoderOptimisationConfig(OptimisationConfig):
    """As everywhere, and what two pretrained towers may need each for itself."""

    text_tower_rate: Annotated[float, Field(gt=0)] | None = None
    """Factor of the learning rate for a pretrained text tower; `tower_rate` where it is null."""
    tower_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of pretrained towers; `weight_decay` where it is null."""
    ghost_batches: Annotated[int, Field(ge=1, le=64)] = 1
    """Parts of a batch whose batch normalisations know nothing of each other, computed at the same time on a CPU's
    cores where the towers draw no random numbers; see `passerby.nn.ghost_batches`."""


class DualEncoderEvaluationConfig(EvaluationConfig):
    """As everywhere, and the choice by validation loss."""

    metric: Literal["r1", "map", "loss"] = "map"  # type: ignore[assignment]
    """The number that chooses the checkpoint; `loss` takes the lowest."""


class DualEncoderRecipe(Recipe):
    """Everything that decides a dual encoder except the data set's place."""

    data: DataConfig = DataConfig()
    model: ModelConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    optimisation: DualEncoderOptimisationConfig = DualEncoderOptimisationConfig()  # type: ignore[assignment]
    evaluation: DualEncoderEvaluationConfig = DualEncoderEvaluationConfig()  # type: ignore[assignment]

    @model_validator(mode="after")
    def _losses_fit(self) -> Self:
        if self.objective.text_to_text > 0 and self.data.captions < 2:
            raise ValueError("objective.text_to_text compares two captions; set data.captions to 2 or more")
        if self.objective.legacy and self.objective.name != "soft_target":
            raise ValueError(f"objective.legacy is about soft_target, and objective.name is {self.objective.name}")
        return self
