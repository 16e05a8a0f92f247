import subprocess
import sys

import pytest
import torch

from passerby.errors import ConfigError
from passerby.models.preprocessing import Preprocessing
from passerby.models.towers import (
    image_tower,
    image_tower_names,
    register_image_tower,
    text_tower,
    text_tower_names,
    text_tower_tokenizer,
)
from passerby.models.towers.base import ImageTower
from passerby.models.towers.stripe_conv import patchify

TEXT = {
    "conv": {"vocabulary_size": 50, "channels": 16},
    "transformer": {"vocabulary_size": 50, "context_length": 12, "channels": 16, "layers": 2, "heads": 4},
    "clip": {"vocabulary_size": 50, "context_length": 12, "channels": 16, "layers": 2, "heads": 4},
    "distilbert": {
        "vocabulary_size": 50, "context_length": 12, "channels": 16, "layers": 2, "heads": 4, "mlp_width": 32,
    },
}  # fmt: skip
IMAGE = {
    "stripe_conv": {"image_size": (32, 16), "channels": 8},
    "clip": {"image_size": (32, 16), "patch": 8, "channels": 16, "layers": 2, "heads": 4},
    "stem_vit": {"image_size": (32, 16), "patch": 8, "channels": 16, "layers": 2, "heads": 4},
    "timm:resnet10t": {"image_size": (64, 32), "weights": "random"},
    "mobilenetv3_small_050": {"image_size": (64, 32), "weights": "random"},
    "timm:test_vit": {"image_size": (64, 32), "weights": "random"},
}


def test_every_registered_tower_is_tested_here():
    elsewhere = {"passerby"}  # the tower of a checkpoint, in the tests of frozen text
    assert set(text_tower_names()) == set(TEXT) | elsewhere
    assert {name.partition(":")[0] for name in IMAGE} >= set(image_tower_names())


@pytest.mark.parametrize("name", IMAGE)
def test_image_towers_keep_their_promises(name):
    torch.manual_seed(0)
    tower = image_tower(name, **IMAGE[name]).eval()
    assert tower.preprocessing.image_size == IMAGE[name]["image_size"]
    images = torch.randn(3, 3, *tower.preprocessing.image_size)
    with torch.no_grad():
        pooled, tokens = tower(images), tower.tokens(images)
        alone = torch.cat([tower(images[row : row + 1]) for row in range(3)])
    assert pooled.shape == (3, tower.width)
    assert tokens.ndim == 3
    torch.testing.assert_close(tower.pool(tokens), pooled)
    torch.testing.assert_close(alone, pooled, rtol=1e-4, atol=1e-5)
    again = image_tower(tower.name, **tower.options)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in tower.state_dict().items()}
    assert again.preprocessing == tower.preprocessing


@pytest.mark.parametrize("name", TEXT)
def test_padding_and_neighbours_change_no_sentence(name):
    torch.manual_seed(0)
    tower = text_tower(name, **TEXT[name]).eval()
    ids = torch.tensor([[3, 9, 4, 49, 0, 0], [7, 8, 49, 0, 0, 0], [5, 6, 7, 8, 9, 49]])
    with torch.no_grad():
        together = tower(ids)
        for row, length in enumerate((4, 3, 6)):
            torch.testing.assert_close(tower(ids[row : row + 1, :length])[0], together[row], rtol=1e-5, atol=1e-6)
        tokens = tower.tokens(ids)
    assert together.shape == (3, tower.width)
    torch.testing.assert_close(tower.pool(tokens, tower.mask(ids)), together)
    again = text_tower(tower.name, **tower.options)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in tower.state_dict().items()}


@pytest.mark.parametrize("name", ["conv", "transformer"])
def test_word_order_matters(name):
    torch.manual_seed(0)
    tower = text_tower(name, **TEXT[name]).eval()
    with torch.no_grad():
        one, other = tower(torch.tensor([[3, 4, 5], [5, 4, 3]]))
    assert not torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", TEXT)
def test_a_row_of_padding_gives_finite_numbers(name):
    tower = text_tower(name, **TEXT[name]).eval()
    with torch.no_grad():
        assert tower(torch.tensor([[0, 0, 0], [1, 2, 49]])).isfinite().all()


def test_timm_tower_equals_timm():
    import timm

    torch.manual_seed(0)
    tower = image_tower("resnet10t", image_size=(64, 32), weights="random").eval()
    plain = timm.create_model("resnet10t", num_classes=0).eval()
    plain.load_state_dict(tower.network.state_dict())
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(tower(images), plain(images))
    assert tower.preprocessing.mean == tuple(plain.pretrained_cfg["mean"])


ENCODERS = (
    "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0", "efficientnet_b3",
    "inception_v3", "fastvit_t8", "coatnet_0_rw_224", "resnet50",
)  # fmt: skip


@pytest.mark.parametrize("name", ENCODERS)
def test_the_nine_encoders_take_squares_and_person_crops_with_their_own_normalisation(name):
    import timm

    own = timm.get_pretrained_cfg(name)
    for size in ((224, 224), (256, 128), (384, 128)):
        tower = image_tower(name, image_size=size, weights="random").eval()
        assert tower.preprocessing.image_size == size
        assert (tower.preprocessing.mean, tower.preprocessing.std) == (own.mean, own.std)
        assert tower.preprocessing.interpolation == own.interpolation
        if size == (256, 128):
            with torch.no_grad():
                assert tower(torch.zeros(1, 3, *size)).shape == (1, tower.width)


def test_widths_come_from_a_dry_run():
    """timm says 576 where the model gives 1024."""
    tower = image_tower("mobilenetv3_small_100", weights="random")
    assert (tower.width, tower.network.num_features) == (1024, 576)


@pytest.mark.parametrize("name", ["fastvit_t8", "repvgg_a0"])
def test_fusing_changes_parameters_and_not_the_function(name):
    torch.manual_seed(0)
    tower = image_tower(name, image_size=(64, 64), weights="random").eval()
    for part in tower.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    before = {key: value.clone() for key, value in tower.state_dict().items()}
    fused = tower.fused()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(fused(images), tower(images), rtol=1e-3, atol=1e-4)
    assert sum(p.numel() for p in fused.parameters()) < sum(p.numel() for p in tower.parameters())
    assert before.keys() == tower.state_dict().keys()
    assert tower.fused() is not fused


def test_a_tower_without_branches_is_its_own_fused_form():
    tower = image_tower("resnet10t", weights="random")
    assert tower.fused() is tower
    assert (plain := image_tower("stripe_conv", **IMAGE["stripe_conv"])).fused() is plain


def test_words_of_the_first_layer_are_pooled_beside_the_last():
    torch.manual_seed(0)
    tower = text_tower("conv", **TEXT["conv"], layers=3, levels=2).eval()
    ids = torch.tensor([[3, 9, 4, 49], [7, 8, 0, 0]])
    tokens = tower.tokens(ids)
    one = text_tower("conv", **TEXT["conv"], layers=3)
    one.load_state_dict(tower.state_dict())
    last, pooled = one.eval().tokens(ids), tower(ids)
    torch.testing.assert_close(tokens[..., :16], last)
    torch.testing.assert_close(pooled[:, : one.width], one(ids))
    torch.testing.assert_close(pooled[0, one.width :], tokens[0, :, 16:].amax(dim=0))
    torch.testing.assert_close(pooled[1, one.width :], tokens[1, :2, 16:].amax(dim=0))
    assert pooled.shape == (2, tower.width)


def test_rows_of_finer_stages_stand_in_front_of_the_cells():
    torch.manual_seed(0)
    tower = image_tower("stripe_conv", image_size=(32, 48), channels=4, levels=3, means=True).eval()
    images, maps = torch.randn(2, 3, 32, 48), []
    for place in (0, 2, 4):
        tower.stages[place].register_forward_hook(lambda layer, given, made: maps.append(made))
    tokens = tower.tokens(images)
    assert tokens.shape == (2, 2 + 2 + 2 * 3, 16)
    rows = [made.amax(dim=3).transpose(1, 2).flatten(1) for made in maps]  # (2, 8 * 4), (2, 4 * 8), (2, 2 * 16)
    assert torch.equal(tokens[:, :4].flatten(1), torch.cat(rows[:2], dim=1))
    expected = torch.cat([*rows, maps[2].mean(dim=3).transpose(1, 2).flatten(1)], dim=1)
    torch.testing.assert_close(tower.pool(tokens), expected)
    assert expected.shape == (2, tower.width)


def test_patches_beside_their_standardised_selves_without_making_these():
    torch.manual_seed(0)
    images, weight = torch.rand(3, 3, 16, 8, dtype=torch.float64), torch.randn(5, 6, 4, 4, dtype=torch.float64)
    images[0] = 0.25  # an even surface: no spread at all
    weight.requires_grad_()
    mean, spread = images.mean(dim=(2, 3), keepdim=True), images.std(dim=(2, 3), keepdim=True, correction=0)
    both = torch.cat([images, (images - mean) / (spread + 0.1)], dim=1)
    expected = torch.nn.functional.conv2d(both, weight, stride=4)
    made = patchify(images, weight)
    torch.testing.assert_close(made, expected)
    direction = torch.randn_like(made)
    (mine,), (theirs,) = (torch.autograd.grad(one, weight, direction) for one in (made, expected))
    torch.testing.assert_close(mine, theirs)


def test_timm_weights_from_a_local_folder(tmp_path):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(3)
    plain = timm.create_model("resnet10t").eval()  # with its classifier, as on the hub
    save_file(plain.state_dict(), tmp_path / "model.safetensors")
    tower = image_tower("resnet10t", image_size=(64, 32), weights=str(tmp_path)).eval()
    assert tower.options["weights"] == "random", "a checkpoint must not look for the weights again"
    for name, tensor in tower.network.state_dict().items():
        torch.testing.assert_close(tensor, plain.state_dict()[name])


def test_timm_weights_that_do_not_fit_or_are_pickled(tmp_path):
    from safetensors.torch import save_file

    save_file({"conv1.0.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="do not fit timm:resnet10t"):
        image_tower("resnet10t", weights=str(tmp_path))
    pickled = tmp_path / "weights.pth"
    pickled.write_bytes(b"x")
    with pytest.raises(ConfigError, match="pickles are never opened"):
        image_tower("resnet10t", weights=str(pickled))


def test_the_hub_does_not_answer(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"could not be fetched.*weights=random"):
        image_tower("resnet10t")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: image_tower("strip_conv"), "Did you mean 'stripe_conv'"),
        (lambda: image_tower("resnet5"), "Did you mean 'resnet50'"),
        (lambda: image_tower("timm:resnet5"), "timm has no model 'resnet5'"),
        (lambda: text_tower("destilbert"), "Did you mean 'distilbert'"),
        (lambda: image_tower("stripe_conv", chanels=3), "no option 'chanels'.*Did you mean 'channels'"),
        (lambda: image_tower("stripe_conv", image_size=(33, 16)), "multiples of 16"),
        (lambda: image_tower("stripe_conv", levels=4), "levels is 4; expected 1 to 3"),
        (lambda: image_tower("clip", image_size=(33, 16), patch=8), "multiples of the patch"),
        (lambda: text_tower("conv"), "needs the option 'vocabulary_size'"),
        (lambda: text_tower("conv", vocabulary_size=9, levels=3), "levels is 3; expected 1 to the number of layers, 2"),
        (lambda: text_tower("clip", source="here", channels=3), "no option 'channels'; known: source"),
        (lambda: image_tower("vit_tiny_patch16_224", image_size=(8, 8), weights="random"), "cannot"),
        (
            lambda: image_tower("inception_v3", image_size=(64, 32), weights="random"),
            "own size is 299x299",
        ),
        (lambda: image_tower("resnet10t", weights="/nowhere"), "expected 'hub', 'random'"),
        (lambda: text_tower("distilbert:not a name"), "neither a folder nor a hub name"),
    ],
)
def test_wrong_input(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_name_is_taken_once():
    with pytest.raises(ConfigError, match="registered twice"):

        @register_image_tower("stripe_conv")
        class Other(ImageTower):
            pass


def test_towers_from_scratch_bring_no_tokenizer():
    assert text_tower_tokenizer("conv", 16) is None


def test_registry_and_checkpoint_import_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import passerby.models.towers, passerby.models.checkpoint, passerby.models.sources\n"
        "import passerby.models.runtimes.choice, passerby.models.runtimes.onnxruntime_engine, passerby.retriever"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": (0, 4)}, "height, width"),
        ({"std": (0.0, 1.0, 1.0)}, "std above zero"),
        ({"mean": (0.5, 0.5)}, "three numbers"),
        ({"interpolation": "nearest"}, "bilinear or bicubic"),
    ],
)
def test_wrong_preprocessing(change, words):
    values = {"image_size": (8, 4), "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "interpolation": "bilinear"}
    with pytest.raises(ConfigError, match=words):
        Preprocessing(**{**values, **change})


def test_preprocessing_survives_json():
    import json

    record = Preprocessing((96, 48), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "bicubic")
    assert Preprocessing.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    with pytest.raises(ConfigError, match="expected"):
        Preprocessing.from_dict({"image_size": [1, 2]})
