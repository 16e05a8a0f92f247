"""The best mixture on the reported split: found by trying each, labelled everywhere, and never in the honest row."""

from pathlib import Path

import numpy as np
import pytest

from passerby.data.records import Caption, PersonImage, Split
from passerby.errors import ConfigError
from passerby.evaluation import Features, evaluate_features, find_protocol, pool_queries
from passerby.evaluation.mixture_oracle import SHARES, evaluate_mixture_oracle
from passerby.evaluation.scoring import dot_product

BRANCHES = {"global": (0, 3), "local": (3, 7)}


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def street():
    images = tuple(PersonImage(f"{n}.png", Path(f"{n}.png"), n // 2, f"c{n % 2}") for n in range(24))
    captions = tuple(Caption(f"person {i.person_id}", i.image_id, i.person_id) for i in images[::2])
    return Split("test", images, captions)


def features_of(split, seed, mix=0.8):
    """Branches that each know something about a person, and a mixture of them."""
    draw = np.random.default_rng(seed)
    knows = {name: draw.normal(size=(len(split.images), stop - first)) for name, (first, stop) in BRANCHES.items()}

    def vectors(items):
        parts = [unit(knows[name][[i.person_id for i in items]] + draw.normal(size=(len(items), knows[name].shape[1])))
                 for name in BRANCHES]  # fmt: skip
        return parts, np.concatenate([mix**0.5 * parts[0], (1 - mix) ** 0.5 * parts[1]], axis=1).astype(np.float32)

    (pictures, images), (sentences, captions) = vectors(split.images), vectors(split.captions)
    return Features(images, captions), pictures, sentences


def naive_r1(split, pictures, sentences, share):
    """One sentence and one picture at a time."""
    right = 0
    for row, caption in enumerate(split.captions):
        scores = [share * sentences[0][row] @ pictures[0][n] + (1 - share) * sentences[1][row] @ pictures[1][n]
                  for n in range(len(split.images))]  # fmt: skip
        right += split.images[int(np.argmax(scores))].person_id == caption.person_id
    return 100 * right / len(split.captions)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_all_weights_equals_a_loop(street, seed):
    features, pictures, sentences = features_of(street, seed)
    rules = find_protocol("text-to-image", selection_split="val")
    report = evaluate_mixture_oracle(features, street, rules, BRANCHES, name="tiny")
    tried = {share: naive_r1(street, pictures, sentences, share) for share in SHARES}
    best = max(SHARES, key=lambda share: (tried[share], -abs(share - 0.5)))
    assert report.r1 == pytest.approx(tried[best])
    assert report.r1 >= evaluate_features(features, street, rules).r1, "0.8 is among what is tried"
    assert report.name == f"tiny, best of 21 mixing weights ({best:g}) on test itself; not a result"
    assert report.scoring == f"dot product, {best:g} global"


def test_it_is_labelled_in_name_protocol_and_warnings(street):
    features, *_ = features_of(street, 0)
    rules = find_protocol("text-to-image", selection_split="val")
    report = evaluate_mixture_oracle(features, street, rules, BRANCHES)
    assert "not a result" in report.name
    assert "selected on test (THE SAME: figures are too good)" in report.protocol.describe()
    assert "not a result" in report.warnings[-1]
    assert (rules.selection_split, rules.allow_test_selection) == ("val", False), "the honest protocol stays honest"


def test_pictures_may_ask_and_another_scoring_may_score(street):
    features, *_ = features_of(street, 1)
    pooled = pool_queries(features, street, features.images, street)
    rules = find_protocol("multi-query")
    report = evaluate_mixture_oracle(pooled, street, rules, BRANCHES, scoring=dot_product("cpu"))
    honest = evaluate_features(pooled, street, rules)
    assert report.counts == honest.counts
    assert report.protocol.query == "image"


@pytest.mark.parametrize(
    ("branches", "says"), [({}, "no branches"), ({"global": (0, 7)}, "global"), ({"local": (0, 7)}, "local")]
)
def test_vectors_without_both_branches_are_refused(street, branches, says):
    features, *_ = features_of(street, 0)
    with pytest.raises(ConfigError, match=rf"the vectors of tiny hold {says}\. It needs a model of the kind itself"):
        evaluate_mixture_oracle(features, street, find_protocol("text-to-image"), branches, name="tiny")
