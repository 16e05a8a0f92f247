"""The colour baseline reads colours where they are said, sees them where they are, and understands nothing else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from passerby.data.records import Caption, PersonImage, Split
from passerby.data.world.attributes import COLOURS, VALUES
from passerby.errors import ConfigError, DataError
from passerby.evaluation import evaluate_chance, find_protocol
from passerby.evaluation.colour_baseline import evaluate_colour_baseline, stripe_colours
from passerby.evaluation.colour_words import STRIPES, colour_mentions

TEXT = find_protocol("text-to-image")


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("A woman in a red coat.", [("upper", "red")]),
        ("dark blue jeans and a Light-Blue shirt", [("lower", "navy"), ("upper", "light blue")]),
        ("His shoes are white", [("feet", "white")]),
        ("a coat. Red is nice", []),
        ("black and white sneakers", [("feet", "black"), ("feet", "white")]),
        ("a black backpack over a grey hoodie", [("upper", "grey")]),
        ("hair that is brown, a navy cap", [("head", "brown"), ("head", "navy")]),
        ("burgundy trousers, crimson T-shirt, khaki boots", [("lower", "maroon"), ("upper", "red"), ("feet", "beige")]),
        ("a cream-coloured skirt, an ash-grey tee", [("lower", "beige"), ("upper", "grey")]),
        ("a tired walker", []),
        ("", []),
        ("赤いコート \x00 \ud800", []),
    ],
)
def test_colours_are_bound_to_the_nearest_garment(text, mentions):
    assert colour_mentions(text) == mentions


def test_every_colour_and_every_garment_of_the_street_is_known():
    for colour in COLOURS:
        for attribute, stripe in (("top", "upper"), ("outer", "upper"), ("bottom", "lower"), ("shoes", "feet")):
            for garment in VALUES[attribute]:
                if garment != "none":
                    assert colour_mentions(f"someone wearing a {colour} {garment}") == [(stripe, colour)]


def test_a_very_long_caption_is_read_in_a_moment():
    assert len(colour_mentions("red coat " * 10_000)) == 10_000


def draw(path: Path, upper: str, lower: str) -> Path:
    pixels = np.full((128, 64, 3), 128, np.uint8)
    pixels[24:62, 12:52] = COLOURS[upper]
    pixels[62:110, 12:52] = COLOURS[lower]
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("colour", list(COLOURS))
def test_a_stripe_is_called_by_its_colour(colour, tmp_path):
    shares = stripe_colours(draw(tmp_path / "a.png", colour, "grey"))
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert list(COLOURS)[shares[list(STRIPES).index("upper")].argmax()] == colour


def make_split(folder: Path) -> Split:
    images, captions = [], []
    colours = list(COLOURS)
    for person in range(40):
        upper, lower = colours[person % 17], colours[(person * 5 + person // 17) % 17]
        for view in range(2):
            path = draw(folder / f"{person}_{view}.png", upper, lower)
            images.append(PersonImage(path.name, path, person))
        captions.append(Caption(f"a person with a {upper} coat and {lower} trousers", images[-1].image_id, person))
    return Split("test", tuple(images), tuple(captions))


def test_it_finds_who_is_described_by_colours_alone(tmp_path):
    report = evaluate_colour_baseline(make_split(tmp_path), TEXT)
    assert report.r1 > 90
    assert report.name == "colour baseline"


def test_captions_without_colours_are_chance_and_no_more(tmp_path):
    split = make_split(tmp_path)
    silent = Split("test", split.images, tuple(Caption("a person", c.image_id, c.person_id) for c in split.captions))
    found, chance = evaluate_colour_baseline(silent, TEXT), evaluate_chance(silent, TEXT)
    assert found.figures == pytest.approx(dict(chance.figures))


def test_pictures_cannot_ask_and_missing_pictures_are_named(tmp_path):
    split = make_split(tmp_path)
    with pytest.raises(ConfigError, match="reads words"):
        evaluate_colour_baseline(split, find_protocol("image-to-image"))
    split.images[3].path.unlink()
    with pytest.raises(DataError, match=split.images[3].image_id):
        evaluate_colour_baseline(split, TEXT)
