"""The figures of the study of pictures in context: losses, attention scores per layer, a map of some identities.

Figure 2 of MagFormer's report shows the training losses, Figures 5 and 6 the attention scores without and with the
difference of two maps, Figure 4 the vectors of some people under three models. Scores here are those of the lists that
attention runs over; the papers also count the zeros of everybody who is in no list.

Axes: N pictures, D width, L layers, S maps, H heads, M neighbours, T steps.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from passerby.data.records import Split
from passerby.errors import MissingExtraError
from passerby.studies.context_plan import MODELS, ContextPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from passerby.models.context import ContextEncoder

_INK, _FAINT, _EDGE = "#202328", "#646a72", "#e2e2dd"
_TONES = ("#8d9299", "#c2762b", "#2c6e8f")
_MODEL_TONES = dict(zip(MODELS, _TONES, strict=True))
_SET = 3000  # rows whose attention is looked at, and at most so many pictures are mapped
_BINS = 60


def draw_figures(
    models: Mapping[str, ContextEncoder],
    vectors: np.ndarray,
    test: Split,
    sides: tuple[np.ndarray, np.ndarray],
    losses: Mapping[str, Sequence[Sequence[float]]],
    plan: ContextPlan,
    folder: Path,
) -> dict[str, bytes]:
    """Draw all figures and keep each beside the report.

    Args:
        models: a trained one of each of `MODELS`, from the first seed.
        vectors: of the test split, from stage 1 of that seed.
        test: the split.
        sides: rows that ask and rows that are searched.
        losses: of each step, for each model and seed.
        plan: of the study.
        folder: where the PNGs are written.

    Shape:
        vectors (N, D), sides (Q,) and (G,).

    Returns:
        PNG bytes under "losses", "people", "scores" and "differences".

    Raises:
        MissingExtraError: matplotlib or scikit-learn is not installed.
    """
    asks, searched = sides
    gallery = vectors[searched][:_SET]
    scores = {name: attention_scores(models[name], gallery) for name in ("magformer-mid", "magformer")}
    spaces = {"stage 1": np.concatenate([vectors[searched], vectors[asks]])}
    from passerby.models.context_protocols import gallery_in_context

    for name in ("nformer", "magformer"):
        asked, held = gallery_in_context(models[name], vectors[asks], vectors[searched])
        spaces[MODELS[name]] = np.concatenate([held, asked])
    rows = np.concatenate([searched, asks])
    owners = np.array([test.images[row].person_id if test.images[row].person_id is not None else -1 for row in rows])
    drawn = {
        "losses": loss_figure(losses),
        "people": people_figure(spaces, owners, len(searched), plan.people),
        "scores": score_figure([maps for maps, _ in scores["magformer-mid"]], "each map, one a head"),
        "differences": score_figure(
            [maps for maps, _ in scores["magformer"]],
            "each map, before the difference",
            [heads for _, heads in scores["magformer"]],
            "each head, after the difference",
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in drawn.items():
        (folder / f"{name}.png").write_bytes(content)
    return drawn


def attention_scores(model: ContextEncoder, vectors: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores of each layer over the row itself and its reciprocal neighbours, flat: of the maps, and of the heads.

    Shape:
        vectors (N, D) -> L pairs of (scores of all maps,), (scores of all heads,).
    """
    import torch

    features = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
    graph = model.graph(features)
    itself = torch.ones(len(features), 1, dtype=torch.bool)
    counted = torch.cat([itself, graph.reciprocal], dim=1)[:, None]  # (N, 1, 1 + M)
    return [
        (maps[counted.expand_as(maps)].numpy(), heads[counted.expand_as(heads)].numpy())
        for maps, heads in model.attention(features, graph)
    ]


def loss_figure(losses: Mapping[str, Sequence[Sequence[float]]]) -> bytes:
    """Figure 2: the training loss of each model, mean over seeds as a line and all seeds as a band: (T,) each."""
    figure, axes = _panels(1, 1, (7.2, 3.4))
    axis = axes[0]
    ends: list[tuple[float, str, str]] = []
    for name, runs in losses.items():
        smooth = np.stack([_smoothed(np.asarray(run)) for run in runs])  # (seeds, T)
        steps, mean = np.arange(1, smooth.shape[1] + 1), smooth.mean(axis=0)
        axis.plot(steps, mean, color=_MODEL_TONES[name], linewidth=1.6)
        axis.fill_between(steps, smooth.min(axis=0), smooth.max(axis=0), color=_MODEL_TONES[name], alpha=0.15, lw=0)
        ends.append((float(mean[-1]), MODELS[name], _MODEL_TONES[name]))
    _label_ends(axis, ends)
    axis.set_xlabel("step", color=_FAINT, fontsize=8)
    axis.set_title("loss of the training, smoothed", loc="left", color=_INK, fontsize=10)
    return _as_png(figure)


def people_figure(spaces: Mapping[str, np.ndarray], owners: np.ndarray, searched: int, people: int) -> bytes:
    """Figure 4: t-SNE of the pictures of some people under each model.

    Args:
        spaces: title -> vectors (N, D), gallery first.
        owners: whom each row shows; below 0 for nobody known.
        searched: how many rows are the gallery's.
        people: how many are shown, those with the most pictures spread over the list of names.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "viz", "the map of people") from error
    names = np.unique(owners[owners >= 0])
    chosen = names[np.linspace(0, len(names) - 1, min(people, len(names))).round().astype(int)]
    rows = np.flatnonzero(np.isin(owners, chosen))[:_SET]
    figure, axes = _panels(1, len(spaces), (4.0 * len(spaces), 4.1))
    for axis, (title, vectors) in zip(axes, spaces.items(), strict=True):
        perplexity = min(30.0, max(2.0, (len(rows) - 1) / 4))
        places = TSNE(2, perplexity=perplexity, init="pca", random_state=0, metric="cosine").fit_transform(
            vectors[rows]
        )
        for number, person in enumerate(chosen):
            own = owners[rows] == person
            tone = _wheel(number, len(chosen))
            for part, marker, size in ((rows < searched, "o", 22), (rows >= searched, "*", 90)):
                spot = places[own & part]
                axis.scatter(spot[:, 0], spot[:, 1], s=size, marker=marker, color=tone, edgecolors="white", lw=0.4)
        axis.set_title(title, loc="left", color=_INK, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    return _as_png(figure)


def score_figure(
    before: Sequence[np.ndarray],
    before_words: str,
    after: Sequence[np.ndarray] | None = None,
    after_words: str = "",
) -> bytes:
    """Figures 5 and 6: how attention scores are distributed in each layer, counted on a logarithmic scale.

    Args:
        before: scores of each layer.
        before_words: what they are.
        after: scores of each layer after the difference, or None.
        after_words: what those are.
    """
    columns = min(4, len(before))
    figure, axes = _panels(
        -(-len(before) // columns), columns, (max(3.4 * columns, 6.0), 2.9 * -(-len(before) // columns))
    )
    held = [*before, *(after or [])]
    edges = np.linspace(min(0.0, *(float(one.min()) for one in held)), max(float(one.max()) for one in held), _BINS + 1)
    for layer, axis in enumerate(axes):
        if layer >= len(before):
            axis.set_visible(False)
            continue
        axis.hist(before[layer], bins=edges.tolist(), color=_TONES[1], alpha=0.55, label=before_words)
        if after is not None:
            axis.hist(
                after[layer], bins=edges.tolist(), color=_TONES[2], histtype="step", linewidth=1.4, label=after_words
            )
        axis.set_yscale("log")
        axis.set_title(f"layer {layer + 1}", loc="left", color=_INK, fontsize=10)
        axis.set_xlabel("attention score", color=_FAINT, fontsize=8)
        if layer % columns == 0:
            axis.set_ylabel("scores in a bin", color=_FAINT, fontsize=8)
    handles, words = axes[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower left", ncols=2, frameon=False, fontsize=8, labelcolor=_INK)
    return _as_png(figure)


def _panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "viz", "the figures of the study") from error
    figure = Figure(figsize=size, dpi=144, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(rows * columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(_EDGE)
        axis.tick_params(which="both", colors=_FAINT, labelsize=8)
    return figure, axes


def _label_ends(axis: Any, ends: Sequence[tuple[float, str, str]]) -> None:
    """Each line's name and last value at its right, far enough from each other to be read."""
    low, high = axis.get_ylim()
    gap, last = 0.075 * (high - low), -np.inf
    for value, name, tone in sorted(ends):
        place = max(value, last + gap)
        axis.annotate(
            f"{name} {value:.2f}",
            (1.01, place),
            xycoords=("axes fraction", "data"),
            color=tone,
            fontsize=8,
            va="center",
        )
        last = place


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Mean over a window of a twentieth of the steps, as far as there are any: (T,) -> (T,)."""
    width = max(1, len(values) // 20)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - width + 1, 0)
    last = np.arange(1, len(values) + 1)
    return (sums[last] - sums[first]) / (last - first)


def _wheel(number: int, count: int) -> tuple[float, float, float]:
    import colorsys

    return colorsys.hls_to_rgb(number / max(1, count), 0.38 + 0.16 * (number % 2), 0.65)


def _as_png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
