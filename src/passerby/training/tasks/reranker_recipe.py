"""The recipe of a re-ranker: the finished first stage that it stands on, its size, and what it is taught with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from passerby.training.recipe import EvaluationConfig, Recipe, Section


class StartConfig(Section):
    """The first stage, which stays as it is."""

    checkpoint: str = ""
    """A dual encoder: a run's folder, a checkpoint folder, ``hf:org/name`` or a shipped name."""
    views: Annotated[int, Field(ge=1, le=64)] = 4
    """Versions of each training picture whose tokens are kept: the picture as it is, then random changes of it."""


class RerankerDataConfig(Section):
    """Which sentences and pictures meet."""

    train_split: str = "train"
    captions_of: Literal["image", "person"] = "image"
    """Whether a picture is described by its own captions only, or by those of any picture of its person."""
    neighbours: Annotated[int, Field(ge=2)] = 8
    """People side by side in a batch whom the first stage finds alike."""


class RerankerModelConfig(Section):
    """Its size; see `passerby.models.reranker.FusionReranker`."""

    width: Annotated[int, Field(ge=4)] = 256
    heads: Annotated[int, Field(ge=1)] = 4
    layers: Annotated[int, Field(ge=0)] = 1
    mlp_ratio: Annotated[float, Field(gt=0)] = 2.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class RerankerObjectiveConfig(Section):
    """The loss."""

    negatives: Annotated[int, Field(ge=1, le=1024)] = 15
    """Pictures of other people that each sentence's own is told from, drawn from the batch by the first stage's
    scores; fewer where a batch has fewer."""


class RerankerEvaluationConfig(EvaluationConfig):
    """As everywhere, and how many candidates both stages are judged with."""

    candidates: Annotated[int, Field(ge=1)] = 64


class RerankerRecipe(Recipe):
    """Everything that decides a re-ranker except the data set's place."""

    task: str = "reranker"
    start: StartConfig = StartConfig()
    data: RerankerDataConfig = RerankerDataConfig()
    model: RerankerModelConfig = RerankerModelConfig()
    objective: RerankerObjectiveConfig = RerankerObjectiveConfig()
    # Recipes are frozen, so a narrower section is safe, which the checker cannot know.
    evaluation: RerankerEvaluationConfig = RerankerEvaluationConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
