"""The pictures of the study of selection: the supplement's ranked lists and attention maps, and curves of validation.

The supplement shows queries on which its own method is right. Here the queries are drawn by a seed among those on which
the models disagree about the first answer, whoever is right, so that the lists say something about all of them.

Axes: Q queries, K answers.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from passerby.data.images import decode_image, resize_image
from passerby.data.records import Split
from passerby.data.sheets import RankedRow, Tile, ranked_sheet, tile_sheet
from passerby.errors import MissingExtraError
from passerby.evaluation.explanation_sheet import heat_panel, selection_panel
from passerby.retriever import load
from passerby.studies.seeds import over_seeds
from passerby.studies.selection_cells import Answers, answers_of, checkpoint_of

_INK, _FAINT, _EDGE = "#202328", "#646a72", "#e2e2dd"
_TONES = ("#9a9a92", "#c08a2e", "#7a5c99", "#2c6e8f", "#b03a2e")
_TILE_HW = (160, 80)
#: Variant -> what its own attention selects by, and how that is called.
_LOOKS = {"rde": ("last", "last layer"), "itself": ("mars", "MARS")}


def disagreements(answers: Mapping[str, Answers], people: np.ndarray, count: int, seed: int = 0) -> list[int]:
    """Queries on which models disagree about the first answer, one per person, drawn by a seed.

    Fewer than `count` where the models agree too often; what is missing are queries on which they do not.

    Args:
        answers: of each model to the same queries.
        people: whom each query asks for, (Q,).
        count: how many.
        seed: of the draw.
    """
    first = np.stack([one.right[:, 0] for one in answers.values()])  # (models, Q)
    order = np.random.default_rng(seed).permutation(first.shape[1])
    hit_by = first.sum(axis=0)  # models that are right, (Q,)
    split = (hit_by > 0) & (hit_by < len(first))
    chosen: dict[int, int] = {}
    for query in [*order[split[order]].tolist(), *order[~split[order]].tolist()]:
        chosen.setdefault(int(people[query]), query)
    return list(chosen.values())[:count]


def draw_lists(folders: Mapping[str, Path], test: Split, title: str, count: int = 4, seed: int = 0) -> bytes:
    """Ranked lists of several models side by side, hits framed, as PNG (the supplement's Figures 1 to 4).

    Args:
        folders: name of each model -> its finished cell.
        test: the split that was asked.
        title: of the sheet.
        count: queries.
        seed: draws them.
    """
    answers = {name: answers_of(folder) for name, folder in folders.items()}
    rows = []
    for query in disagreements(answers, _people(next(iter(answers.values())), test), count, seed):
        for name, one in answers.items():
            tiles = tuple(
                Tile(decode_image(test.images[image].path), str(place), "hit" if right else "miss")
                for place, (image, right) in enumerate(zip(one.images[query], one.right[query], strict=True), start=1)
            )
            rows.append(RankedRow(test.captions[one.captions[query]].text, tiles, note=name))
    return _png(ranked_sheet(title, rows, subtitle=", ".join(folders), tile_hw=_TILE_HW))


def draw_attention(folders: Mapping[str, Path], test: Split, count: int = 4, seed: int = 1) -> list[tuple[str, bytes]]:
    """Where models look, side by side: for each query its sentence and a sheet as PNG (the supplement's Figure 5).

    For each model what every place adds to the score of the whole sentence, what its attention selects by, and the
    patches that were taken.

    Args:
        folders: name of each model, a key of the models with a local branch -> its finished cell.
        test: the split that was asked; each sentence is shown on its own picture.
        count: queries.
        seed: draws them.
    """
    answers = {name: answers_of(folder) for name, folder in folders.items()}
    models = {name: load(str(checkpoint_of(folder)), runtime="torch") for name, folder in folders.items()}
    first = next(iter(answers.values()))
    image_of = {image.image_id: image for image in test.images}
    sheets = []
    for query in disagreements(answers, _people(first, test), count, seed):
        caption = test.captions[first.captions[query]]
        picture = decode_image(image_of[caption.image_id].path)
        tiles = [Tile(picture, "the described picture")]
        for name, model in models.items():
            explained = model.explain(picture, caption.text)
            base = resize_image(picture, (2 * _TILE_HW[0], 2 * _TILE_HW[1]), "bilinear")
            tiles.append(Tile(heat_panel(base, explained.relevance), f"{name}: whole sentence"))
            key, words = _LOOKS.get(name, ("last", "last layer"))
            if key in explained.saliency:
                tiles.append(Tile(heat_panel(base, explained.saliency[key]), f"{name}: {words}"))
            if explained.selected is not None:
                tiles.append(Tile(selection_panel(base, explained.selected), f"{name}: taken"))
        sheet = tile_sheet(caption.text, tiles, columns=len(tiles), tile_hw=(2 * _TILE_HW[0], 2 * _TILE_HW[1]))
        sheets.append((caption.text, _png(sheet)))
    return sheets


def curves_figure(cells: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """R@1 on the validation split over the epochs, mean over the seeds with their range, as PNG.

    Args:
        cells: name -> one finished cell for each seed; those without a validation split are left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "viz", "the figures of the study") from error
    figure = Figure(figsize=(7.2, 3.8), dpi=144, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)  # type: ignore[union-attr]  # inches; the page has rounded corners
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    for index, (name, found) in enumerate(cells.items()):
        tone = _TONES[index % len(_TONES)]
        points = list(zip(*[cell["curve"] for cell in found], strict=False))  # one tuple of seeds per validation
        if not points:
            continue
        epochs = [seeds[0]["epoch"] for seeds in points]
        values = [[one["r1"] for one in seeds] for seeds in points]
        axis.plot(epochs, [over_seeds(one).mean for one in values], "o-", color=tone, linewidth=1.4, label=name)
        axis.fill_between(epochs, list(map(min, values)), list(map(max, values)), color=tone, alpha=0.15, linewidth=0)
    axis.locator_params(axis="x", integer=True)  # there is no validation after half of an epoch
    axis.set_xlabel("epochs", color=_FAINT)
    axis.set_title("R@1 on the validation split, per cent; bands hold all seeds", loc="left", color=_INK, fontsize=9)
    if axis.lines:
        axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_EDGE)
    axis.tick_params(colors=_FAINT, labelsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _people(answers: Answers, test: Split) -> np.ndarray:
    """Whom each query asks for, (Q,); pictures of nobody known are people of their own."""
    own = {
        image.image_id: -1 - row if image.person_id is None else image.person_id
        for row, image in enumerate(test.images)
    }
    return np.array([own[test.captions[caption].image_id] for caption in answers.captions], np.int64)


def _png(sheet: Image.Image) -> bytes:
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()
