"""Re-rankings as they are written, refused and reported."""

from pathlib import Path

import numpy as np
import pytest

from passerby.data.records import PersonImage, Split
from passerby.errors import ConfigError
from passerby.evaluation import Features, evaluate_features, find_protocol
from passerby.evaluation.reranking import K_RECIPROCAL_PRESETS, ReRanking, find_reranking
from passerby.metrics.k_reciprocal import KReciprocal, k_reciprocal_blocks
from passerby.metrics.query_expansion import AlphaExpansion, expanded_features


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k-reciprocal", ReRanking(KReciprocal(20, 6, 0.3))),
        ("k-reciprocal:", ReRanking(KReciprocal(20, 6, 0.3))),
        ("k-reciprocal:k1=7,k2=2,lambda=0.5,mode=gallery", ReRanking(KReciprocal(7, 2, 0.5), "gallery")),
        ("k-reciprocal: mode = transductive , k1 = 9", ReRanking(KReciprocal(9))),
        ("k-reciprocal:preset=clipreid", ReRanking(KReciprocal(50, 15, 0.3))),
        ("k-reciprocal:k2=1,preset=fastreid", ReRanking(KReciprocal(20, 1, 0.3, "fastreid"))),
        ("aqe", ReRanking(AlphaExpansion(5, 3.0))),
        ("aqe:k=10,alpha=0,mode=gallery", ReRanking(AlphaExpansion(10, 0.0), "gallery")),
    ],
)
def test_what_is_written_is_what_is_run(text, expected):
    assert find_reranking(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "k-reciprokal",
            "no re-ranking 'k-reciprokal'; expected one of k-reciprocal, aqe. Did you mean 'k-reciprocal'",
        ),
        ("", "no re-ranking ''"),
        ("K-reciprocal", "Did you mean 'k-reciprocal'"),
        ("k-reciprocal:kl=20", "no option of k-reciprocal 'kl'.*Did you mean"),
        ("k-reciprocal:lamda=0.3", "Did you mean 'lambda'"),
        ("aqe:k1=5", "no option of aqe 'k1'; expected one of k, alpha, mode"),
        ("aqe:preset=clipreid", "no option of aqe 'preset'"),
        ("k-reciprocal:preset=clip-reid", "no preset of k-reciprocal 'clip-reid'.*Did you mean 'clipreid'"),
        ("k-reciprocal:mode=galery", "no mode 'galery'.*Did you mean 'gallery'"),
        ("k-reciprocal:k1", "'k1' is no option; expected option=value"),
        ("k-reciprocal:k1=", "'k1=' is no option"),
        ("k-reciprocal:k1=2,k1=3", "gives k1 twice"),
        ("k-reciprocal:k1=2.5", "k1 is '2.5'; expected a whole number"),
        ("k-reciprocal:lambda=x", "lambda is 'x'; expected a number"),
        ("k-reciprocal:lambda=2", "lambda = 2.0; expected between 0 and 1"),
        ("k-reciprocal:k1=0", "k1 = 0; expected at least 1"),
        ("aqe:alpha=inf", "alpha = inf"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text, words):
    with pytest.raises(ConfigError, match=words):
        find_reranking(text)


def test_a_mode_of_ones_own_is_refused():
    with pytest.raises(ConfigError, match="no mode 'both'; expected one of transductive, gallery"):
        ReRanking(KReciprocal(), "both")


@pytest.mark.parametrize(
    ("text", "name", "transductive"),
    [
        ("k-reciprocal", "k-reciprocal (k1 20, k2 6, lambda 0.3, transductive)", True),
        ("k-reciprocal:mode=gallery,lambda=0", "k-reciprocal (k1 20, k2 6, lambda 0, gallery-only)", False),
        (
            "k-reciprocal:preset=fastreid",
            "k-reciprocal (fastreid variant, k1 20, k2 6, lambda 0.3, transductive)",
            True,
        ),
        ("aqe:mode=gallery", "aqe (k 5, alpha 3, gallery-only)", False),
    ],
)
def test_a_name_says_every_number_and_the_mode(text, name, transductive):
    scoring = find_reranking(text).scoring()
    assert (scoring.name, scoring.transductive) == (name, transductive)


def test_presets_differ_as_their_projects_do():
    assert K_RECIPROCAL_PRESETS["canonical"] == KReciprocal()
    assert K_RECIPROCAL_PRESETS["clipreid"] == KReciprocal(50, 15)
    assert K_RECIPROCAL_PRESETS["fastreid"].whole == 20 < K_RECIPROCAL_PRESETS["canonical"].whole


def search(seed=0, queries=40, gallery=300):
    random = np.random.default_rng(seed)
    directions = random.normal(size=(20, 12))
    owner = [random.integers(20, size=size) for size in (queries, gallery)]
    vectors = [directions[who] + 1.2 * random.normal(size=(len(who), 12)) for who in owner]
    return [(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) for rows in vectors], owner


@pytest.mark.parametrize("mode", ["transductive", "gallery"])
def test_scores_are_distances_turned_around_and_dot_products_of_expanded_vectors(mode):
    (queries, gallery), _ = search()
    nobody = np.full(len(queries), -1)
    blocks = list(find_reranking(f"k-reciprocal:mode={mode}").scoring().blocks(queries, gallery, nobody))
    distance = np.concatenate(list(k_reciprocal_blocks(queries, gallery, transductive=mode == "transductive")))
    np.testing.assert_array_equal(np.concatenate(blocks), -distance)
    blocks = list(find_reranking(f"aqe:mode={mode}").scoring().blocks(queries, gallery, nobody))
    left, right = expanded_features(queries, gallery, transductive=mode == "transductive")
    np.testing.assert_allclose(np.concatenate(blocks), left @ right.T, atol=1e-6)


def split_of(owner, *, junk=()):
    images = [
        PersonImage(f"{number}", Path(f"{number}.jpg"), int(who), f"c{number % 3}", junk=number in junk)
        for number, who in enumerate(owner)
    ]
    return Split("test", tuple(images), ())


@pytest.mark.parametrize("text", ["k-reciprocal", "k-reciprocal:mode=gallery", "k-reciprocal:preset=fastreid", "aqe"])
def test_a_report_says_how_it_was_re_ranked_and_is_better_for_it(text):
    (_, gallery), (_, owner) = search()
    split, protocol = split_of(owner), find_protocol("image-to-image")
    plain = evaluate_features(Features(gallery), split, protocol)
    better = evaluate_features(Features(gallery), split, protocol, scoring=find_reranking(text).scoring())
    assert better.map > plain.map + 5
    assert better.scoring == find_reranking(text).describe()
    assert better.transductive == ("gallery" not in text)


def test_junk_of_the_data_set_is_in_nobodys_neighbourhood():
    (_, gallery), (_, owner) = search()
    junk = set(range(0, 300, 3))
    kept = [number for number in range(300) if number not in junk]
    scoring, protocol = find_reranking("k-reciprocal").scoring(), find_protocol("image-to-image")
    with_junk = evaluate_features(Features(gallery), split_of(owner, junk=junk), protocol, scoring=scoring)
    without = evaluate_features(Features(gallery[kept]), split_of(owner[kept]), protocol, scoring=scoring)
    assert with_junk.figures == without.figures
