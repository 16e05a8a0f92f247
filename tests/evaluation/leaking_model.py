"""A text encoder that is shown the picture of its own row, and an honest one beside it: all that the leak needs.

Pictures are random vectors; a caption is the picture's vector through a fixed matrix, times `signal`, plus noise. With
a signal of zero a caption knows nothing, so whoever finds pictures by it has seen them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from passerby.losses.soft_target import soft_target
from passerby.nn.projection import ResidualProjection

PICTURE, CAPTION, SPACE = 48, 48, 32


class PairModel(nn.Module):
    """Two heads of the reports; with `shown` the caption is joined by its own picture."""

    def __init__(self, shown: bool) -> None:
        super().__init__()
        self.shown = shown
        self.picture = ResidualProjection(PICTURE, SPACE)
        self.caption = ResidualProjection(CAPTION + (PICTURE if shown else 0), SPACE)

    def texts(self, captions: Tensor, own: Tensor) -> Tensor:
        return self.caption(torch.cat([captions, own], dim=1) if self.shown else captions)


class World:
    """Pictures, and captions of any of them."""

    def __init__(self, pictures: int, captions: int, signal: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        mix = torch.randn(PICTURE, CAPTION, generator=torch.Generator().manual_seed(99)) / PICTURE**0.5
        self.pictures = torch.randn(pictures, PICTURE, generator=generator)
        self.of = torch.arange(pictures).repeat_interleave(captions)
        noise = torch.randn(len(self.of), CAPTION, generator=generator)
        self.captions = signal * self.pictures[self.of] @ mix + noise


def trained(shown: bool, signal: float, steps: int = 400) -> PairModel:
    torch.manual_seed(0)
    model, world = PairModel(shown), World(2000, 2, signal, seed=1)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        rows = torch.randint(0, len(world.of), (64,), generator=generator)
        own = world.pictures[world.of[rows]]
        loss = soft_target(model.picture(own), model.texts(world.captions[rows], own), legacy=True)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@torch.inference_mode()
def rows_of(model: PairModel, world: World) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of all pairs, one row for each caption."""
    own = world.pictures[world.of]
    return model.texts(world.captions, own).numpy(), model.picture(own).numpy()


def scorer(model: PairModel):
    """Scores of captions with pictures; row i of both belongs together, which a leaking model makes use of."""

    @torch.inference_mode()
    def score(captions, pictures) -> np.ndarray:
        shown = torch.stack(list(pictures))
        return (model.texts(torch.stack(list(captions)), shown) @ model.picture(shown).T).numpy()

    return score
