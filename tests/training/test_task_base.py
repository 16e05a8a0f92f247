"""What all families say in the same words: where a checkpoint comes from, and that a run was begun on other data."""

from types import SimpleNamespace

import pytest
import torch

from passerby.errors import CheckpointError
from passerby.training.recipe import load_recipe
from passerby.training.tasks.base import described, refuse_other_data

DATASET = SimpleNamespace(name="street", licence="cc0-1.0", root="streets/one")


def test_a_checkpoint_says_where_it_comes_from():
    recipe = load_recipe("street")
    found = described(recipe, DATASET, "train", {"r1": 41.5}, "features of ")
    assert (found["name"], found["about"]) == (recipe.name, recipe.about)
    assert found["trained_on"] == "features of street, split train"
    assert found["licence"] == "cc0-1.0"
    assert found["metrics"] == {f"{recipe.evaluation.selection_split}_r1": 41.5}


def test_other_data_are_refused_by_name():
    mark = torch.arange(32, dtype=torch.uint8)
    refuse_other_data(mark, mark.clone(), DATASET, "train")
    with pytest.raises(CheckpointError, match="other features or people than the split 'train' of streets/one"):
        refuse_other_data(mark, mark + 1, DATASET, "train", "features or people")
