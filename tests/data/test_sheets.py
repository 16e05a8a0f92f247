"""Sheets: everything stays inside its box, whatever the captions hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from passerby.data.sheet_drawing import PAPER, fit_picture, load_font, wrap
from passerby.data.sheets import VERDICTS, RankedRow, Tile, ranked_sheet, result_grid, save_sheet, tile_sheet
from passerby.errors import ConfigError, DataError

RED = np.full((60, 30, 3), (200, 0, 0), np.uint8)
HOSTILE = [
    "",
    " \n\t ",
    "word " * 10_000,
    "x" * 100_000,
    "\x00\x1b[31m\ud800\ufffe\u202e",
    "名前は赤いコートの女性です " * 50,
    "مرحبا بالعالم " * 40,
    "🧥👩🏽‍🦰" * 100,
    "a" + "\u0301" * 3000,
]


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=300), st.integers(30, 300), st.integers(1, 5))
def test_wrapped_lines_fit_and_no_more_of_them_than_asked(text, width, most):
    lines = wrap(text, 13, width, most)
    assert len(lines) <= most
    # A single character may be wider than the line; nothing can be done about that one.
    assert all(load_font(13).getlength(line) <= width or len(line) <= 2 for line in lines)


def test_words_are_kept_in_order_and_what_is_cut_is_marked():
    assert " ".join(wrap("a woman in a red coat", 13, 60, 9)) == "a woman in a red coat"
    assert wrap("1 · 0.83\nc3\r\n\n0001.jpg", 13, 90, 3) == ["1 · 0.83", "c3", "0001.jpg"]
    cut = wrap("a woman in a red coat with a black backpack", 13, 60, 2)
    assert len(cut) == 2
    assert cut[-1].endswith("…")
    assert "".join(wrap("unbreakable" * 5, 13, 60, 99)) == "unbreakable" * 5


@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(text[:8]) for text in HOSTILE])
def test_no_text_breaks_a_sheet_or_changes_its_width(text):
    plain = result_grid("title", [(RED, "caption")] * 6)
    hostile = result_grid(text, [(RED, text)] * 6, subtitle=text, query_picture=RED)
    assert hostile.width == plain.width
    assert hostile.height < 2 * plain.height
    row = RankedRow(text, (Tile(RED, text, "hit"),) * 3, text)
    calm = RankedRow("query", (Tile(RED, "caption", "hit"),) * 3, "note")
    assert ranked_sheet(text, [row], subtitle=text).width == ranked_sheet("title", [calm]).width


def colours(sheet):
    return {colour for _, colour in sheet.getcolors(sheet.width * sheet.height)}


def test_verdicts_are_framed_in_their_colours():
    row = RankedRow("query", tuple(Tile(RED, "", verdict) for verdict in VERDICTS))
    assert set(VERDICTS.values()) <= colours(ranked_sheet("title", [row]))
    framed = colours(tile_sheet("title", [Tile(RED, "", "hit")]))
    assert VERDICTS["hit"] in framed
    assert VERDICTS["miss"] not in framed


def test_margins_stay_empty():
    for sheet in (
        result_grid("title " * 50, [(RED, HOSTILE[3])] * 11, subtitle="words " * 90),
        ranked_sheet("title", [RankedRow(HOSTILE[2], (Tile(RED, HOSTILE[3], "miss"),) * 10)]),
    ):
        pixels = np.asarray(sheet)
        for edge in (pixels[:8], pixels[-8:], pixels[:, :8], pixels[:, -8:]):
            assert (edge == PAPER).all()


def test_pictures_are_fitted_whole_and_undistorted():
    for shape in ((60, 30), (30, 60), (1, 1), (1, 500), (500, 1)):
        fitted = np.asarray(fit_picture(np.full((*shape, 3), (200, 0, 0), np.uint8), (64, 32)))
        assert fitted.shape == (64, 32, 3)
        red = (fitted == (200, 0, 0)).all(axis=2)
        high, wide = red.any(axis=1).sum(), red.any(axis=0).sum()
        scale = min(64 / shape[0], 32 / shape[1])
        assert high == max(1, round(shape[0] * scale))
        assert wide == max(1, round(shape[1] * scale))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pillow_images_of_any_mode_can_be_drawn(mode):
    assert result_grid("title", [(Image.new(mode, (20, 40)), "")]).mode == "RGB"


def test_nothing_found_is_said():
    empty = result_grid("a purple elephant", [])
    assert len(colours(empty)) > 2
    assert ranked_sheet("none", []).height > 50


def test_the_same_input_draws_the_same_pixels():
    assert result_grid("t", [(RED, "c")]).tobytes() == result_grid("t", [(RED, "c")]).tobytes()


def test_sheets_are_written_whole_and_replace_each_other(tmp_path):
    path = tmp_path / "new" / "folder" / "sheet.png"
    for title in ("one", "two"):
        sheet = result_grid(title, [(RED, "")])
        assert save_sheet(sheet, path) == path
        with Image.open(path) as read:
            assert read.tobytes() == sheet.tobytes()
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]


def test_no_space_left_leaves_the_old_sheet(tmp_path, monkeypatch):
    path = save_sheet(result_grid("old", []), tmp_path / "sheet.png")
    before = path.read_bytes()

    def full(self, target, *rest):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match="No space left"):
        save_sheet(Image.new("RGB", (9, 9)), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda path: result_grid("t", [(RED[0], "")]), DataError, r"\(30, 3\)"),
        (lambda path: result_grid("t", [(RED.astype(float), "")]), DataError, "float64"),
        (lambda path: result_grid("t", [(RED[:0], "")]), DataError, r"\(0, 30, 3\)"),
        (lambda path: result_grid("t", [(Image.new("RGB", (0, 5)), "")]), DataError, "0 x 5"),
        (lambda path: result_grid("t", [], columns=0), ConfigError, "0 columns"),
        (lambda path: ranked_sheet("t", [], tile_hw=(0, 9)), ConfigError, r"\(0, 9\)"),
        (lambda path: tile_sheet("t", [Tile(RED, "", "hitt")]), ConfigError, "Did you mean 'hit'"),
        (lambda path: save_sheet(Image.new("RGB", (9, 9)), path / "sheet.jpg"), DataError, "ends in .png"),
        (
            lambda path: save_sheet(Image.new("RGB", (9, 9)), path / "a.txt" / "sheet.png"),
            DataError,
            "cannot be written",
        ),
    ],
)
def test_wrong_input_is_refused_by_name(call, error, words, tmp_path):
    (tmp_path / "a.txt").write_text("a file, not a folder")
    with pytest.raises(error, match=words):
        call(tmp_path)
