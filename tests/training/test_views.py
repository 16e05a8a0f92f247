"""Views of pictures: they stay pictures, the seed decides, and each change is what it says."""

import pytest
import torch

from passerby.training import views
from passerby.training.views import drawn_views, strong_views


def pictures(count=6, height=20, width=12):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("change", [lambda x, g: drawn_views(x, 2, g), strong_views])
def test_views_are_pictures_and_the_seed_decides(change):
    images = pictures()
    found = change(images, seeded())
    assert found.shape == images.shape
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    assert torch.equal(found, change(images, seeded()))
    assert not torch.equal(found, change(images, seeded(1)))
    assert (found != images).flatten(1).any(dim=1).sum() > 3


def moved(images, angle=0.0, area=1.0, mirrored=False):
    count = len(images)
    parts = torch.full((count,), angle), torch.full((count,), area), torch.full((count,), mirrored)
    return views._moved(images, *parts, seeded())


def test_nothing_moved_is_the_same_and_mirrored_is_the_mirror_image():
    images = pictures()
    torch.testing.assert_close(moved(images), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved(images, mirrored=True), images.flip(3), atol=1e-5, rtol=0)


def test_a_half_turn_turns_a_picture_around():
    images = pictures()
    torch.testing.assert_close(moved(images, angle=torch.pi), images.flip(2, 3), atol=1e-4, rtol=0)


def test_a_quarter_turn_of_a_square_is_a_rotation():
    images = pictures(height=12)
    turned = moved(images, angle=torch.pi / 2)
    options = [images.rot90(1, (2, 3)), images.rot90(3, (2, 3))]
    assert min(float((turned - one).abs().max()) for one in options) < 1e-4


def test_what_is_cut_out_lies_inside():
    ramp = torch.linspace(0, 1, 40).view(1, 1, 1, 40).expand(8, 3, 40, 40)
    found = moved(ramp.contiguous(), area=0.25)
    widths = found[:, 0, 0].amax(dim=1) - found[:, 0, 0].amin(dim=1)
    torch.testing.assert_close(widths, torch.full((8,), 0.5), atol=0.03, rtol=0)


def test_colours_go_and_stay():
    images = pictures()
    grey = views._greyed(images, torch.tensor([True] * 3 + [False] * 3))
    assert (grey[:3, 0] == grey[:3, 1]).all()
    assert torch.equal(grey[3:], images[3:])
    torch.testing.assert_close(views._recoloured(images, torch.zeros(6), seeded()), images)
    assert (views._recoloured(images, torch.full((6,), 0.4), seeded()) - images).abs().max() > 0.05


def test_erased_rectangles_have_the_size_asked_for():
    images = torch.ones(400, 3, 40, 20)
    chosen = torch.arange(400) % 2 == 0
    share = (views._erased(images, chosen, seeded()) == 0).float().mean(dim=(1, 2, 3))
    assert (share[1::2] == 0).all()
    assert float(share[::2].min()) > 0.05
    assert float(share[::2].max()) < 0.25
    assert 0.12 < float(share[::2].mean()) < 0.18


def test_a_blur_keeps_what_is_even_and_the_mean():
    flat = torch.full((2, 3, 30, 20), 0.3)
    torch.testing.assert_close(views._blurred(flat), flat)
    dot = torch.zeros(1, 3, 31, 31)
    dot[..., 15, 15] = 1
    found = views._blurred(dot)
    assert float(found.sum()) == pytest.approx(3.0, abs=1e-4)
    assert float(found.max()) < 1
    torch.testing.assert_close(found, found.flip(2, 3))
