"""The renderer: same bytes everywhere, labels that agree with the identity, attributes that show."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from street_people import FULL, PLAIN, digest, random_identity

from passerby.data.world.attributes import PART_LABEL, PARTS, VALUES
from passerby.data.world.cameras import CAMERAS, LIGHTS
from passerby.data.world.canvas import Canvas
from passerby.data.world.figure import Figure
from passerby.data.world.render import View, crop_size, draw_person, facing, render, sample_view
from passerby.data.world.scenery import OCCLUDERS
from passerby.errors import DataError

SIZE = (128, 64)


def share(rendering, part):
    return float(rendering.visible[PART_LABEL[part]])


def test_same_inputs_same_bytes_in_another_process():
    code = "from street_people import digest; print(digest())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    assert done.stdout.strip() == digest()


def test_a_picture_does_not_depend_on_what_was_drawn_before():
    view = View(camera=3, yaw=20.0, seed=5)
    first = render(PLAIN, view, SIZE).image
    for camera in range(len(CAMERAS)):
        render(FULL, View(camera=camera, yaw=100.0, bystanders=2, seed=camera), (96, 40))
    np.testing.assert_array_equal(render(PLAIN, view, SIZE).image, first)


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (100, 40), (128, 64), (96, 48), (384, 128), (64, 256)])
def test_every_size_gives_arrays_of_that_size(size):
    rendering = render(FULL, View(camera=5, yaw=45.0, occluder="bench", bystanders=1), size)
    assert rendering.image.shape == (*size, 3)
    assert rendering.image.dtype == np.uint8
    assert rendering.mask.shape == size
    assert rendering.mask.dtype == np.uint8
    assert rendering.mask.max() < len(PARTS)
    assert rendering.visible.shape == rendering.full.shape == (len(PARTS),)


def test_visible_is_the_mask_counted():
    rng = np.random.default_rng(1)
    for _ in range(20):
        rendering = render(random_identity(rng), sample_view(rng), SIZE)
        for part in PARTS:
            expected = float((rendering.mask == PART_LABEL[part]).mean())
            if part in ("background", "occluder", "bystander"):
                expected = 0.0
            assert share(rendering, part) == pytest.approx(expected, abs=1e-6)
        assert (rendering.visible <= rendering.full + 1e-6).all()


def test_labels_agree_with_the_identity():
    rng = np.random.default_rng(2)
    for _ in range(60):
        person, view = random_identity(rng), sample_view(rng)
        rendering = render(person, view, SIZE)
        for part, attribute in (("bag", "bag"), ("carried", "carried"), ("headwear", "headwear"), ("outer", "outer")):
            if getattr(person, attribute) == "none":
                assert rendering.full[PART_LABEL[part]] == 0, (part, person)
        if person.hair == "bald":
            assert rendering.full[PART_LABEL["hair"]] == 0
        if view.occluder == "none":
            assert not (rendering.mask == PART_LABEL["occluder"]).any()
        if person.outer != "coat":  # which may be longer than a skirt
            assert rendering.full[PART_LABEL["bottom"]] > 0
        assert rendering.full[PART_LABEL["shoes"]] > 0


@pytest.mark.parametrize("yaw", [0.0, 90.0, 180.0, 270.0])
def test_what_a_person_has_is_seen_from_its_side(yaw):
    rendering = render(FULL, View(camera=0, yaw=yaw), SIZE)
    for part in ("skin", "hair", "headwear", "outer", "bottom", "shoes"):
        assert share(rendering, part) > 0.001, part
    if yaw == 180.0:
        assert share(rendering, "bag") > 0.03
        assert share(rendering, "face") == 0
    if yaw == 0.0:
        assert share(rendering, "face") > 0.005
        assert 0 < share(rendering, "bag") < 0.03  # the straps


def test_a_closed_front_hides_the_top_and_an_open_one_shows_it():
    front = View(camera=0, yaw=0.0)
    closed = render(replace(FULL, bag="none", outer_front="closed"), front, SIZE)
    opened = render(replace(FULL, bag="none", outer_front="open"), front, SIZE)
    assert share(opened, "top") > 0.02
    assert share(closed, "top") < 0.25 * share(opened, "top")


def context(attribute):
    """A person on whom every value of the attribute can be seen from the front, or the side where that is needed."""
    dressed = replace(PLAIN, gender="woman", hair="long")
    owner = {
        "headwear_colour": {"headwear": "cap"},
        "outer_colour": {"outer": "coat"},
        "outer_front": {"outer": "coat"},
        "bag_colour": {"bag": "handbag"},
        "carried_colour": {"carried": "umbrella"},
    }.get(attribute, {})
    return replace(dressed, **owner)


@pytest.mark.parametrize("attribute", list(VALUES))
def test_each_value_of_each_attribute_changes_the_picture(attribute):
    seen = {}
    for value in VALUES[attribute]:
        person = replace(context(attribute), **{attribute: value})
        views = (View(camera=0, yaw=15.0, phase=0.2), View(camera=0, yaw=100.0, phase=0.2))
        seen[value] = np.concatenate([render(person, view, SIZE).image for view in views]).astype(np.int16)
    values = list(seen)
    for index, one in enumerate(values):
        for other in values[index + 1 :]:
            changed = np.abs(seen[one] - seen[other]).max(axis=2) > 12
            assert changed.sum() >= 12, (attribute, one, other, int(changed.sum()))


@pytest.mark.parametrize("occluder", [name for name in OCCLUDERS if name != "none"])
def test_an_occluder_hides_but_does_not_change_what_is_there(occluder):
    free = render(FULL, View(camera=1, yaw=30.0, seed=4), SIZE)
    hidden = render(FULL, View(camera=1, yaw=30.0, seed=4, occluder=occluder), SIZE)
    assert (hidden.mask == PART_LABEL["occluder"]).any()
    np.testing.assert_array_equal(hidden.full, free.full)
    assert hidden.visible.sum() < free.visible.sum()
    assert hidden.visible.sum() > 0.35 * free.visible.sum()


def test_bystanders_are_labelled_and_are_not_the_person():
    counts = []
    for seed in range(12):
        alone = render(PLAIN, View(camera=0, yaw=10.0, seed=seed), SIZE)
        crowd = render(PLAIN, View(camera=0, yaw=10.0, seed=seed, bystanders=2), SIZE)
        np.testing.assert_array_equal(crowd.full, alone.full)
        counts.append(int((crowd.mask == PART_LABEL["bystander"]).sum()))
    assert min(counts) > 0


def test_the_fullest_picture_fits_the_canvas():
    busy = replace(
        PLAIN, age="elderly", gender="woman", hair="long", headwear="beanie", top="shirt", outer="coat",
        outer_front="closed", bottom="jeans", bag="suitcase", carried="umbrella",
    )  # fmt: skip
    bystander = replace(busy, headwear="none", bag="none", carried="none")

    def most_pieces(person):
        counts = []
        for yaw in range(0, 360, 5):
            canvas = Canvas(256, 128)
            draw_person(Figure(canvas, person, float(yaw), 0.2, 10.0, 200.0, (64.0, 250.0)))
            counts.append(len(canvas.pieces))
        return max(counts)

    assert most_pieces(busy) + 2 * most_pieces(bystander) + 12 <= 255


def test_cameras_and_lights_change_colours_but_not_masks():
    views = [View(camera=0, yaw=0.0, light=light) for light in LIGHTS]
    brightness = [render(PLAIN, view, SIZE).image.mean() for view in views]
    assert brightness[0] > brightness[1] > brightness[2] > 25
    day = render(PLAIN, views[0], SIZE)
    np.testing.assert_array_equal(render(PLAIN, views[2], SIZE).mask, day.mask)


def test_sampled_views_are_valid_varied_and_reproducible():
    views = [sample_view(np.random.default_rng(seed)) for seed in range(300)]
    assert views == [sample_view(np.random.default_rng(seed)) for seed in range(300)]
    assert {view.camera for view in views} == set(range(len(CAMERAS)))
    assert {facing(view.yaw) for view in views} == {"front", "side", "back"}
    assert {view.occluder for view in views} == set(OCCLUDERS)
    assert {sample_view(np.random.default_rng(seed), camera=2).camera for seed in range(9)} == {2}
    sizes = [crop_size(view) for view in views]
    assert all(100 <= height <= 384 and 40 <= width <= 128 for height, width in sizes)
    assert max(height for height, _ in sizes) > 330
    assert min(height for height, _ in sizes) < 120


def test_a_tighter_crop_cuts_and_a_wider_one_shrinks():
    loose = render(PLAIN, View(camera=0, yaw=0.0, crop=(0.2, 0.0, 0.2, 0.0)), SIZE)
    exact = render(PLAIN, View(camera=0, yaw=0.0), SIZE)
    assert loose.visible.sum() < exact.visible.sum()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": 99}, "camera 99"),
        ({"camera": -1}, "camera -1"),
        ({"light": "dusk"}, "light 'dusk'"),
        ({"occluder": "poles"}, "Did you mean 'pole'"),
        ({"bystanders": 3}, "bystanders is 3"),
        ({"crop": (0.9, 0.0, 0.0, 0.0)}, "crop is"),
        ({"crop": (0.0, 0.0)}, "crop is"),
        ({"yaw": float("nan")}, "finite"),
    ],
)
def test_a_wrong_view_is_refused(change, words):
    with pytest.raises(DataError, match=words):
        View(**({"camera": 0, "yaw": 0.0} | change))


@pytest.mark.parametrize("size", [(0, 64), (128, 15), (2000, 64), (128, -3)])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(DataError, match="size is"):
        render(PLAIN, View(camera=0, yaw=0.0), size)
