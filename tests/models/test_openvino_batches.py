"""OpenVINO's towers by the shape they are compiled for: however a batch is cut, each picture has its own vector."""

import numpy as np
import pytest

from passerby.models.checkpoint import read_checkpoint
from passerby.models.runtimes.openvino_engine import OpenVinoRuntime, pictures_together
from passerby.models.sources import locate

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def checkpoint():
    return read_checkpoint(locate("street").folder)


@pytest.fixture(scope="module")
def pixels(checkpoint):
    size = checkpoint.config.pictures.image_size
    return np.random.default_rng(0).integers(0, 256, (71, *size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "together"),
    [((224, 224), 8), ((384, 128), 8), ((256, 128), 8), ((300, 300), 4), ((96, 48), 32), ((1000, 1000), 1)],
)
def test_pictures_together_are_a_power_of_two_within_the_cache(size, together):
    assert pictures_together(*size) == together


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_of_any_length_gives_the_vectors_of_single_pictures(checkpoint, pixels, threads):
    engine = OpenVinoRuntime(checkpoint, threads, precision="f32")
    alone = np.concatenate([engine.images(pixels[row : row + 1]) for row in range(len(pixels))])  # (B, D)
    assert np.linalg.norm(alone[0] - alone[1]) > 1e-3
    for count in (1, 2, 31, 32, 33, 64, 71):
        found = engine.images(pixels[:count])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, alone[:count], atol=2e-6)


def test_a_result_outlives_the_next_batch_and_its_input(checkpoint, pixels):
    engine = OpenVinoRuntime(checkpoint, 1)
    own = pixels[:32].copy()
    first = engine.images(own)
    kept = first.copy()
    own[:] = 0
    engine.images(pixels[32:64])
    np.testing.assert_array_equal(first, kept)


def test_each_shape_is_compiled_when_it_is_first_needed(checkpoint, pixels, monkeypatch):
    engine, opened = OpenVinoRuntime(checkpoint, 2), []
    plain = engine._open
    monkeypatch.setattr(engine, "_open", lambda *shape: opened.append(shape) or plain(*shape))
    for count in (1, 64, 32, 33, 71):
        engine.images(pixels[:count])
    assert opened == [("image", 1, 1), ("image", 32, 2), ("image", -1, 2)]
    ids = np.array([[3, 5, 7]])
    engine.texts(ids)
    engine.texts(np.repeat(ids, 2, axis=0))
    assert opened[3:] == [("text", 1, 1), ("text", -1, 2)]
