"""The context encoder: a transformer whose tokens are pictures, each looking at its reciprocal neighbours alone.

NFormer (Wang et al. 2022) and MagFormer are settings of it (`context_config.PRESETS`). Its input are the vectors of
any encoder, which stays frozen. Nothing here holds an N x N matrix: neighbours are found in blocks, attention runs
over lists of k, and without a gradient the layers go through the rows in blocks too.

Axes: N pictures of one set, D width, M neighbours beside the row itself, S maps, L layers, P landmarks, W rows that a
landmark is the mean of, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError
from passerby.models.context_config import ContextConfig, config_from
from passerby.models.context_layer import ContextLayer, Frame, Lists, Memory
from passerby.nn.landmark_attention import choose_landmarks
from passerby.nn.neighbour_search import check_finite, nearest_rows, unit_rows
from passerby.nn.reciprocal_neighbours import NeighbourGraph, build_neighbour_graph, clamped_k, reciprocal_mask

#: Rows that go through a layer at a time when no gradient is kept.
ROWS = 4096


class ContextEncoder(nn.Module):
    """Frozen features in, features in context out.

    Args:
        settings: the configuration.

    Shape:
        features (N, D) -> (N, D); `embed` gives what is searched with, `classify` the logits (N, C).
    """

    def __init__(self, settings: ContextConfig) -> None:
        super().__init__()
        self.settings = settings
        self.layers = nn.ModuleList(ContextLayer(settings, layer) for layer in range(settings.layers))
        if settings.same_start:
            for layer in list(self.layers)[1:]:
                layer.load_state_dict(self.layers[0].state_dict())
        self.neck = nn.BatchNorm1d(settings.width)
        self.neck.bias.requires_grad_(False)  # "BNNeck": its shift stays zero (Luo et al. 2019)
        self.classifier = nn.Linear(settings.width, settings.classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    @property
    def config(self) -> dict[str, Any]:
        """The mapping from which `build_context_encoder` makes a model of the same shape."""
        return {"embedding_dim": self.settings.width, **self.settings.to_dict()}

    @property
    def embedding_dim(self) -> int:
        """D, the width of the vectors."""
        return self.settings.width

    def prepared(self, features: Tensor) -> Tensor:
        """The input of the first layer, scaled as `input_norm` says, as a new tensor.

        Raises:
            ConfigError: the features have another width.
            DataError: a vector is not finite.
        """
        check_finite(features)
        if features.shape[1] != self.settings.width:
            raise ConfigError(
                f"features of width {features.shape[1]} for a context encoder of width {self.settings.width}; give it "
                "the vectors of the encoder that it was trained on"
            )
        rule = self.settings.input_norm
        if rule == "repo":
            rule = "none" if self.training else "l2"
        if rule == "none":
            return features.clone()
        unit = unit_rows(features)
        return unit * self.settings.width**0.5 if rule == "rms" else unit

    def choose_landmarks(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Landmark rows of each layer (L, P, W); without a generator those that the configuration's seed decides."""
        mode = self.settings.landmarks if self.settings.landmarks != "learned" else "sampled"
        generator = generator or torch.Generator().manual_seed(self.settings.seed)
        return choose_landmarks(features, len(self.layers), self.settings.landmark_count, mode, generator)

    def forward(self, features: Tensor, graph: NeighbourGraph | None = None, landmarks: Tensor | None = None) -> Tensor:
        """Put a set of pictures into the context of each other.

        Args:
            features: at least one row.
            graph: who looks at whom; built from the features by default and where each layer makes its own.
            landmarks: from `choose_landmarks`; those of the configuration's seed by default.

        Shape:
            features (N, D) -> (N, D), before the neck.

        Raises:
            ConfigError: the width is another one, or the graph is of another set.
            DataError: a vector is not finite, or there is none.
        """
        rows, lists, landmarks = self._start(features, graph, landmarks)
        for module, chosen in zip(self.layers, landmarks, strict=True):
            layer = _layer(module)
            rows = self._through(layer, rows, layer.frame(rows[chosen].mean(dim=1)), lists)
        return rows

    @torch.no_grad()
    def attention(
        self, features: Tensor, graph: NeighbourGraph | None = None, landmarks: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The weights of each layer in turn, for figures: of every map, and of every head after any difference.

        Args:
            features: as for `forward`, a few thousand rows at most.
            graph: as for `forward`.
            landmarks: as for `forward`.

        Shape:
            features (N, D) -> L pairs of (N, S, 1 + M) and (N, H, 1 + M); the row itself comes first. With a graph of
            affinities the maps of a head have different neighbours, and what they share is not added up.
        """
        rows, lists, landmarks = self._start(features, graph, landmarks)
        for module, chosen in zip(self.layers, landmarks, strict=True):
            layer = _layer(module)
            frame = layer.frame(rows[chosen].mean(dim=1))
            memory = layer.remember(rows, frame)
            own = self._own_lists(layer, rows, frame, memory, lists)
            weights = layer.weights(rows, frame, memory, memory, own)
            yield weights, torch.einsum("hs,nsm->nhm", layer.combined(), weights)
            rows = self._through(layer, rows, frame, lists)

    def _start(
        self, features: Tensor, graph: NeighbourGraph | None, landmarks: Tensor | None
    ) -> tuple[Tensor, Lists, Tensor]:
        rows = self.prepared(features)
        graph = self.graph(features) if graph is None else graph
        if len(graph) != len(rows):
            raise ConfigError(f"a graph of {len(graph)} rows for {len(rows)} features; build it from these features")
        landmarks = self.choose_landmarks(features) if landmarks is None else landmarks
        return rows, Lists(graph.neighbours[:, None], graph.reciprocal[:, None]), landmarks

    def graph(self, features: Tensor) -> NeighbourGraph:
        """The neighbour graph of a set, with the k of the configuration."""
        return build_neighbour_graph(features, self.settings.k)

    def embed(self, rows: Tensor) -> Tensor:
        """What is searched with and classified: the neck's output, not normalised. Shape: (N, D) -> (N, D)."""
        return self.neck(rows)

    def classify(self, embedded: Tensor) -> Tensor:
        """Logits of the training identities. Shape: (N, D) -> (N, C)."""
        return self.classifier(embedded)

    def _through(self, layer: ContextLayer, rows: Tensor, frame: Frame, lists: Lists) -> Tensor:
        if torch.is_grad_enabled():
            memory = layer.remember(rows, frame)
            return layer(rows, frame, memory, memory, self._own_lists(layer, rows, frame, memory, lists))
        memory = remembered(layer, rows, frame)
        lists = self._own_lists(layer, rows, frame, memory, lists)
        for first in range(0, len(rows), ROWS):
            part = slice(first, first + ROWS)
            # In place: what others need of these rows is in the memory already.
            rows[part] = layer(rows[part], frame, memory.part(part), memory, lists.part(part))
        return rows

    @torch.no_grad()
    def _own_lists(self, layer: ContextLayer, rows: Tensor, frame: Frame, memory: Memory, lists: Lists) -> Lists:
        """The neighbours by this layer's own affinities where the configuration asks for it (eq. 3 of MagFormer)."""
        if self.settings.graph == "cosine":
            return lists
        queries, own = layer.factors(rows, frame), torch.arange(len(rows), device=rows.device)
        count = clamped_k(self.settings.k, len(rows)) - 1
        neighbours, reciprocal = [], []
        for index in range(layer.maps):
            asking, asked = queries[:, index].contiguous(), memory.keys[:, index].contiguous()
            found = nearest_rows(asking, asked, count, own)[1]  # (N, M)
            columns = found if self.settings.reciprocity == "row" else nearest_rows(asked, asking, count, own)[1]
            neighbours.append(found)
            reciprocal.append(reciprocal_mask(found, lists=columns))
        return Lists(torch.stack(neighbours, dim=1), torch.stack(reciprocal, dim=1))


def remembered(layer: ContextLayer, rows: Tensor, frame: Frame) -> Memory:
    """The memory of a set, made in blocks of rows."""
    first = layer.remember(rows[:ROWS], frame)
    if len(rows) <= ROWS:
        return first
    keys = first.keys.new_empty((len(rows), *first.keys.shape[1:]))
    values = first.values.new_empty((layer.heads, len(rows), first.values.shape[2]))
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        memory = layer.remember(rows[part], frame)
        keys[part], values[:, part] = memory.keys, memory.values
    return Memory(keys, values)


def build_context_encoder(config: Mapping[str, Any], classes: int | None = None) -> ContextEncoder:
    """Build a context encoder from a mapping such as a checkpoint's ``model``.

    Args:
        config: the fields of `ContextConfig`; ``embedding_dim``, which every checkpoint has, is the width again.
        classes: how many identities the data has, to be compared; None to take what the configuration says.

    Raises:
        ConfigError: a field is unknown, missing or not allowed, or the classes disagree.
    """
    settings = config_from({key: value for key, value in config.items() if key != "embedding_dim"})
    if config.get("embedding_dim", settings.width) != settings.width:
        raise ConfigError(
            f"a context encoder of width {settings.width} gives vectors of that width, and embedding_dim says "
            f"{config['embedding_dim']}; leave it out"
        )
    if classes is not None and classes != settings.classes:
        raise ConfigError(
            f"the context encoder tells {settings.classes} identities apart, the data has {classes}; to go on training "
            "on other people, train a new classifier, and to search, give no class count"
        )
    return ContextEncoder(settings)


def _layer(module: nn.Module) -> ContextLayer:
    if not isinstance(module, ContextLayer):
        raise ConfigError(f"a {type(module).__name__} stands where a layer of the context encoder is expected")
    return module
