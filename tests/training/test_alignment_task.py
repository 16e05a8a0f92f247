"""The family alignment: its recipes, batches of whole people, rates, resuming, what it saves and what it refuses."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))

import coloured_people

from passerby.data.readers import open_dataset
from passerby.data.samplers import Pairs
from passerby.errors import ConfigError
from passerby.models.checkpoint import read_checkpoint
from passerby.models.restore import restore_model
from passerby.training.loop import train
from passerby.training.recipe import load_recipe, parse_recipe, recipe_names
from passerby.training.run import _some_idle, run_recipe
from passerby.training.tasks.alignment import AlignmentTask, plan_pairs
from passerby.training.tasks.alignment_recipe import AlignmentRecipe, PairDataConfig

VIT = {"name": "clip", "options": {"patch": 8, "channels": 16, "layers": 2, "heads": 2}}
TEXT = {"name": "transformer", "options": {"channels": 16, "layers": 2, "heads": 2}}
#: The losses of each method, small.
METHODS = {
    "tal-cid": {"tal": {}, "cid": {}},
    "irra": {"sdm": {}, "id": {}, "mlm": {"words": "shared", "layers": 1, "heads": 2}},
    "own words": {"contrastive": {}, "mlm": {"layers": 1, "heads": 2}},
    "tbps-clip": {"n_itc": {"second_view": True}, "r_itc": {}, "c_itc": {"weight": 0.1}, "ss": {"width": 16, "out": 8}},
}


def tree(objectives=None, **sections):
    found = {
        "name": "miniature",
        "task": "alignment",
        "data": {"image_size": [32, 16], "sampler": "identity"},
        "model": {
            "image": VIT,
            "text": TEXT,
            "tokenizer": {"vocabulary": 128, "context_length": 24},
            "embedding_dim": 16,
        },
        "objectives": objectives or METHODS["tal-cid"],
        "captions": {"touch": 0.2, "delete": 0.0},
        "optimisation": {"epochs": 2, "batch_size": 8, "learning_rate": 0.003, "ema": 0.5, "precision": "fp32"},
        "evaluation": {"every": 1},
    }
    for name, section in sections.items():
        found[name] = {**found.get(name, {}), **section} if isinstance(section, dict) else section
    return found


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(coloured_people.write(tmp_path_factory.mktemp("people") / "set"))


def task_of(dataset, objectives=None, **sections):
    return AlignmentTask(parse_recipe(tree(objectives, **sections)), dataset)


def losses_of(task, seed=0):
    batch = task.fetch(task.plan(0)[0])
    return task.losses(task.model, batch, torch.Generator().manual_seed(seed), torch.device("cpu"))


# -- recipes --------------------------------------------------------------------------------------------------------


def test_every_shipped_alignment_is_one_and_aims_at_something():
    folder = Path(load_recipe.__code__.co_filename).parent / "recipes"
    names = [name for name in recipe_names() if isinstance(load_recipe(name), AlignmentRecipe)]
    assert {"irra", "irra-sdm-id", "tal-cid", "rde", "tbps-clip", "tbps-clip-s", "itself"} <= set(names)
    for name in names:
        head = (folder / f"{name}.yaml").read_text(encoding="utf-8").split("name:")[0]
        aims = all(data in head for data in ("CUHK-PEDES", "ICFG-PEDES", "RSTPReid"))
        assert aims != name.startswith("street-"), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": {"tall": {}}}, r"objectives.tall: no such key; .*Did you mean 'tal'"),
        ({"objectives": {"sdm": {"temperature": 0}}}, r"objectives.sdm.temperature: .*greater than 0"),
        ({"objectives": {"tal": None, "cid": None}}, "objectives are empty"),
        ({"objectives": {"mlm": {"words": "shared"}}, "captions": {"touch": 0.0}}, "set captions.touch above 0"),
        ({"captions": {"mask": 0.9, "replace": 0.2}}, r"mask \+ replace \+ delete is 1.1"),
        ({"consensus": {}}, "set objectives.tal and model.local"),
        ({"model": {"clip": "somewhere"}}, "give either model.clip, or model.start, or both"),
        ({"model": {"start": "somewhere"}}, "give either model.clip, or model.start, or both"),
        ({"model": {"local": {"selector": "mars", "ratios": 1}}}, "local.ratios: no such key"),
        ({"optimisation": {"batch_size": 9}}, "no multiple of data.pairs_each=2"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        parse_recipe(tree(**change))


# -- batches --------------------------------------------------------------------------------------------------------


def test_rstpreid_has_144_batches_of_128_people_and_processes_take_whole_people():
    pairs = Pairs(np.repeat(np.arange(3701 * 5), 2), np.repeat(np.arange(3701), 5))
    plan = plan_pairs(pairs, PairDataConfig(sampler="identity"), 256, np.random.default_rng(0))
    assert plan.shape == (144, 256, 2)
    assert (pairs.image_of[plan[..., 1]] == plan[..., 0]).all()
    people = pairs.person_of[plan[..., 0]].reshape(144, 128, 2)
    assert (people[..., 0] == people[..., 1]).all()
    assert all(len(np.unique(step)) == 128 for step in people[..., 0])
    assert len(np.unique(plan[..., 1])) == 144 * 256  # no pair twice
    halves = people.reshape(144, 2, -1)  # what each of two processes takes
    assert not any(set(half[0]) & set(half[1]) for half in halves)


def test_every_caption_comes_once_an_epoch():
    pairs = Pairs(np.repeat(np.arange(20), 2), np.repeat(np.arange(5), 4))
    plan = plan_pairs(pairs, PairDataConfig(sampler="pairs"), 8, np.random.default_rng(0))
    assert sorted(plan[..., 1].ravel()) == list(range(40))
    assert (pairs.image_of[plan[..., 1]] == plan[..., 0]).all()


def test_too_few_people_for_a_batch_are_refused(dataset):
    with pytest.raises(ConfigError, match=r"needs 16 people in a batch, and the split has 12; .* at most 24"):
        task_of(dataset, optimisation={"batch_size": 32}).plan(0)


def test_identities_with_gaps_are_numbered(dataset):
    train = dataset.split("train")
    sparse = replace(
        train,
        images=tuple(replace(image, person_id=10 * image.person_id + 3) for image in train.images),
        captions=tuple(replace(caption, person_id=None) for caption in train.captions),
    )
    task = AlignmentTask(parse_recipe(tree()), replace(dataset, splits={**dataset.splits, "train": sparse}))
    assert task.train.pairs.person_of.max() == 11
    for name, value in losses_of(task).items():
        torch.testing.assert_close(value, losses_of(task_of(dataset))[name])


@pytest.mark.parametrize("objectives", METHODS.values(), ids=METHODS)
def test_a_caption_that_loses_every_word_still_has_a_loss(dataset, objectives):
    changes = {"touch": 1.0, "mask": 1.0, "replace": 0.0} if "mlm" in objectives else {
        "touch": 1.0, "mask": 0.0, "replace": 0.0, "delete": 1.0,
    }  # fmt: skip
    task = task_of(dataset, objectives, captions=changes)
    losses = losses_of(task)
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in task.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("objectives", [METHODS["irra"], METHODS["own words"], METHODS["tbps-clip"]])
def test_losses_on_tokens_and_views_see_the_same_beside_a_local_branch(dataset, objectives):
    """`mlm`, `ss` and second views look at the global branch; a local one beside it changes none of them."""
    names = [name for name in objectives if name in ("mlm", "ss")]
    still = {"model": {"text": {**TEXT, "options": {**TEXT["options"], "dropout": 0.0}}}}
    both = {"model": {**still["model"], "local": {"dim": 8, "norm": "layer"}}}
    whole = {name: {**options, "branches": "global"} for name, options in objectives.items()}
    plain, mixed = task_of(dataset, whole, **still), task_of(dataset, whole, **both)
    mixed.model.encoder.load_state_dict(plain.model.encoder.state_dict(), strict=False)
    mixed.model.objectives.load_state_dict(plain.model.objectives.state_dict())
    expected, found = losses_of(plain), losses_of(mixed)
    for name in objectives:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
    sum(found[name] for name in names).backward()
    assert float(mixed.model.encoder.image_tower.patches.weight.grad.abs().max()) > 0


def test_shared_words_are_those_that_all_losses_see_masked(dataset):
    task = task_of(dataset, METHODS["irra"], captions={"touch": 0.5, "mask": 1.0, "replace": 0.0})
    batch = task.fetch(task.plan(0)[0])
    inputs = task._inputs(batch, torch.Generator().manual_seed(0), torch.device("cpu"), weighted=False)
    for ids, original, words in zip(inputs.groups, batch.token_ids, inputs.masked, strict=True):
        assert words.ids is None
        assert (ids.flatten()[words.places] == task.vocabulary.mask_id).all()
        assert (original.flatten()[words.places] == words.labels).all()


# -- training -------------------------------------------------------------------------------------------------------


def test_rates_and_what_stands_still(dataset):
    rates = {"head_rate": 5, "local_rate": 100, "bias_rate": 2, "epsilon": 1e-3, "optimiser": "adam"}
    model = {"local": {"dim": 8, "norm": "layer"}, "freeze_patches": True, "text_dropout": 0.05}
    task = task_of(dataset, optimisation=rates, model=model)
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    found = {names[id(p)]: (g["rate"], g.get("weight_decay")) for g in task.parameter_groups() for p in g["params"]}
    assert found["objectives.cid.pairs.global.classifier.bias"] == (5, 0.0)
    assert found["objectives.cid.pairs.global.join.weight"] == (1, None)
    assert found["objectives.cid.pairs.local.norm.bias"] == (2, 0.0)
    assert found["encoder.image_local.widen.weight"] == (100, None)
    assert found["encoder.image_tower.layers.0.narrow.bias"] == (2, 0.0)
    assert found["encoder.image_tower.layers.0.narrow.weight"] == (1, None)
    assert found["encoder.text_tower.embedding.weight"] == (1, 0.0)
    assert set(names.values()) - set(found) == {"encoder.image_tower.patches.weight"}
    assert {group["eps"] for group in task.parameter_groups()} == {1e-3}
    assert task.model.encoder.text_tower.layers[0].attention.dropout == 0.05
    assert task.model.encoder.image_tower.layers[0].attention.dropout == 0.0


@pytest.mark.parametrize("objectives", METHODS.values(), ids=METHODS)
def test_stopped_and_resumed_is_the_same_to_the_last_bit(dataset, objectives, tmp_path):
    recipe = parse_recipe(tree(objectives))
    whole = run_recipe(recipe, dataset, tmp_path / "whole")

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, dataset, tmp_path / "parts", stop, save_every_s=0.0)
    resumed = run_recipe(recipe, dataset, tmp_path / "parts")
    assert 0 < resumed.resumed_at < whole.steps
    assert resumed.best == whole.best
    parts = load_file(tmp_path / "parts" / "checkpoint" / "model.safetensors")
    for name, value in load_file(tmp_path / "whole" / "checkpoint" / "model.safetensors").items():
        assert torch.equal(value, parts[name]), name
    assert train.__module__ == "passerby.training.loop"


def test_pairs_that_are_not_believed_are_told_and_kept_over_a_stop(dataset, tmp_path):
    recipe = parse_recipe(
        tree(
            {"tal": {}},
            model={"local": {"dim": 8, "norm": "layer"}},
            consensus={"first": 1},
            optimisation={"epochs": 3},
        )
    )
    whole = run_recipe(recipe, dataset, tmp_path / "whole")
    assert 0 < whole.best["believed"] <= 100

    def stop(progress):
        if progress.step >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, dataset, tmp_path / "parts", stop, save_every_s=0.0)
    assert run_recipe(recipe, dataset, tmp_path / "parts").best == whole.best
    assert read_checkpoint(tmp_path / "whole" / "checkpoint").config.kind == "itself"


def test_the_checkpoint_holds_the_encoder_and_no_head(dataset, tmp_path):
    task = task_of(dataset)
    task.save(task.model, tmp_path / "checkpoint", {"map": 1.0})
    restored = restore_model(read_checkpoint(tmp_path / "checkpoint"))
    assert sum(p.numel() for p in restored.parameters()) == sum(p.numel() for p in task.model.encoder.parameters())
    images = torch.randn(2, 3, 32, 16)
    expected = task.model.eval().encoder.encode_images(images)
    torch.testing.assert_close(restored.encode_images(images), expected)


def test_two_processes_come_to_the_same_parameters_as_one(dataset, tmp_path):
    # Without random changes, which are each process's own; the heads of all losses take part.
    still = {"captions": {"touch": 0.0}, "augmentation": {"flip": 0.0, "shift": 0.0, "colour": 0.0}}
    objectives = {"tal": {"reduction": "mean"}, "cid": {}, "sdm": {}, "c_itc": {}}
    model = {"local": {"dim": 8, "norm": "layer"}, "text": {**TEXT, "options": {**TEXT["options"], "dropout": 0.0}}}
    recipe = tree(objectives, model=model, optimisation={"epochs": 1, "learning_rate": 3e-4}, **still)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "passerby"]
    command += ["train", str(tmp_path / "recipe.yaml"), "--data", f"rstpreid:{dataset.root}"]
    shared = subprocess.run([*command, "--out", str(tmp_path / "two"), "--json"], capture_output=True, text=True)
    assert shared.returncode == 0, shared.stderr
    run_recipe(parse_recipe(recipe), dataset, tmp_path / "one")
    two = load_file(tmp_path / "two" / "checkpoint" / "model.safetensors")
    for name, value in load_file(tmp_path / "one" / "checkpoint" / "model.safetensors").items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize(("objectives", "idle"), [(METHODS["own words"], False), (METHODS["tal-cid"], True)])
def test_the_smallest_inputs_find_what_has_no_part(dataset, objectives, idle):
    assert _some_idle(task_of(dataset, objectives)) is idle  # tal and cid do not look at the learned temperature


def test_a_step_learns_its_own_batch(dataset):
    task = task_of(dataset, {"contrastive": {}, "sdm": {}}, captions={"touch": 0.0})
    optimiser = torch.optim.Adam(task.model.parameters(), lr=3e-3)
    batch = task.fetch(task.plan(0)[0])
    seen = []
    for _ in range(12):
        losses = task.losses(task.model, batch, torch.Generator().manual_seed(0), torch.device("cpu"))
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
        seen.append(float(sum(losses.values()).detach()))
    assert seen[-1] < 0.8 * seen[0]
