"""Words told from the rest of their sentence and the picture: IRRA's cross-modal encoder (Jiang and Ye 2023, eq. 3).

Words look at all tokens of the picture, then at each other in a few layers; what stands at the masked places becomes
logits over the vocabulary. It exists in training only.

Axes: R rows, L words, T tokens of a picture, D width, M masked places, V words of the vocabulary.
"""

from __future__ import annotations

from torch import Tensor, nn

from passerby.nn.cross_attention import CrossAttention
from passerby.nn.transformer import QuickGELU, Stack


class MaskedWordHead(nn.Module):
    """Cross-attention, layers, and a classifier of words.

    Args:
        width: D of both sides.
        vocabulary: V.
        layers: after the cross-attention.
        heads: of attention; must divide D.

    Raises:
        ConfigError: the heads do not divide the width.
    """

    def __init__(self, width: int, vocabulary: int, layers: int = 4, heads: int = 8) -> None:
        super().__init__()
        self.norm_words, self.norm_picture = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross = CrossAttention(width, heads)
        self.layers = Stack(layers, width, heads, activation="quick_gelu")
        self.norm_after = nn.LayerNorm(width)
        self.dense = nn.Linear(width, width)
        self.activation, self.norm_dense = QuickGELU(), nn.LayerNorm(width)
        self.words = nn.Linear(width, vocabulary)
        self._initialise(width, layers)

    def _initialise(self, width: int, layers: int) -> None:
        """Standard deviations as in CLIP's text transformer (Radford et al. 2021, code of the text encoder)."""
        inner, out = width**-0.5, width**-0.5 * (2 * max(1, layers)) ** -0.5
        widened = (2 * width) ** -0.5
        for matrix in (self.cross.query, self.cross.key_value):
            nn.init.normal_(matrix.weight, std=inner)
        for matrix in (self.cross.out, self.words):
            nn.init.normal_(matrix.weight, std=out)
        nn.init.normal_(self.dense.weight, std=widened)
        own = {"qkv.weight": inner, "out.weight": out, "widen.weight": widened, "narrow.weight": out}
        for name, parameter in self.layers.named_parameters():
            deviation = own.get(".".join(name.split(".")[-2:]))
            if deviation is not None:
                nn.init.normal_(parameter, std=deviation)

    def forward(self, words: Tensor, mask: Tensor, picture: Tensor, places: Tensor) -> Tensor:
        """Logits of the masked places.

        Args:
            words: tokens of the sentences.
            mask: True where there is a word and no padding.
            picture: tokens of each sentence's picture.
            places: which of the R * L words are masked, row by row.

        Shape:
            words (R, L, D), mask (R, L), picture (R, T, D), places (M,) int64 -> (M, V).
        """
        seen = self.cross(self.norm_words(words), self.norm_picture(picture))  # (R, L, D)
        read = self.layers(seen, mask).flatten(0, 1)[places]  # (M, D)
        return self.words(self.norm_dense(self.activation(self.dense(self.norm_after(read)))))
