"""Distillation: views that are one change at every size, teachers asked once, lessons that move the student alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import coloured_people

import tiny_models
from passerby import load
from passerby.data.readers import open_dataset
from passerby.errors import CheckpointError, ConfigError
from passerby.training import teacher_vectors as teacher_module
from passerby.training.picture_views import DRAWS, shown, view_draws
from passerby.training.recipe import AugmentationConfig, load_recipe, parse_recipe
from passerby.training.run import run_recipe
from passerby.training.tasks.distillation import DistillationTask
from passerby.training.teacher_vectors import teacher_vectors

STRONG = AugmentationConfig(flip=0.5, shift=0.25, colour=0.4, erase=0.7)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(coloured_people.write(tmp_path_factory.mktemp("people") / "set"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSERBY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "model"
    tiny_models.save_tiny(folder)
    return folder


def recipe(teacher, **sections):
    tree = coloured_people.recipe(**sections)
    tree["model"]["embedding_dim"] = sections.get("width", 32)
    tree.pop("width", None)
    tree["teacher"] = {"model": str(teacher), "views": 2}
    return parse_recipe({**tree, "task": "distillation"})


def test_a_view_is_the_same_change_at_every_size():
    small = torch.zeros(40, 16, 8, 3, dtype=torch.uint8)
    small[:, 4:12, 2:6] = torch.randint(40, 255, (40, 8, 4, 3), dtype=torch.uint8)
    large = small.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    draws = torch.from_numpy(view_draws(40, 1, 0)[0])
    draws[:, :2] = (draws[:, :2] * 4).floor() / 4  # whole pixels of the small pictures, so that nothing is rounded

    def apart(changes):
        coarse = torch.nn.functional.avg_pool2d(shown(large, draws, changes), 4)
        return float((shown(small, draws, changes) - coarse).abs().mean())

    assert apart(STRONG.model_copy(update={"erase": 0})) < 1e-6
    assert apart(STRONG) < 0.03  # edges of rectangles fall inside a pixel
    others = shown(small, draws.roll(1, dims=0), STRONG)
    assert (shown(small, draws, STRONG) - others).abs().mean() > 0.06


def test_views_without_strength_are_the_picture():
    pixels = torch.randint(0, 255, (3, 8, 4, 3), dtype=torch.uint8)
    none = AugmentationConfig(flip=0, shift=0, colour=0, erase=0)
    draws = torch.from_numpy(view_draws(3, 1, 0)[0])
    assert torch.equal(shown(pixels, draws, none), pixels.permute(0, 3, 1, 2).float() / 255)


def test_draws_belong_to_seed_and_view():
    found = view_draws(5, 3, 7)
    assert found.shape == (3, 5, DRAWS)
    assert np.array_equal(found[:2], view_draws(5, 2, 7))  # more views change no earlier one
    assert not np.array_equal(found, view_draws(5, 3, 8))
    assert found.min() >= 0
    assert found.max() < 1


def test_a_teacher_is_asked_once_about_each_view(dataset, teacher, monkeypatch):
    split, model = dataset.split("train"), load(teacher, runtime="torch")
    calls = []
    plain = teacher_module._of_pictures
    monkeypatch.setattr(teacher_module, "_of_pictures", lambda *given: calls.append(1) or plain(*given))
    first = teacher_vectors(model, split, STRONG, 2, 0)
    again = teacher_vectors(model, split, STRONG, 2, 0)
    assert np.array_equal(first.images, again.images)
    assert len(calls) == 1
    assert first.images.shape == (2, len(split.images), 32)
    assert first.texts.shape == (len(split.captions), 32)
    assert np.abs(np.linalg.norm(first.images.astype(np.float32), axis=2) - 1).max() < 2e-3
    assert not np.allclose(first.images[0], first.images[1], atol=1e-3)
    for changed in ((STRONG, 2, 1), (AugmentationConfig(), 2, 0), (STRONG, 3, 0)):
        teacher_vectors(model, split, *changed)
    assert len(calls) == 4


def test_the_cached_vector_is_that_of_the_view_which_the_student_sees(dataset, teacher):
    task = DistillationTask(recipe(teacher), dataset)
    batch = task.fetch(task.plan(0)[0])
    pixels = shown(batch.pairs.pixels, batch.draws, task.recipe.augmentation)  # student and teacher read 32x16 here
    seen = pixels.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    model = load(teacher)
    np.testing.assert_allclose(model.encode_images(list(seen)), batch.images.numpy(), atol=2e-3)
    rows = task.plan(0)[0]
    texts = [dataset.split("train").captions[caption].text for caption in rows[:, 1]]
    np.testing.assert_allclose(model.encode_texts(texts), batch.texts.numpy(), atol=2e-3)


def test_each_lesson_is_there_when_it_weighs_and_moves_the_student(dataset, teacher):
    task = DistillationTask(recipe(teacher, data={"captions": 2}), dataset)
    batch = task.fetch(task.plan(0)[0])
    found = task.losses(task.model.train(), batch, torch.Generator(), torch.device("cpu"))
    assert set(found) == {"contrastive", "feature", "interactive", "similarity"}
    for name in ("feature", "interactive", "similarity"):
        task.model.zero_grad()
        found[name].backward(retain_graph=True)
        assert task.model.image_projection.weight.grad.abs().sum() > 0, name
        assert task.model.text_projection.weight.grad.abs().sum() > 0, name
    only = DistillationTask(recipe(teacher, objective={"own": 0, "interactive": 0, "similarity": 0}), dataset)
    found = only.losses(only.model, only.fetch(only.plan(0)[0]), torch.Generator(), torch.device("cpu"))
    assert set(found) == {"feature"}


def test_a_run_pulls_the_student_to_its_teacher_and_can_be_loaded(dataset, teacher, tmp_path):
    weights = {"own": 0, "interactive": 0, "similarity": 0}
    run_recipe(recipe(teacher, objective=weights, optimisation={"epochs": 20}), dataset, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    values = [row["feature"] for row in rows if "feature" in row]
    assert values[-1] < 0.6 * values[0]
    assert load(tmp_path / "run").dim == 32


def test_without_a_teacher_nobody_is_loaded(dataset):
    alone = {"feature": 0, "interactive": 0, "similarity": 0}
    task = DistillationTask(recipe("no/such/model", objective=alone), dataset)
    batch = task.fetch(task.plan(0)[0])
    found = task.losses(task.model, batch, torch.Generator(), torch.device("cpu"))
    assert set(found) == {"contrastive"}


def test_student_and_rival_see_the_same_pictures_in_the_same_order(dataset, teacher):
    alone = {"feature": 0, "interactive": 0, "similarity": 0}
    rival, student = (DistillationTask(recipe(teacher, objective=one), dataset) for one in (alone, {}))
    assert np.array_equal(rival.plan(3), student.plan(3))
    assert np.array_equal(rival.draws, student.draws)


def test_what_does_not_fit_is_refused(dataset, teacher):
    with pytest.raises(ConfigError, match=r"vectors of 32 numbers and the student of 16; set model.embedding_dim=32"):
        DistillationTask(recipe(teacher, width=16), dataset)
    only = {"feature": 0, "interactive": 0}
    assert DistillationTask(recipe(teacher, width=16, objective=only), dataset).taught is not None
    with pytest.raises(CheckpointError, match="no model 'stret'"):
        DistillationTask(recipe("stret"), dataset)
    nothing = {"own": 0, "feature": 0, "interactive": 0, "similarity": 0}
    for objective, words in ((nothing, "nothing would be learned"), ({"name": "soft_target"}, "no unit length")):
        with pytest.raises(ConfigError, match=words):
            recipe(teacher, objective=objective)
    assert load_recipe("distill").task == "distillation"


def test_two_processes_come_to_the_same_parameters_as_one(dataset, teacher, tmp_path):
    # Neither batch statistics nor dropout: both are each process's own. Views belong to pictures, and stay.
    tree = coloured_people.recipe(
        {"name": "timm", "options": {"source": "test_convnext", "weights": "random"}},
        {"name": "conv", "options": {"channels": 16, "dropout": 0.0}},
        data={"image_size": [64, 32]},
        optimisation={"epochs": 2, "learning_rate": 3e-4},
    )
    tree |= {"task": "distillation", "teacher": {"model": str(teacher), "views": 2}}
    tree["model"]["embedding_dim"] = 32
    (tmp_path / "recipe.yaml").write_text(json.dumps(tree))  # JSON is YAML
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "passerby"]
    command += ["train", str(tmp_path / "recipe.yaml"), "--data", f"rstpreid:{dataset.root}"]
    command += ["--out", str(tmp_path / "two"), "--json"]
    shared = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert shared.returncode == 0, shared.stderr
    run_recipe(parse_recipe(tree), dataset, tmp_path / "one")
    one, two = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        if name != "text_tower.score.bias":  # the softmax over words cancels it: its gradient is rounding, no more
            torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5, msg=name)
