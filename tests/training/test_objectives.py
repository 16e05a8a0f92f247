"""The objectives of alignment: the recipe's table, heads of their own, and the same on one and on two processes."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from alignment_processes import loss_of, objective

from passerby.errors import ConfigError
from passerby.losses.tal import tal
from passerby.nn.masked_word_head import MaskedWordHead
from passerby.nn.pair_head import PairHead
from passerby.training.objectives import OBJECTIVES, Shape, Step, branch_of, build_objectives
from passerby.training.tasks.alignment_recipe import ObjectivesConfig


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    out = tmp_path_factory.mktemp("two") / "two.pt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = str(Path(__file__).with_name("alignment_processes.py"))
    workers = [subprocess.Popen([sys.executable, script, str(rank), "2", port, str(out)]) for rank in range(2)]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    return torch.load(out, weights_only=True)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_processes_give_the_gradients_of_one(two, name):
    loss, parameters = loss_of(name, 0, 1)
    loss.backward()
    torch.testing.assert_close(two[name]["loss"], loss.detach(), rtol=1e-5, atol=1e-6)
    moved = 0
    for shared, parameter in zip(two[name]["grads"], parameters, strict=True):
        alone = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        scale = float(alone.abs().max())
        torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-5 * max(1.0, scale))
        moved += scale > 0
    assert moved > 2


def test_the_table_is_the_recipes():
    assert list(OBJECTIVES) == list(ObjectivesConfig.model_fields)


def step_of(rows=6, people=3, width=5, local=True, weights=None):
    torch.manual_seed(0)
    ids = torch.arange(rows) % people
    branches = {"global": branch_of(torch.randn(rows, width), torch.randn(rows, width), ids)}
    if local:
        branches["local"] = branch_of(torch.randn(rows, 3), torch.randn(rows, 3), ids)
    return Step(branches, ids, torch.tensor(10.0), weights=weights)


def build(name, shape=None, **options):
    chosen = ObjectivesConfig.model_validate({name: options})
    return build_objectives(chosen, shape or Shape({"global": 5, "local": 3}, 3, 9))[name]


def test_branches_are_added_up_and_weighted():
    step = step_of()
    parts = [build("sdm", branches=branch)(step) for branch in ("global", "local")]
    torch.testing.assert_close(build("sdm", weight=0.5)(step), 0.5 * (parts[0] + parts[1]))


def test_pairs_count_as_the_step_says():
    weights = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    step = step_of(weights=weights, local=False)
    branch = step.branches["global"]
    values = tal(branch.unit_images, branch.unit_texts, step.ids)
    shape = Shape({"global": 5}, 3, 9)
    torch.testing.assert_close(build("tal", shape)(step), (weights * values).sum())
    torch.testing.assert_close(build("tal", shape, reduction="mean")(step), (weights * values).mean())


def test_soft_labels_grow_softer_with_the_epochs():
    at = {epoch: build("n_itc")(step) for epoch in (0.0, 0.5, 1.0, 2.0) for step in [_at(epoch)]}
    assert at[0.0] != at[0.5] != at[1.0]
    assert at[1.0] == at[2.0]


def _at(epoch):
    step = step_of()
    return Step(step.branches, step.ids, step.scale, epoch)


def test_a_batch_of_one_person_has_finite_gradients_everywhere():
    for name in ("sdm", "tal", "cid", "id", "n_itc", "r_itc", "c_itc", "contrastive"):
        torch.manual_seed(0)
        images, texts = (torch.randn(4, 5, requires_grad=True) for _ in range(2))
        step = Step({"global": branch_of(images, texts, torch.ones(4).long())}, torch.ones(4).long(), torch.tensor(9.0))
        loss = build(name, Shape({"global": 5}, 3, 9))(step)
        loss.backward()
        assert torch.isfinite(loss), name
        assert torch.isfinite(images.grad).all(), name


@pytest.mark.parametrize(("name", "message"), [("mlm", "mlm looks at tokens"), ("ss", "two strongly changed views")])
def test_what_a_step_lacks_is_said(name, message):
    with pytest.raises(ConfigError, match=message):
        build(name, Shape({"global": 8}, 3, 9), **({"heads": 2} if name == "mlm" else {}))(
            step_of(width=8, local=False)
        )


def test_the_perceptron_of_self_supervision_is_tbps_clips():
    """512 channels, 128 in the middle and 512 out, without a normalisation between them."""
    head = build("ss", Shape({"global": 512}, 3, 9)).head
    assert [type(layer).__name__ for layer in head] == ["Linear", "ReLU", "Linear"]
    assert [tuple(weight.shape) for weight in head.parameters() if weight.ndim == 2] == [(128, 512), (512, 128)]


def test_a_branch_that_the_model_lacks_is_refused():
    with pytest.raises(ConfigError, match="branches=local, and the model has global only"):
        build("tal", Shape({"global": 5}, 3, 9), branches="local")


def test_shares_of_a_pair_add_up_to_the_joined_layer():
    head = PairHead(4, 3)
    first, second = torch.randn(2, 4), torch.randn(2, 4)
    shares = head.project(first)[0] + head.project(second)[1]
    torch.testing.assert_close(shares, head.join(torch.cat([first, second], dim=1)))
    assert head(shares).shape == (2, 3)


def test_words_are_told_at_masked_places_alone():
    torch.manual_seed(0)
    head = MaskedWordHead(8, 13, layers=1, heads=2).eval()
    words, picture = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    mask = torch.arange(5) < torch.tensor([[5], [3], [4]])
    every = head(words, mask, picture, torch.arange(15))
    assert every.shape == (15, 13)
    torch.testing.assert_close(head(words, mask, picture, torch.tensor([2, 6, 13])), every[[2, 6, 13]])
    longer = torch.cat([words, torch.randn(3, 2, 8)], dim=1)  # padding changes nothing before it
    padded = head(longer, torch.nn.functional.pad(mask, (0, 2)), picture, torch.tensor([2, 8, 17]))
    torch.testing.assert_close(padded, every[[2, 6, 13]], rtol=1e-5, atol=1e-5)


def test_heads_of_one_name_begin_alike():
    for left, right in zip(objective("cid").parameters(), objective("cid").parameters(), strict=True):
        assert torch.equal(left, right)
