"""Second stages that are models themselves: cross-attention over words and pictures, and hits in each other's context.

Both need torch, which is imported when one of them is made.

Axes: N candidates, T tokens of a picture, W channels of the re-ranker.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from importlib.util import find_spec

import numpy as np

from passerby.data.images import decode_image, read_image_file
from passerby.errors import ConfigError, DataError, MissingExtraError
from passerby.gallery.records import Candidates, Encoder, Picture

#: Pictures whose tokens are remembered; at some tens of kilobytes each, 100 to 200 MB.
_REMEMBERED = 4_000


class CrossReranker:
    """The cross-attention re-ranker of the gallery's model, which looks at words and pictures together.

    What it needs of a picture is computed from its file, or from the thumbnail where the file has gone or changed, and
    remembered for the next query.
    """

    name = "cross"

    def __init__(self, model: Encoder, thumbnail: Callable[[str], bytes], depth: int = 50, weight: float = 0.5) -> None:
        """Open the model's weights.

        Args:
            model: the gallery's.
            thumbnail: returns a picture's thumbnail.
            depth: hits that are looked at.
            weight: the second stage's share of a score, 0 to 1.

        Raises:
            ConfigError: the model has no re-ranker, or the weight is out of range.
            MissingExtraError: torch is not installed.
        """
        if not 0 <= weight <= 1:
            raise ConfigError(f"the second stage is to weigh {weight}; expected 0 to 1")
        _require_torch("re-ranking by cross-attention")
        from passerby.models.pair_scorer import open_pair_scorer

        self._scorer = open_pair_scorer(model.name, model.fingerprint)
        self._thumbnail, self.depth, self._weight = thumbnail, depth, weight
        self._maps: OrderedDict[str, np.ndarray] = OrderedDict()
        self._turn = threading.Lock()  # a service asks from several threads

    def rerank(self, candidates: Candidates) -> np.ndarray:
        """(N,) logits: scaled cosines and what cross-attention makes of words and pictures, weighted.

        Raises:
            ConfigError: the query has no words.
        """
        if not candidates.texts:
            raise ConfigError("cross-attention reads words, and the query has none; re-rank by k-reciprocal instead")
        with self._turn:
            known = {each.id: self._maps[each.id] for each in candidates.pictures if each.id in self._maps}
        new = [picture for picture in candidates.pictures if picture.id not in known]
        if new:
            maps = self._scorer.maps([self._pixels(picture) for picture in new])
            known |= zip((picture.id for picture in new), maps, strict=True)
        maps = np.stack([known[picture.id] for picture in candidates.pictures])  # (N, T, W)
        with self._turn:
            for name, kept in known.items():
                self._maps[name] = kept
                self._maps.move_to_end(name)
            while len(self._maps) > _REMEMBERED:
                self._maps.popitem(last=False)
        return self._scorer.scores(candidates.texts, maps, candidates.scores, self._weight)

    def forget(self, ids: Iterable[str]) -> None:
        """Let go what was remembered of pictures that have been deleted."""
        with self._turn:
            for name in ids:
                self._maps.pop(name, None)

    def _pixels(self, picture: Picture) -> np.ndarray:
        size = self._scorer.preprocessing.image_size
        try:
            encoded = read_image_file(picture.path)
            if hashlib.sha256(encoded).hexdigest()[: len(picture.id)] == picture.id:
                return decode_image(encoded, at_least=size, name=str(picture.path))
        except DataError:  # the thumbnail is as good as what is left of the file
            pass
        return decode_image(self._thumbnail(picture.id), name=f"the thumbnail of {picture.id}")


class ContextReranker:
    """A context encoder over the neighbourhood of a query: hits see each other, and the query sees them."""

    name = "context"

    def __init__(self, checkpoint: str, depth: int = 200) -> None:
        """Open the context encoder.

        Args:
            checkpoint: its folder, or ``hf:org/name@rev``.
            depth: hits that are the neighbourhood.

        Raises:
            ConfigError: no checkpoint is named, or it holds another kind of model.
            CheckpointError: it cannot be read.
            MissingExtraError: torch is not installed.
        """
        if not checkpoint:
            raise ConfigError(
                "context needs a context encoder that was trained on the vectors of the gallery's model: "
                "context:runs/context/checkpoint; train one with: passerby train context-nformer --set "
                "data.features=MODEL"
            )
        _require_torch("re-ranking in context")
        from passerby.models.checkpoint import read_checkpoint
        from passerby.models.context import ContextEncoder
        from passerby.models.restore import restore_model
        from passerby.models.sources import locate

        model = restore_model(read_checkpoint(locate(checkpoint).folder))
        if not isinstance(model, ContextEncoder):
            raise ConfigError(f"{checkpoint} holds no context encoder; train one with: passerby train context-nformer")
        self._model, self.depth = model, depth

    def rerank(self, candidates: Candidates) -> np.ndarray:
        """(N,) cosines in context.

        Raises:
            ConfigError: the encoder was trained on vectors of another width.
        """
        from passerby.models.gallery_context import GalleryContext

        context = GalleryContext(self._model, candidates.vectors)
        # No picture has a sentence among its neighbours, so words look at pictures that do not look back.
        query = context.transform(candidates.query[None], one_way=bool(candidates.texts))[0]
        return context.vectors @ query


def _require_torch(what: str) -> None:
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "train", what)
