"""The contact sheet: its layout, its colours, and that it repeats."""

import numpy as np
import pytest
from street_people import FULL, PLAIN

from passerby.data.world.attributes import PARTS
from passerby.data.world.cameras import CAMERAS
from passerby.data.world.contact_sheet import PART_COLOURS, contact_sheet, paint_mask, sheet_views
from passerby.data.world.render import View, render
from passerby.errors import DataError


def test_the_sheet_grows_by_one_row_per_person_and_repeats():
    one, two = contact_sheet([PLAIN], size=(64, 24)), contact_sheet([PLAIN, FULL], size=(64, 24))
    assert two.width == one.width
    assert 64 < two.height - one.height < 96
    np.testing.assert_array_equal(np.asarray(contact_sheet([PLAIN], size=(64, 24))), np.asarray(one))
    assert (np.asarray(contact_sheet([PLAIN], seed=1, size=(64, 24))) != np.asarray(one)).any()


def test_a_row_shows_every_camera_once():
    assert [view.camera for view in sheet_views(0)] == list(range(len(CAMERAS)))


def test_every_part_has_its_own_colour():
    assert len(set(PART_COLOURS)) == len(PARTS) == len(PART_COLOURS)
    rendering = render(FULL, View(camera=0, yaw=0.0), (64, 32))
    assert paint_mask(rendering).shape == (64, 32, 3)


def test_nobody_to_draw_is_refused():
    with pytest.raises(DataError, match="at least one identity"):
        contact_sheet([])
