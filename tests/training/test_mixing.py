"""The share of each branch is the best of all that are tried, found on the split it is given."""

import numpy as np
import torch

from itself_models import tiny_itself
from passerby.data.samplers import Pairs
from passerby.training.mixing import SHARES, mixed_figures
from passerby.training.tasks.pair_data import Prepared


def prepared(people=6):
    rng = np.random.default_rng(0)
    ids = np.zeros((people, 8), dtype=np.int64)
    ids[:, 0], ids[:, 1:5], ids[:, 5] = 50, rng.integers(1, 50, (people, 4)), 59
    return Prepared(
        rng.integers(0, 256, (people, 48, 24, 3), dtype=np.uint8), ids, Pairs(np.arange(people), np.arange(people))
    )


def test_the_best_share_is_found_and_its_figures_are_those_of_the_mixed_vector():
    model, split = tiny_itself(), prepared()
    mix, figures = mixed_figures(model, split, torch.device("cpu"), "map")
    by_hand = {}
    for share in SHARES:
        model.set_mix(share)
        mean = torch.tensor(model.preprocessing.mean).view(1, 3, 1, 1)
        std = torch.tensor(model.preprocessing.std).view(1, 3, 1, 1)
        images = (torch.from_numpy(split.pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
        with torch.no_grad():
            scores = (model.encode_texts(torch.from_numpy(split.token_ids)) @ model.encode_images(images).T).numpy()
        ranks = [1 + int((row > row[place]).sum()) for place, row in enumerate(scores)]
        by_hand[share] = 100 * np.mean([1 / rank for rank in ranks])  # one hit each, so AP is the reciprocal rank
    assert np.isclose(figures["map"], max(by_hand.values()))
    assert np.isclose(by_hand[mix], max(by_hand.values()))
    assert np.isclose(figures["map_global"], by_hand[1.0])
    assert np.isclose(figures["map_local"], by_hand[0.0])
    assert figures["mix"] == mix
