"""Attention that was computed by a fused kernel, seen again: whole maps, or only the rows that a selection reads.

A fused kernel returns no weights. `WatchedLayers` keeps what the query-key-value projections of chosen layers gave in
one forward pass; from that, maps or single rows are computed again without gradient. Layers that nobody reads cost
nothing.

Axes: B rows, N tokens, C channels, H heads, D channels of a head.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError


class WatchedLayers:
    """Within a ``with`` block, what the projections of some attention layers give in this thread.

    Args:
        layers: attention modules with a projection ``qkv`` and ``heads`` or ``num_heads``, from first to last.
        wanted: which of them are read, from 0.

    Raises:
        ConfigError: a wanted layer does not exist.
    """

    def __init__(self, layers: Sequence[nn.Module], wanted: Collection[int]) -> None:
        for layer in wanted:
            if not 0 <= layer < len(layers):
                raise ConfigError(
                    f"attention layer {layer} was asked for; the tower has the layers 0 to {len(layers) - 1}"
                )
        self._layers = {layer: layers[layer] for layer in sorted(wanted)}
        self._seen: dict[int, Tensor] = {}
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        """Begin to look."""
        here = threading.get_ident()

        def keep(layer: int) -> Any:
            def hook(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
                del module, given
                # Another thread may be using the same model; what it computes is not ours.
                if threading.get_ident() == here:
                    self._seen[layer] = result.detach()

            return hook

        for layer, module in self._layers.items():
            projection = module.get_submodule("qkv")
            self._hooks.append(projection.register_forward_hook(keep(layer)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look no more; what was seen stays."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def query_key(self, layer: int) -> tuple[Tensor, Tensor]:
        """Queries and keys of a watched layer, each (B, H, N, D) float32 without gradient."""
        module = self._layers[layer]
        heads = int(getattr(module, "heads", None) or getattr(module, "num_heads"))  # noqa: B009 - timm's name
        query, key, _ = self._seen[layer].unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        with torch.no_grad():
            # Some towers of timm normalise both; CLIP's do not.
            query = module.get_submodule("q_norm")(query) if hasattr(module, "q_norm") else query
            key = module.get_submodule("k_norm")(key) if hasattr(module, "k_norm") else key
        return query.float(), key.float()


@torch.no_grad()
def mean_attention(query: Tensor, key: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """``A = 1/H sum_h softmax(q_h k_h^T / sqrt(D))``, without gradient.

    The heads are added up one by one, so that no more than one head's map is ever there beside the sum.

    Args:
        query: of every token.
        key: of every token.
        mask: True where a token may be looked at.
        causal: whether a token looks only at itself and those before it.

    Shape:
        (B, H, N, D), (B, H, N, D), (B, N) -> (B, N, N) float32, rows that sum to 1.
    """
    heads, tokens = query.shape[1], query.shape[2]
    scale = query.shape[3] ** -0.5
    hidden = _hidden(mask, causal, tokens, query.device)
    total = query.new_zeros((query.shape[0], tokens, tokens))
    for head in range(heads):
        scores = torch.matmul(query[:, head] * scale, key[:, head].transpose(1, 2))  # (B, N, N)
        if hidden is not None:
            scores = scores.masked_fill(hidden, -torch.inf)
        total += scores.softmax(dim=-1)
    return total / heads


@torch.no_grad()
def attention_rows(query: Tensor, key: Tensor, at: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """One mixture of rows of `mean_attention`: ``w A``, and only one row is computed where `at` is a place.

    Args:
        query: of every token.
        key: of every token.
        at: places (B,) int64 of one token in each row, or weights (B, N) of all of them.
        mask: True where a token may be looked at.
        causal: whether a token looks only at itself and those before it.

    Shape:
        (B, H, N, D), (B, H, N, D), (B,) or (B, N), (B, N) -> (B, N) float32.
    """
    if at.ndim == 2:
        return torch.bmm(at.float()[:, None], mean_attention(query, key, mask, causal)).squeeze(1)
    count, heads, tokens, width = query.shape
    row = query.gather(2, at.view(-1, 1, 1, 1).expand(count, heads, 1, width))  # (B, H, 1, D)
    scores = torch.matmul(row * width**-0.5, key.transpose(2, 3)).squeeze(2)  # (B, H, N)
    places = torch.arange(tokens, device=query.device)
    if causal:
        scores = scores.masked_fill((places > at[:, None])[:, None], -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], -torch.inf)
    return scores.softmax(dim=-1).mean(dim=1)


def _hidden(mask: Tensor | None, causal: bool, tokens: int, device: torch.device) -> Tensor | None:
    """What may not be looked at, to be spread over (B, N, N); None where everything may."""
    hidden = None
    if causal:
        hidden = torch.ones((tokens, tokens), dtype=torch.bool, device=device).triu(1)[None]
    if mask is not None:
        blind = ~mask[:, None, :]
        hidden = blind if hidden is None else hidden | blind
    return hidden
