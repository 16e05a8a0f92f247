"""Which places of a picture and which words of a sentence decided their score, by gradients of the score itself.

The score's gradient with respect to the picture tower's tokens, times the tokens, says how much each place adds
(HiResCAM, Draelos and Carin 2020, which is exact where pooling and projection are linear). For a word the same is asked
of what the sentence's vector loses without the word, so no alignment between words and tokens of a vocabulary is
needed and every dual encoder whose tokens have places can be explained. Where the vector comes from a class token
alone, other tokens have no gradient; each is then compared as if it were the class token.

Axes: N tokens, C channels, D width of the vector, R rows and S columns of places, M sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from passerby.errors import ConfigError
from passerby.models.dual_encoder import DualEncoder, unit_rows
from passerby.models.explained import Explanation, without, words_of
from passerby.models.itself import Itself, Selected, front_tokens, image_summary
from passerby.nn.attention_rows import WatchedLayers
from passerby.nn.token_selection import Selector

#: Selectors whose scores are shown as what the tower looks at.
SALIENCIES = ("mars", "last", "A", "B", "C", "D")
#: Mechanisms that depend on the words.
RELEVANCES = ("gradient", "patch")

Encode = Callable[[Sequence[str]], Tensor]


class Places:
    """A picture inside a model: its vector as a function of its tokens, and where the tokens are.

    Args:
        model: in evaluation mode.
        image: one normalised picture, (1, 3, H, W).

    Raises:
        ConfigError: the tower's tokens have no places.
    """

    def __init__(self, model: DualEncoder, image: Tensor) -> None:
        tower, self.model = model.image_tower, model
        if tower.grid is None:
            raise ConfigError(
                f"the image tower {tower.name} gives tokens without places, so nothing can be shown on the picture; "
                "explain a model with a convolutional tower or a vision transformer"
            )
        self.grid = tower.grid
        layers = tower.attention_layers()
        with WatchedLayers(layers, range(len(layers))) as self._seen, torch.no_grad():
            self.tokens = tower.tokens(image)  # (1, N, C)
        self.front = front_tokens(tower, self.tokens.shape[1])
        self.selected: Selected | None = None
        if isinstance(model, Itself):
            with torch.no_grad():
                self.selected = model.select_patches(image)
        attends = bool(layers) and self._seen.query_key(0)[0].shape[2] == self.tokens.shape[1]
        self._depth = len(layers) if attends else 0

    def vectors(self, tokens: Tensor) -> Tensor:
        """Unit vectors as a function of the tokens: (M, N, C) -> (M, D)."""
        model = self.model
        whole = model.image_projection(model.image_tower.pool(tokens))
        if self.selected is None or not isinstance(model, Itself):
            return unit_rows(whole)
        selected = Selected(tokens, *(part.expand(len(tokens), -1) for part in self.selected[1:]))
        return model.mixed(whole, model.local_pictures(selected))

    def gradient(self, asked: Tensor) -> Tensor:
        """What each place adds to the dot product with vectors (M, D): (M, R, S); 0 where only a class token adds."""
        tokens = self.tokens.expand(len(asked), -1, -1).detach().requires_grad_()
        with torch.enable_grad():
            total = (self.vectors(tokens) * asked).sum()
            (slope,) = torch.autograd.grad(total, tokens)
        return self._on_grid((slope * tokens.detach()).sum(dim=-1))

    def patch(self, asked: Tensor) -> Tensor | None:
        """Cosine of each place's own token, brought into the shared space, with vectors (M, D): (M, R, S).

        None where the tower's pooling changes the width, so that a token alone cannot be brought there.
        """
        model = self.model
        if self.tokens.shape[2] != model.image_tower.width:
            return None
        with torch.no_grad():
            own = unit_rows(model.image_projection(model.image_tower.dense(self.tokens[0])))  # (N, D)
        width = own.shape[1]
        return self._on_grid(asked[:, :width] @ own.T)

    def relevance(self, asked: Tensor) -> Tensor:
        """`gradient` where the tokens have one, `patch` where only the class token has: (M, D) -> (M, R, S)."""
        found = self.gradient(asked)
        if bool((found != 0).any()):
            return found
        own = self.patch(asked)
        return found if own is None else own

    def saliency(self) -> dict[str, Tensor]:
        """What the tower looks at by each selector: name -> (R, S) of values from 0; empty without attention."""
        if not self._depth:
            return {}
        at = image_summary(self.tokens, self.front)
        found = {}
        for name in SALIENCIES:
            scores = Selector(name).scores(self._seen, self._depth, at)
            heat = self._on_grid(scores)[0]
            found[name] = heat - heat.min()
        return found

    def taken(self) -> Tensor | None:
        """Places that went on into the local branch, (R, S) bool."""
        if self.selected is None:
            return None
        marks = torch.zeros(self.tokens.shape[:2], dtype=torch.bool, device=self.tokens.device)
        return self._on_grid(marks.scatter(1, self.selected.places, self.selected.taken))[0]

    def _on_grid(self, values: Tensor) -> Tensor:
        return values[:, self.front :].unflatten(1, self.grid)


def asked_without(encode: Encode, sentence: str, spans: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """A sentence's vector and what it loses without each of some spans of characters: (D,), (M, D)."""
    vectors = encode([sentence, *(without(sentence, *span) for span in spans)])
    return vectors[0], vectors[0] - vectors[1:]


def explain_pair(model: DualEncoder, image: Tensor, sentence: str, encode: Encode) -> Explanation:
    """Explain the score of a picture and a sentence.

    Args:
        model: in evaluation mode.
        image: one normalised picture, (1, 3, H, W), on the model's device.
        sentence: not empty.
        encode: sentences to unit vectors (M, D) on the model's device.

    Raises:
        ConfigError: the model's tokens have no places.
    """
    places, words = Places(model, image), words_of(sentence)
    with torch.no_grad():
        whole, lost = asked_without(encode, sentence, [(word.start, word.stop) for word in words])
        vector = places.vectors(places.tokens)[0]
    heat = places.relevance(torch.cat([whole[None], lost])).cpu().numpy().astype(np.float32)
    taken = places.taken()
    return Explanation(
        sentence,
        float(vector @ whole),
        heat[0],
        words,
        (lost @ vector).cpu().numpy().astype(np.float32),
        heat[1:],
        {name: one.cpu().numpy().astype(np.float32) for name, one in places.saliency().items()},
        None if taken is None else taken.cpu().numpy(),
    )


def relevances(places: Places) -> dict[str, Callable[[Tensor], Tensor]]:
    """The mechanisms of `RELEVANCES` that a picture's model has, as functions of vectors (M, D) -> (M, R, S)."""
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    with torch.no_grad():
        probe = places.vectors(places.tokens)
    if bool((places.gradient(probe) != 0).any()):
        found["gradient"] = places.gradient
    if places.patch(probe) is not None:
        found["patch"] = partial(_patch, places)
    return found


def _patch(places: Places, asked: Tensor) -> Tensor:
    own = places.patch(asked)
    if own is None:
        raise ConfigError("the tokens of this model cannot be compared one by one")
    return own
