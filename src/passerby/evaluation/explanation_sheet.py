"""An explanation as a picture: heat over the person for the sentence, for its strongest words, and for the tower alone.

Maps are interpolated for the eye; the selected patches are drawn as they are. Red adds to the score, blue speaks
against it.

Axes: H, W pixels of a panel, R rows and S columns of places.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from passerby.data.images import resize_image
from passerby.data.sheet_drawing import BODY, CARD, EDGE, FAINT, INK, PAPER, SMALL, TITLE, draw_text, leading, wrap
from passerby.models.explained import Explanation

_MARGIN, _GAP, _PANEL_WIDTH = 24, 14, 150
_MOST_WORDS, _MOST_COLUMNS = 6, 7
_WARM, _COLD = np.array([214, 40, 30], np.float32), np.array([40, 90, 200], np.float32)
_SELECTED = (255, 196, 0)


def explanation_sheet(explanation: Explanation, picture: np.ndarray, most_words: int = _MOST_WORDS) -> Image.Image:
    """Draw an explanation.

    Args:
        explanation: what `Retriever.explain` gave.
        picture: (H, W, 3) uint8, the picture itself in any size.
        most_words: panels of single words, those with the largest weights.
    """
    panels = _panels(explanation, picture, most_words)
    height = panels[0][1].height
    rows = -(-len(panels) // _MOST_COLUMNS)
    columns = -(-len(panels) // rows)  # as even as it goes
    title = wrap(f"“{explanation.sentence}”", BODY, columns * (_PANEL_WIDTH + _GAP) - _GAP, 3)
    top = _MARGIN + leading(TITLE) + len(title) * leading(BODY) + _GAP
    bars = _MARGIN + leading(BODY) + (len(explanation.words) + 1) * leading(SMALL)
    row_height = height + 2 * leading(SMALL) + _GAP
    width = 2 * _MARGIN + columns * (_PANEL_WIDTH + _GAP) - _GAP
    sheet = Image.new("RGB", (width, top + rows * row_height + bars), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw_text(draw, (_MARGIN, _MARGIN), f"score {explanation.score:.3f}", TITLE, INK)
    for number, line in enumerate(title):
        draw_text(draw, (_MARGIN, _MARGIN + leading(TITLE) + number * leading(BODY)), line, BODY, FAINT)
    for index, (label, panel) in enumerate(panels):
        left = _MARGIN + index % columns * (_PANEL_WIDTH + _GAP)
        upper = top + index // columns * row_height
        sheet.paste(panel, (left, upper))
        draw.rectangle((left, upper, left + panel.width - 1, upper + panel.height - 1), outline=EDGE)
        for number, line in enumerate(wrap(label, SMALL, _PANEL_WIDTH, 2)):
            draw_text(draw, (left, upper + height + 3 + number * leading(SMALL)), line, SMALL, INK)
    _weights(draw, explanation, (_MARGIN, top + rows * row_height), width - 2 * _MARGIN)
    return sheet


def heat_panel(picture: np.ndarray, heat: np.ndarray, limit: float | None = None) -> np.ndarray:
    """Put a map over a picture.

    Args:
        picture: (H, W, 3) uint8.
        heat: (R, S); what is above zero is red, what is below is blue.
        limit: the value of the strongest colour; the largest magnitude of the map where it is None.

    Shape:
        (H, W, 3) uint8.
    """
    grey = picture.astype(np.float32).mean(axis=2, keepdims=True) * 0.75 + 50
    top = float(np.abs(heat).max()) if limit is None else limit
    scaled = np.clip(heat / top, -1, 1) if top > 0 else np.zeros_like(heat)
    smooth = np.asarray(
        Image.fromarray(scaled.astype(np.float32), mode="F").resize(
            (picture.shape[1], picture.shape[0]), Image.Resampling.BICUBIC
        )
    ).clip(-1, 1)[..., None]
    strength = np.abs(smooth) ** 0.8 * 0.85
    colour = np.where(smooth > 0, _WARM, _COLD)
    return (grey * (1 - strength) + colour * strength).clip(0, 255).astype(np.uint8)


def selection_panel(picture: np.ndarray, selected: np.ndarray) -> np.ndarray:
    """Dim what was not selected and frame what was: (H, W, 3) uint8, (R, S) bool -> (H, W, 3) uint8."""
    height, width = picture.shape[:2]
    rows, columns = selected.shape
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    inside = selected[row][:, column][..., None]
    faded = np.where(inside, picture, picture * 0.35 + 120).astype(np.uint8)
    image = Image.fromarray(faded)
    draw = ImageDraw.Draw(image)
    for r, s in np.argwhere(selected):
        box = (s * width // columns, r * height // rows, (s + 1) * width // columns - 1, (r + 1) * height // rows - 1)
        draw.rectangle(tuple(int(side) for side in box), outline=_SELECTED)
    return np.asarray(image)


def _panels(explanation: Explanation, picture: np.ndarray, most_words: int) -> list[tuple[str, Image.Image]]:
    """Label and picture of each panel: the picture, the sentence, selection, saliencies, then the strongest words."""
    height = round(picture.shape[0] / picture.shape[1] * _PANEL_WIDTH)
    base = resize_image(picture, (height, _PANEL_WIDTH), "bilinear")
    found = [("picture", base), ("whole sentence", heat_panel(base, explanation.relevance))]
    if explanation.selected is not None:
        share = explanation.selected.mean()
        found.append((f"local branch: {share:.0%} of the patches", selection_panel(base, explanation.selected)))
    for name, label in (("mars", "rollout (MARS)"), ("last", "last layer's attention")):
        if name in explanation.saliency:
            found.append((f"{label}, without the sentence", heat_panel(base, explanation.saliency[name])))
    order = np.argsort(-np.abs(explanation.weights))[:most_words]
    limit = max((float(np.abs(explanation.word_relevance[index]).max()) for index in order), default=0.0)
    for index in sorted(order.tolist()):
        word = explanation.words[index]
        heat = heat_panel(base, explanation.word_relevance[index], limit)
        found.append((f"“{word.text}” {explanation.weights[index]:+.3f}", heat))
    return [(label, Image.fromarray(panel)) for label, panel in found]


def _weights(draw: ImageDraw.ImageDraw, explanation: Explanation, corner: tuple[int, int], width: int) -> None:
    """A bar for each word: what the score loses without it."""
    left, top = corner
    draw_text(
        draw, (left, top), "what the score loses without each word (red adds to it, blue speaks against it)", BODY, INK
    )
    largest = float(np.abs(explanation.weights).max(initial=0)) or 1.0
    start, room = left + 130, width - 200
    for number, (word, weight) in enumerate(zip(explanation.words, explanation.weights, strict=True)):
        y = top + leading(BODY) + 4 + number * leading(SMALL)
        draw_text(draw, (left, y), wrap(word.text, SMALL, 124, 1)[0], SMALL, INK)
        length = max(1, round(abs(float(weight)) / largest * room))
        colour = tuple(int(part) for part in (_WARM if weight > 0 else _COLD))
        draw.rectangle((start, y + 3, start + room, y + leading(SMALL) - 4), fill=CARD)
        draw.rectangle((start, y + 3, start + length, y + leading(SMALL) - 4), fill=colour)
        draw_text(draw, (start + room + 8, y), f"{weight:+.3f}", SMALL, FAINT)
