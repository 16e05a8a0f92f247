"""Grounding on a small street with masks: figures against a loop over phrases, and what cannot be judged."""

import numpy as np
import pytest
from PIL import Image

from itself_models import clip_tokenizer, tiny_itself
from passerby.data.images import decode_image, resize_image
from passerby.data.readers import open_dataset
from passerby.data.world.attributes import PART_LABEL
from passerby.data.world.sidecar import read_descriptions
from passerby.data.world.street import Street
from passerby.data.world.writing import write
from passerby.errors import ConfigError, DataError
from passerby.evaluation.grounding import CHANCE, MEASURES, evaluate_grounding
from passerby.models.explained import without
from passerby.models.explainer import Explainer

PLAN = {"train": 2, "val": 2, "test": 2, "train_views": 2, "test_views": 2}


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    root = tmp_path_factory.mktemp("street")
    write(Street(size=(96, 48), masks=True, **PLAN), root / "masks", workers=1)
    write(Street(size=(96, 48), **PLAN), root / "plain", workers=1)
    return root


@pytest.fixture(scope="module")
def explainer(tmp_path_factory):
    tokenizer = clip_tokenizer(tmp_path_factory.mktemp("tokenizer"), context_length=400)
    return Explainer(tiny_itself(tokenizer.vocabulary_size, context_length=400), tokenizer)


def naive(explainer, root, split):
    """Pointing of the patch mechanism and chance, one phrase and one pixel at a time."""
    described = read_descriptions(root, split.name)
    pointing, flat = [], []
    for image in split.images:
        pixels = resize_image(decode_image(image.path), (48, 24), explainer.model.preprocessing.interpolation)
        labels = np.array(Image.open((root / "masks" / image.image_id).with_suffix(".png")))
        for caption in split.captions:
            if caption.image_id != image.image_id:
                continue
            for phrase in described[image.image_id, caption.text].phrases:
                if phrase.part is None or (labels == PART_LABEL[phrase.part]).mean() < 0.002:
                    continue
                texts = explainer.encode([caption.text, without(caption.text, phrase.start, phrase.end)])
                heat = explainer.places(pixels).patch((texts[0] - texts[1])[None])[0]
                assert (heat == heat.max()).sum() == 1, "a phrase that was left out changes the sentence"
                row, column = divmod(int(heat.argmax()), 3)
                cell = labels[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
                pointing.append((cell == PART_LABEL[phrase.part]).mean())
                flat.append((labels == PART_LABEL[phrase.part]).mean())
    return 100 * np.mean(pointing), 100 * np.mean(flat), len(pointing)


def test_figures_equal_a_loop_over_phrases(street, explainer):
    split = open_dataset(f"rstpreid:{street / 'masks'}").split("val")
    report = evaluate_grounding(explainer, street / "masks", split, r1=12.5)
    pointing, flat, phrases = naive(explainer, street / "masks", split)
    assert sum(report.phrases.values()) == phrases
    assert report.figures["patch"]["pointing"] == pytest.approx(pointing, abs=1e-3)
    for measure in MEASURES:
        assert report.figures[CHANCE][measure] == pytest.approx(flat)
    assert {"gradient", "patch", "mars, no sentence", "D, no sentence", CHANCE} <= set(report.figures)
    assert report.as_dict()["r1"] == 12.5
    weighted = sum(report.phrases[part] * report.by_class["gradient"][part]["mass"] for part in report.phrases) / sum(
        report.phrases.values()
    )
    assert weighted == pytest.approx(report.figures["gradient"]["mass"])


def test_streets_without_masks_and_folders_that_are_none(street, explainer, tmp_path):
    split = open_dataset(f"rstpreid:{street / 'plain'}").split("val")
    with pytest.raises(ConfigError, match="--masks"):
        evaluate_grounding(explainer, street / "plain", split)
    with pytest.raises(DataError, match="no street"):
        evaluate_grounding(explainer, tmp_path, split)
    other = open_dataset(f"rstpreid:{street / 'masks'}").split("test")
    with pytest.raises(DataError, match="another street"):
        evaluate_grounding(explainer, street / "masks", type(other)("val", other.images, other.captions))
