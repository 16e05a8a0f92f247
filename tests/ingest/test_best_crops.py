"""The best crops against sorting all of them, and what makes a crop better."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from passerby.errors import ConfigError
from passerby.ingest.best_crops import BestCrops, Crop, encode_crop, qualities
from passerby.ingest.boxes import covered


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 99)), unique_by=(lambda one: one[0], lambda one: one[1])))
def test_what_is_kept_are_the_best_of_each_stretch_and_the_best_of_those(offers):
    best = BestCrops(3, 5.0)
    for time, quality in sorted(offers):
        best.offer(Crop(float(time), quality / 100, 1.0, b"", (0, 0, 9, 9)))
    stretches = {}
    for time, quality in offers:
        if quality > stretches.get(time // 5, (0, 0))[0]:
            stretches[time // 5] = (quality, time)
    expected = sorted(time for _, time in sorted(stretches.values(), reverse=True)[:3])
    assert [crop.time for crop in best.crops] == expected


def test_what_is_not_wanted_need_not_be_encoded():
    best = BestCrops(1, 1.0)
    best.offer(Crop(0.0, 0.5, 1.0, b"a", (0, 0, 9, 9)))
    assert not best.wants(3.0, 0.4)
    assert best.wants(3.0, 0.6)
    assert not BestCrops(1, 1.0).wants(0.0, 0.0)  # wholly hidden


@pytest.fixture
def street():
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2)))


def one(frame, *boxes):
    boxes = np.array(boxes, dtype=float)
    return qualities(frame, boxes, covered(boxes))


def test_tall_sharp_whole_and_unhidden_crops_are_better(street):
    middle = (150, 50, 230, 290)
    best = one(street, middle)[0]
    assert 0 < best <= 1
    assert one(street, (170, 150, 210, 270))[0] < best  # smaller
    assert one(np.asarray(Image.fromarray(street).filter(ImageFilter.GaussianBlur(5))), middle)[0] < best
    assert one(street, (0, 50, 80, 290))[0] < best  # at the border
    hidden, nearer = one(street, middle, (190, 60, 270, 299))
    assert hidden < best
    assert nearer > hidden
    assert one(np.full_like(street, 90), middle)[0] == 0


def test_the_jpeg_holds_the_person_and_a_margin(street):
    assert Image.open(io.BytesIO(encode_crop(street, np.array([100.0, 100, 150, 200])))).size == (56, 112)


def test_a_crop_comes_back_from_json_as_it_was():
    crop = Crop(1.5, 0.25, 0.75, bytes(range(256)), (1, 2, 3, 4))
    assert Crop.from_dict(json.loads(json.dumps(crop.to_dict()))) == crop


@pytest.mark.parametrize(("most", "apart"), [(0, 1), (1, 0), (1, float("nan"))])
def test_numbers_out_of_range_are_refused(most, apart):
    with pytest.raises(ConfigError, match="expected"):
        BestCrops(most, apart)
