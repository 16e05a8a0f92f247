"""What pulls a dual encoder together: which loss, which learning rates, and the loss of a split."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import coloured_people

from passerby.data.readers import open_dataset
from passerby.data.records import Dataset
from passerby.data.samplers import Pairs
from passerby.errors import ConfigError
from passerby.losses.identity_contrastive import identity_contrastive
from passerby.losses.info_nce import info_nce
from passerby.losses.soft_target import soft_target
from passerby.models.dual_encoder import unit_rows
from passerby.training.gather import first_row
from passerby.training.precision import attention_kernel
from passerby.training.recipe import load_recipe, parse_recipe
from passerby.training.tasks.dual_encoder import DualEncoderTask
from passerby.training.tasks.dual_encoder_losses import contrast, first_temperature, split_loss
from passerby.training.tasks.dual_encoder_recipe import ObjectiveConfig
from passerby.training.tasks.pair_data import encode, prepare

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(coloured_people.write(tmp_path_factory.mktemp("people") / "set"))


def recipe(**sections):
    tree = coloured_people.recipe()
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return parse_recipe(tree)


def task_of(dataset, **sections):
    return DualEncoderTask(recipe(**sections), dataset)


def step(task):
    """Losses of the first step."""
    generator = torch.Generator().manual_seed(0)
    return task.losses(task.model.train(), task.fetch(task.plan(0)[0]), generator, CPU)


def pairs(rows=6, dim=5):
    torch.manual_seed(0)
    return torch.randn(rows, dim), torch.randn(rows, dim), torch.tensor([0, 0, 1, 2, 3, 3])


def test_each_name_is_its_loss():
    images, texts, ids = pairs()
    own, scale = (images, texts, ids), torch.tensor(3.0)
    assert contrast(ObjectiveConfig(), own, own, scale) == identity_contrastive(images, texts, ids, scale)
    assert contrast(ObjectiveConfig(name="info_nce"), own, own, scale) == info_nce(images, texts, scale)
    soft = ObjectiveConfig(name="soft_target", temperature=1.0)
    assert contrast(soft, own, own, scale) == soft_target(images, texts)
    assert first_row(7) == 0


def test_the_loss_of_a_split_is_the_mean_over_its_batches():
    torch.manual_seed(0)
    images, texts = unit_rows(torch.randn(9, 4)), unit_rows(torch.randn(18, 4))
    image_of = np.repeat(np.arange(9), 2)
    resolved = recipe(objective={"name": "info_nce"}, optimisation={"batch_size": 4})
    found = split_loss(resolved, images, texts, Pairs(image_of, np.arange(9)), torch.tensor(5.0))
    order = np.random.default_rng(20).permutation(9)
    by_hand = [info_nce(images[rows], texts[2 * rows], 5.0) for rows in (order[:4], order[4:8])]
    assert found == pytest.approx(float(torch.stack(by_hand).mean()), rel=1e-6)


def test_soft_targets_learn_no_scale_and_keep_the_vectors_length(dataset):
    task = task_of(
        dataset,
        model={"projection": "residual"},
        objective={"name": "soft_target", "temperature": 1.0},
        evaluation={"metric": "loss"},
    )
    assert first_temperature(task.recipe) == pytest.approx(1 / 16)
    step(task)["contrastive"].backward()
    assert task.model.log_scale.grad is None
    assert all(one.grad is not None for name, one in task.model.named_parameters() if name != "log_scale")
    with torch.inference_mode():
        raw, _ = encode(task.model.eval(), task.selection, unit=False)
        selection = task.validate(task.model)
    assert torch.allclose(raw.norm(dim=1), torch.full((len(raw),), 4.0), atol=0.05)
    assert selection.value == -selection.figures["loss"]


def test_the_street_recipe_learns_as_before(dataset):
    task = task_of(dataset)
    assert set(step(task)) == {"contrastive"}
    assert task.model.log_scale.requires_grad
    with torch.inference_mode():
        assert set(task.validate(task.model.eval()).figures) == {"r1", "map"}


def test_photographs_of_anything_are_each_their_own(dataset):
    train = dataset.split("train")
    nameless = replace(train, images=tuple(replace(image, person_id=None) for image in train.images))
    task = DualEncoderTask(recipe(), Dataset("x", dataset.root, {"train": nameless}))
    assert task.train.pairs.person_of.tolist() == list(range(len(train.images)))
    assert prepare(nameless, task.tokenizer, task.preprocessing).pairs.person_of.max() == len(train.images) - 1


def test_three_learning_rates(dataset, tmp_path):
    from safetensors.torch import save_file
    from timm import create_model

    save_file(create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "model.safetensors")
    image = {"name": "timm:test_resnet", "options": {"weights": str(tmp_path)}}
    resolved = parse_recipe(
        coloured_people.recipe(
            image, optimisation={"tower_rate": 0.1, "text_tower_rate": 0.01, "weight_decay": 0.5, "tower_decay": 0.0}
        )
    )
    resolved = resolved.model_copy(
        update={
            "model": resolved.model.model_copy(
                update={"attention": {"image": {"name": "self", "options": {"width": 16}}}}
            )
        }
    )
    task = DualEncoderTask(resolved, dataset)
    rates = {
        id(one): (group["rate"], group.get("weight_decay"))
        for group in task.parameter_groups()
        for one in group["params"]
    }
    named = {name: rates[id(one)] for name, one in task.model.named_parameters()}
    assert {value for name, value in named.items() if name.startswith("image_tower.tower.")} == {(0.1, 0.0)}
    assert named["image_tower.mixer.enter.weight"] == (1.0, None)
    assert named["text_projection.weight"] == (1.0, None)


@pytest.mark.parametrize(
    ("section", "content", "words"),
    [
        ("model", {"attention": "sprase"}, "Did you mean 'sparse'"),
        ("model", {"attention": "cross"}, "it is a re-ranker"),
        ("model", {"projection": "residul"}, "Did you mean 'residual'"),
    ],
)
def test_unknown_names_come_with_the_nearest(dataset, section, content, words):
    with pytest.raises(ConfigError, match=words):
        task_of(dataset, **{section: content})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"legacy": True}, "legacy is about soft_target"),
        ({"name": "softtarget"}, "soft_target"),
    ],
)
def test_objectives_that_make_no_sense_are_refused(content, words):
    with pytest.raises(ConfigError, match=words):
        recipe(objective=content)


@pytest.mark.parametrize("name", ["attention-flickr30k", "attention-rstpreid", "attention-street"])
def test_recipes_of_the_study_compose(name):
    changed = load_recipe(name, ["model.image.name=fastvit_t8", "model.attention=sparse"])
    assert (changed.model.image.name, changed.model.attention) == ("fastvit_t8", "sparse")


def test_the_reports_rates_and_sizes():
    flickr, people = load_recipe("attention-flickr30k"), load_recipe("attention-rstpreid")
    for one in (flickr, people):
        options = one.optimisation
        rates = [options.learning_rate * factor for factor in (1, options.tower_rate, options.text_tower_rate)]
        assert rates == pytest.approx([1e-3, 1e-4, 1e-5])
        assert (options.schedule, options.patience, options.decay, options.epochs) == ("plateau", 1, 0.8, 2)
        assert (options.weight_decay, options.tower_decay) == (1e-3, 0)
        assert one.evaluation.metric == "loss"
    assert (flickr.optimisation.batch_size, flickr.model.tokenizer.context_length) == (32, 64)
    assert (people.optimisation.batch_size, people.model.tokenizer.context_length) == (48, 200)


def test_the_attention_kernel_is_chosen_where_bfloat16_meets_a_processor():
    with attention_kernel("bf16", CPU):
        assert not torch.backends.cuda.flash_sdp_enabled()
    with attention_kernel("no", CPU):
        assert torch.backends.cuda.flash_sdp_enabled()
