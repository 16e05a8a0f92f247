"""Stage 2 through the loop: on features of a file or a model; it learns, resumes, shares its sets, refuses."""

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
from passerby.data.records import Dataset, Split
from passerby.errors import CheckpointError, ConfigError, DataError
from passerby.models.checkpoint import read_checkpoint
from passerby.models.context import ContextEncoder, build_context_encoder
from passerby.models.kinds import KINDS
from passerby.models.preprocessing import Preprocessing
from passerby.models.reid import build_reid_model
from passerby.models.restore import restore_encoder, restore_model, save_model
from passerby.retriever import load
from passerby.training import run
from passerby.training.feature_views import encoded_views, read_features
from passerby.training.recipe import load_recipe, parse_recipe
from passerby.training.run import run_recipe
from passerby.training.tasks.context import ContextTask, SetsInContext
from passerby.training.tasks.context_recipe import ContextRecipe
from passerby.training.tasks.reid_recipe import ReidAugmentationConfig

PEOPLE, EACH, WIDTH = 12, 6, 16


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """People of one picture folder, and vectors around a direction for each of them."""
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for folder, people in (("bounding_box_train", PEOPLE), ("bounding_box_test", 2), ("query", 2)):
        (root / folder).mkdir()
        for person in range(people):
            for view in range(EACH if folder == "bounding_box_train" else 1):
                picture = Image.fromarray(rng.integers(0, 255, (32, 16, 3), dtype=np.uint8))
                camera = 2 if folder == "query" else view % 2 + 1
                shift = 0 if folder == "bounding_box_train" else 100
                picture.save(root / folder / f"{1 + person + shift:04d}_c{camera}s1_{view:06d}_00.jpg")
    (root / "street.json").write_text("{}")
    directions = rng.normal(size=(PEOPLE, WIDTH))
    features = np.repeat(directions, EACH, axis=0) + 0.5 * rng.normal(size=(PEOPLE * EACH, WIDTH))
    np.save(root / "features.npy", features.astype(np.float32))
    return f"market1501:{root}", root / "features.npy"


def tree(features, **sections):
    made = {
        "name": "miniature",
        "task": "context",
        "data": {"features": str(features), "set_size": 24},
        "model": {"name": "magformer", "settings": {"k": 4, "layers": 1, "heads": 1, "dropout": 0.0}},
        "optimisation": {
            **{"epochs": 6, "batch_size": 48, "learning_rate": 3e-3, "weight_decay": 0.01},
            **{"ema": 0.0, "precision": "fp32", "schedule": "constant", "warmup": 0.0},
        },
    }
    for name, section in sections.items():
        made[name] = {**made.get(name, {}), **section} if isinstance(section, dict) else section
    return made


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    address, features = data
    return run_recipe(parse_recipe(tree(features)), open_dataset(address), tmp_path_factory.mktemp("whole") / "run")


def weights(folder):
    return load_file(Path(folder) / "checkpoint" / "model.safetensors")


def test_it_learns_and_leaves_a_context_encoder(whole, data):
    log = [json.loads(line) for line in (whole.folder / "log.jsonl").read_text().splitlines()]
    assert log[-1]["cross_entropy"] < log[0]["cross_entropy"] - 0.1
    assert whole.steps == 6 * (PEOPLE * EACH // 30)
    checkpoint = read_checkpoint(whole.folder / "checkpoint")
    assert checkpoint.config.kind == "context"
    assert checkpoint.config.embedding_dim == WIDTH
    model = restore_model(checkpoint)
    assert isinstance(model, ContextEncoder)
    assert model.settings.classes == PEOPLE
    with pytest.raises(CheckpointError, match="reads no pictures"):
        restore_encoder(checkpoint)
    with pytest.raises(CheckpointError, match="reads no pictures"):
        load(whole.folder / "checkpoint")
    assert not KINDS["context"].pictures


def test_a_class_count_or_width_that_disagrees_is_said(whole):
    config = read_checkpoint(whole.folder / "checkpoint").config.model
    with pytest.raises(ConfigError, match=f"tells {PEOPLE} identities apart, the data has 751"):
        build_context_encoder(config, classes=751)
    with pytest.raises(ConfigError, match="embedding_dim says 8"):
        build_context_encoder({**config, "embedding_dim": 8})


def test_a_run_that_stopped_in_the_middle_ends_with_the_same_bits(whole, data, tmp_path, monkeypatch):
    address, features = data

    class Stops(ContextTask):
        steps = 0

        def losses(self, *arguments):
            Stops.steps += 1
            if Stops.steps == 8:
                raise KeyboardInterrupt
            return super().losses(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run, "find_family", lambda name: SimpleNamespace(task=lambda: Stops))
        with pytest.raises(KeyboardInterrupt):
            run_recipe(parse_recipe(tree(features)), open_dataset(address), tmp_path / "run", save_every_s=0.0)
    result = run_recipe(parse_recipe(tree(features)), open_dataset(address), tmp_path / "run")
    assert 0 < result.resumed_at < whole.steps
    for name, value in weights(whole.folder).items():
        assert torch.equal(weights(tmp_path / "run")[name], value), name


@pytest.mark.slow
def test_two_processes_come_to_the_same_parameters_as_one(data, tmp_path):
    address, features = data
    # Landmarks of a set are drawn by each process for its own sets; learned ones are drawn by nobody.
    made = tree(
        features,
        model={"settings": {"k": 4, "layers": 1, "heads": 1, "dropout": 0.0, "landmarks": "learned"}},
        optimisation={"epochs": 3, "learning_rate": 3e-4},
    )
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(made))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "passerby"]
    command += ["train", str(tmp_path / "recipe.yaml"), "--data", address, "--out", str(tmp_path / "two"), "--json"]
    shared = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert shared.returncode == 0, shared.stderr
    alone = run_recipe(parse_recipe(made), open_dataset(address), tmp_path / "one")
    assert json.loads(shared.stdout)["steps"] == alone.steps
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_plans_hold_each_picture_of_a_set_once_and_clamp_the_set(data):
    address, features = data
    task = ContextTask(parse_recipe(tree(features, data={"set_size": 1000})), open_dataset(address))
    assert task.set_size == PEOPLE * EACH
    assert task.sets == 1
    task = ContextTask(parse_recipe(tree(features)), open_dataset(address))
    task.views = np.stack([task.views[0]] * 3)
    plan = task.plan(1)
    assert plan.shape == (2, 2, 24)
    assert (plan == task.plan(1)).all()
    assert (plan != task.plan(2)).any()
    for one in plan.reshape(-1, 24) % (PEOPLE * EACH):
        assert len(set(one.tolist())) == 24
    assert plan.max() >= PEOPLE * EACH  # other views than the first are drawn too
    batch = task.fetch(plan[0])
    assert batch.features.shape == (2, 24, WIDTH)
    assert torch.equal(batch.labels, torch.from_numpy(task.labels[plan[0] % (PEOPLE * EACH)]))


def test_features_of_a_model_have_a_plain_view_and_changed_ones(data, tmp_path):
    address, _ = data
    torch.manual_seed(0)
    tower = {"name": "stripe_conv", "options": {"channels": 8, "image_size": (32, 16)}}
    model = build_reid_model({"image": tower, "embedding_dim": WIDTH}, classes=3).eval()
    save_model(model, tmp_path / "model", kind="reid", name="tiny", preprocessing=model.preprocessing)
    encoder, dataset = load(tmp_path / "model", runtime="torch", device="cpu"), open_dataset(address)
    train = dataset.split("train")
    views = encoded_views(encoder, train, 2, ReidAugmentationConfig(erase=1.0, crop=2))
    np.testing.assert_allclose(views[0], encoder.encode_images([image.path for image in train.images]), atol=1e-5)
    assert np.abs(views[1] - views[0]).max(axis=1).min() > 1e-4
    np.testing.assert_array_equal(views, encoded_views(encoder, train, 2, ReidAugmentationConfig(erase=1.0, crop=2)))
    with pytest.raises(ConfigError, match="views is 0"):
        encoded_views(encoder, train, 0)
    chosen = Dataset("some", dataset.root, {"train": train, "val": Split("val", dataset.split("test").images)})
    task = ContextTask(parse_recipe(tree(tmp_path / "model", data={"views": 2})), chosen)
    assert task.views.shape == (2, PEOPLE * EACH, WIDTH)
    with torch.inference_mode():
        assert set(task.validate(task.model.eval()).figures) == {"r1", "map"}


def test_recipes_of_the_family_are_whole_and_ask_for_features(data):
    for name in ("context-magformer", "context-nformer"):
        recipe = load_recipe(name)
        assert isinstance(recipe, ContextRecipe)
        with pytest.raises(ConfigError, match=r"data\.features is empty"):
            ContextTask(recipe, open_dataset(data[0]))


def test_example_and_groups(data):
    task = ContextTask(parse_recipe(tree(data[1])), open_dataset(data[0]))
    rows, logits = task.model.eval()(*task.example())
    assert rows.shape == (2, WIDTH)
    assert logits.shape == (2, PEOPLE)
    assert isinstance(task.model, SetsInContext)
    assert all(group["betas"] == (0.9, 0.98) for group in task.parameter_groups())
    other = ContextTask(parse_recipe(tree(data[1], seed=2)), open_dataset(data[0]))
    other.restore(task.state())
    assert torch.equal(other.centers, task.centers)
    with pytest.raises(CheckpointError, match="other features"):
        other.restore({**task.state(), "data": torch.zeros(32, dtype=torch.uint8)})


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no array", "cannot be read"), (np.zeros((3, 4)), "vectors of 3 pictures"), (np.zeros(72, int), "holds no vec")],
)
def test_files_that_hold_no_such_features_are_refused(tmp_path, content, message):
    path = tmp_path / "f.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(DataError, match=message):
        read_features(path, PEOPLE * EACH)
    with pytest.raises(DataError, match="cannot be read"):
        read_features(tmp_path / "none.npy", 3)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"name": "magfromer"}}, "magformer"),
        ({"model": {"settings": {"kk": 3}}}, "context.kk"),
        ({"model": {"settings": {"k": 0}}}, "context.k is 0"),
        ({"optimisation": {"accumulation": 4}}, "cannot be shared"),
    ],
)
def test_impossible_recipes_are_refused(data, sections, message):
    with pytest.raises(ConfigError, match=message):
        ContextTask(parse_recipe(tree(data[1], **sections)), open_dataset(data[0]))


def test_features_with_nan_are_refused(data, tmp_path):
    features = np.load(data[1])
    features[3, 2] = np.nan
    np.save(tmp_path / "bad.npy", features)
    with pytest.raises(DataError, match="NaN"):
        run_recipe(parse_recipe(tree(tmp_path / "bad.npy")), open_dataset(data[0]), tmp_path / "run")


def test_the_preprocessing_of_a_checkpoint_is_what_it_was_saved_with(tmp_path):
    tower = {"name": "stripe_conv", "options": {"channels": 8, "image_size": (32, 16)}}
    model = build_reid_model({"image": tower, "embedding_dim": 8}, classes=2)
    wanted = Preprocessing((32, 16), (0.1, 0.2, 0.3), (0.5, 0.5, 0.5), "bicubic")
    checkpoint = save_model(model, tmp_path / "model", kind="reid", name="tiny", preprocessing=wanted)
    assert restore_encoder(checkpoint).preprocessing == wanted
