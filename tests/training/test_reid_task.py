"""Stage 1: batches of whole people, three losses, centers like their own SGD, runs that resume and share their work."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from passerby.data.readers import open_dataset
from passerby.data.records import Dataset, PersonImage, Split
from passerby.errors import CheckpointError, ConfigError, DataError
from passerby.losses.center import CenterLoss, moved_centers
from passerby.models.checkpoint import read_checkpoint
from passerby.models.reid import ReidModel
from passerby.models.restore import restore_encoder
from passerby.retriever import load
from passerby.training.families import find_family
from passerby.training.recipe import load_recipe, parse_recipe, recipe_names
from passerby.training.run import run_recipe
from passerby.training.tasks.reid import ReidTask, labels_and_cameras
from passerby.training.tasks.reid_recipe import ReidRecipe

COLOURS = np.array([(200, 40, 40), (40, 170, 60), (40, 60, 200), (235, 235, 235)])


def street(root, people=8, views=4):
    """A miniature Market-1501: people of two colours each, seen by two cameras."""
    rng = np.random.default_rng(0)
    for folder, base, views_here in (
        ("bounding_box_train", 1, views),
        ("bounding_box_test", 101, 2),
        ("query", 101, 1),
    ):
        (root / folder).mkdir(parents=True)
        for person in range(people):
            for view in range(views_here):
                camera = 2 if folder == "query" else view % 2 + 1
                picture = np.repeat(COLOURS[[person % 4, person // 4]], 16, axis=0)[:, None].repeat(16, axis=1)
                noisy = (picture + rng.normal(0, 12, picture.shape)).clip(0, 255).astype(np.uint8)
                Image.fromarray(noisy).save(root / folder / f"{base + person:04d}_c{camera}s1_{view:06d}_00.jpg")
    (root / "street.json").write_text("{}")
    return f"market1501:{root}"


def tree(image=None, **sections):
    made = {
        "name": "miniature",
        "task": "reid",
        "data": {"image_size": [32, 16], "pictures_each": 2},
        "model": {"image": image or {"name": "stripe_conv", "options": {"channels": 8}}, "embedding_dim": 16},
        "augmentation": {"crop": 1, "shift": 0.0},
        "optimisation": {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "ema": 0.0, "precision": "fp32"},
    }
    for name, section in sections.items():
        made[name] = {**made.get(name, {}), **section} if isinstance(section, dict) else section
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return street(tmp_path_factory.mktemp("people") / "set")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    return run_recipe(parse_recipe(tree()), open_dataset(data), tmp_path_factory.mktemp("whole") / "run")


def weights(folder):
    return load_file(Path(folder) / "checkpoint" / "model.safetensors")


def test_every_recipe_of_the_family_is_whole_and_names_what_it_aims_at():
    names = [name for name in recipe_names() if name.startswith("reid-")]
    assert len(names) == 6
    for name in names:
        recipe = load_recipe(name)
        assert isinstance(recipe, ReidRecipe)
        assert recipe.people == 32
        text = Path(sys.modules["passerby.training.recipe"].__file__).with_name("recipes") / f"{name}.yaml"
        assert "Aims at" in text.read_text()
    assert find_family("reid").task() is ReidTask


def test_it_learns_and_the_checkpoint_is_a_retriever_of_pictures(whole, data):
    assert whole.steps == 12
    log = [json.loads(line) for line in (whole.folder / "log.jsonl").read_text().splitlines()]
    assert {"cross_entropy", "triplet", "center"} <= set(log[-1])
    checkpoint = read_checkpoint(whole.folder / "checkpoint")
    assert checkpoint.config.kind == "reid"
    assert checkpoint.config.embedding_dim == 16
    model = load(whole.folder / "checkpoint", runtime="torch", device="cpu")
    test = open_dataset(data).split("test")
    vectors = model.encode_images([image.path for image in test.images])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    people = np.array([image.person_id for image in test.images])
    scores = vectors @ vectors.T - 3 * np.eye(len(people))
    assert (people[scores.argmax(1)] == people).mean() > 0.5  # chance is an eighth
    assert not model.reads_sentences
    for ask in (lambda: model.encode_texts(["a man"]), lambda: model.tokenize(["a man"])):
        with pytest.raises(ConfigError, match="reads pictures alone, and was given sentences"):
            ask()
    with pytest.raises(ConfigError, match="reads pictures alone"):
        model.runtime.texts(np.ones((1, 4), np.int64))


def test_a_run_that_stopped_in_the_middle_ends_with_the_same_bits(whole, data, tmp_path, monkeypatch):
    class Stops(ReidTask):
        steps = 0

        def losses(self, *arguments):
            Stops.steps += 1
            if Stops.steps == 7:
                raise KeyboardInterrupt
            return super().losses(*arguments)

    from passerby.training import run

    with monkeypatch.context() as patch:
        patch.setattr(run, "find_family", lambda name: SimpleNamespace(task=lambda: Stops))
        with pytest.raises(KeyboardInterrupt):
            run_recipe(parse_recipe(tree()), open_dataset(data), tmp_path / "run", save_every_s=0.0)
    result = run_recipe(parse_recipe(tree()), open_dataset(data), tmp_path / "run")
    assert 0 < result.resumed_at < 12
    for name, value in weights(whole.folder).items():
        assert torch.equal(weights(tmp_path / "run")[name], value), name


def test_two_processes_come_to_the_same_parameters_as_one(data, tmp_path):
    # Tower and neck normalise by batch statistics, which are those of both processes.
    made = tree(
        augmentation={"flip": 0.0, "shift": 0.0, "colour": 0.0, "crop": 0},
        optimisation={"epochs": 2, "learning_rate": 3e-2, "optimiser": "sgd"},
    )
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(made))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "passerby"]
    command += ["train", str(tmp_path / "recipe.yaml"), "--data", data, "--out", str(tmp_path / "two"), "--json"]
    shared = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert shared.returncode == 0, shared.stderr
    alone = run_recipe(parse_recipe(made), open_dataset(data), tmp_path / "one")
    assert json.loads(shared.stdout)["steps"] == alone.steps
    start = ReidTask(parse_recipe(made), open_dataset(data)).model.projection.weight
    assert (weights(tmp_path / "one")["projection.weight"] - start).abs().max() > 1e-4
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_centers_move_as_by_their_own_optimiser():
    torch.manual_seed(0)
    loss = CenterLoss(5, 4)
    before = loss.centers.detach().clone()
    features, labels = torch.randn(8, 4), torch.tensor([0, 0, 1, 1, 1, 3, 3, 3])
    (0.0005 * loss(features, labels)).backward()
    loss.undo_weight(0.0005)
    torch.optim.SGD(loss.parameters(), 0.5).step()
    moved = moved_centers(features, labels, before, 0.5)
    torch.testing.assert_close(moved, loss.centers.detach())
    assert torch.equal(moved[[2, 4]], before[[2, 4]])


def test_the_task_remembers_its_centers_and_knows_its_data(data, tmp_path):
    task = ReidTask(parse_recipe(tree()), open_dataset(data))
    other = ReidTask(parse_recipe(tree(seed=1)), open_dataset(data))
    assert not torch.equal(task.centers, other.centers)
    other.restore(task.state())
    assert torch.equal(task.centers, other.centers)
    elsewhere = ReidTask(parse_recipe(tree()), open_dataset(street(tmp_path / "other", people=6)))
    with pytest.raises(CheckpointError, match="other pictures or people"):
        elsewhere.restore(task.state())


def test_the_published_optimiser_decays_everything_and_muon_matrices_alone(data):
    for optimiser, free in (("adam", False), ("muon", True)):
        task = ReidTask(parse_recipe(tree(optimisation={"optimiser": optimiser})), open_dataset(data))
        groups = task.parameter_groups()
        assert any(group.get("weight_decay") == 0.0 for group in groups) == free
        held = [parameter for group in groups for parameter in group["params"]]
        assert len(held) == len([one for one in task.model.parameters() if one.requires_grad])
        assert all(parameter is not task.model.neck.bias for parameter in held)


def test_each_view_of_the_selection_split_is_judged_across_cameras(data):
    made = open_dataset(data)
    chosen = Dataset(made.name, made.root, {**made.splits, "val": Split("val", made.split("test").images)})
    task = ReidTask(parse_recipe(tree(evaluation={"metric": "r1"})), chosen)
    with torch.inference_mode():
        found = task.validate(task.model.eval())
    assert set(found.figures) == {"r1", "map"}
    assert found.value == found.figures["r1"]
    assert task.validate(torch.nn.Identity()) is None


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"optimisation": {"batch_size": 9}}, "is not two or more people"),
        ({"optimisation": {"batch_size": 2}}, "is not two or more people"),
        ({"optimisation": {"batch_size": 40}}, "a batch of 20 people was asked for, and the data show 8"),
        ({"optimisation": {"batch_size": 8, "accumulation": 3}}, "cannot be shared"),
        ({"objective": {"tripplet": 1}}, "Did you mean 'triplet'|triplet"),
        ({"data": {"pictures_each": 1}}, "greater than or equal to 2"),
        ({"model": {"image": {"name": "stripe_cnv"}}}, "stripe_conv"),
        ({"task": "reidd"}, "reid"),
    ],
)
def test_impossible_recipes_are_refused(data, sections, message):
    with pytest.raises(ConfigError, match=message):
        ReidTask(parse_recipe(tree(**sections)), open_dataset(data))


def test_a_picture_of_nobody_cannot_be_learned_from():
    images = (PersonImage("a", Path("a"), 3, "c1"), PersonImage("b", Path("b"), None))
    with pytest.raises(DataError, match="without an identity to train on: 'b'"):
        labels_and_cameras(Split("train", images))
    labels, cameras = labels_and_cameras(Split("train", (*images[:1], PersonImage("c", Path("c"), 9))))
    assert labels.tolist() == [0, 1]
    assert cameras.tolist() == [0, -1]


def test_what_is_saved_must_be_an_image_encoder(data, tmp_path):
    task = ReidTask(parse_recipe(tree()), open_dataset(data))
    with pytest.raises(CheckpointError, match="found Linear"):
        task.save(torch.nn.Linear(2, 2), tmp_path / "no", {})
    assert isinstance(restore_encoder(task_saved(task, tmp_path)), ReidModel)


def task_saved(task, folder):
    task.save(task.model, folder / "model", {})
    return read_checkpoint(folder / "model")
