"""The recipe of a student: a dual encoder's, with the teacher that it learns from and what each lesson weighs."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from passerby.training.recipe import Section
from passerby.training.tasks.dual_encoder_recipe import DualEncoderRecipe, ObjectiveConfig


class TeacherConfig(Section):
    """Who teaches, and how often it looks at each picture."""

    model: str = "street"
    """Anything that `passerby.load` takes: a run, a checkpoint or CLIP folder, ``hf:org/name``, a shipped name."""
    views: Annotated[int, Field(ge=1, le=64)] = 4
    """Changes of each training picture that the teacher's vectors are computed for; the student sees these and no
    others."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Decides the changes. It is not the recipe's seed, so that students of several seeds share one cache."""


class DistillationObjectiveConfig(ObjectiveConfig):
    """The student's own loss, and the weights of what the teacher adds; all of them 0 leave it without a teacher."""

    own: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the contrast between the student's own pictures and sentences."""
    feature: Annotated[float, Field(ge=0)] = 1.0
    """Weight of `passerby.losses.feature_distance`, of pictures and of sentences."""
    interactive: Annotated[float, Field(ge=0)] = 1.0
    """Weight of `passerby.losses.interactive_contrast`."""
    similarity: Annotated[float, Field(ge=0)] = 1.0
    """Weight of `passerby.losses.similarity_divergence`."""
    similarity_temperature: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Temperature of both sides of the divergence."""

    @property
    def taught(self) -> bool:
        """Whether the teacher has any part."""
        return self.feature + self.interactive + self.similarity > 0


class DistillationRecipe(DualEncoderRecipe):
    """Everything that decides a student."""

    teacher: TeacherConfig = TeacherConfig()
    # Recipes are frozen, so a narrower section is safe, which the checker cannot know.
    objective: DistillationObjectiveConfig = DistillationObjectiveConfig()  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="after")
    def _something_is_taught(self) -> Self:
        if self.objective.own == 0 and not self.objective.taught:
            raise ValueError("every weight of the objective is 0; nothing would be learned")
        if self.objective.name == "soft_target":
            raise ValueError("objective.name is soft_target, whose vectors have no unit length; a teacher's have")
        if self.objective.text_to_text > 0:
            raise ValueError("objective.text_to_text has no part in distillation; leave it at 0")
        return self
