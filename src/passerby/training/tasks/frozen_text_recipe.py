"""The recipe of a dual encoder whose text tower stays as it came: what a dual encoder's says, less what cannot be."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from passerby.training.tasks.dual_encoder_recipe import DualEncoderRecipe


class FrozenTextRecipe(DualEncoderRecipe):
    """Everything that decides the picture tower and both heads; ``model.text`` names weights that do not move."""

    @model_validator(mode="after")
    def _vectors_suffice(self) -> Self:
        attention = self.model.attention
        on_text = attention != "none" if isinstance(attention, str) else attention.get("text", "none") != "none"
        if on_text:
            raise ValueError(
                "model.attention mixes the words of a sentence, and of a frozen text tower only its vector is kept; "
                "give it as {image: NAME}"
            )
        return self
