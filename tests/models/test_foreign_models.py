"""Models that other libraries wrote, beside those libraries' own outputs."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from passerby.data.images import resize_image
from passerby.errors import CheckpointError
from passerby.models.clip_folder import read_clip
from passerby.models.clip_formats import read_clip_parts
from passerby.models.dual_encoder import build_dual_encoder
from passerby.models.towers import image_tower, text_tower, text_tower_tokenizer
from tiny_models import spread_weights, write_clip_tokenizer, write_json

SENTENCES = ["a red coat", "a woman", "a woman in a red coat with a black backpack", "a man wearing jeans " * 5]
CLOSE = {"rtol": 0, "atol": 1e-5}


def unit(vectors):
    vectors = getattr(vectors, "pooler_output", vectors)  # newer transformers wrap the features
    return vectors / vectors.norm(dim=-1, keepdim=True)


def save_transformers_clip(folder, activation="quick_gelu", legacy_end=False):
    from transformers import CLIPConfig, CLIPModel

    size, end = write_clip_tokenizer(folder / "tokenizer.json")
    config = CLIPConfig(
        text_config={
            "vocab_size": size, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 16, "hidden_act": activation, "bos_token_id": end - 1,
            "eos_token_id": 2 if legacy_end else end,
        },
        vision_config={
            "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": 32, "patch_size": 8, "hidden_act": activation,
        },
        projection_dim=24,
    )  # fmt: skip
    model = CLIPModel(config).eval()
    spread_weights(model)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("legacy_end", [False, True])
def test_transformers_clip_gives_the_same_vectors(tmp_path, activation, legacy_end):
    theirs = save_transformers_clip(tmp_path, activation, legacy_end)
    ours = read_clip(tmp_path)
    images = torch.randn(3, 3, 32, 32)
    ids = torch.from_numpy(ours.tokenizer.encode(SENTENCES))
    attention = ours.model.text_tower.mask(ids).long()
    with torch.no_grad():
        torch.testing.assert_close(ours.model.encode_images(images), unit(theirs.get_image_features(images)), **CLOSE)
        expected = unit(theirs.get_text_features(ids, attention_mask=attention))
        torch.testing.assert_close(ours.model.encode_texts(ids), expected, **CLOSE)
        torch.testing.assert_close(ours.model.logit_scale, theirs.logit_scale.exp().clamp(max=100))


def test_pictures_become_what_transformers_makes_of_them(tmp_path):
    """Squares, because passerby squeezes a picture where CLIP's own code cuts its middle out."""
    from transformers import CLIPImageProcessor

    from passerby import load

    theirs = save_transformers_clip(tmp_path)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    processor.save_pretrained(tmp_path)
    rng = np.random.default_rng(0)
    pictures = [
        np.array(Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((side, side)))
        for side in (20, 32, 50, 100)
    ]
    with torch.no_grad():
        pixels = [processor(picture, return_tensors="pt").pixel_values for picture in pictures]
        expected = torch.cat([unit(theirs.get_image_features(one)) for one in pixels]).numpy()
    vectors = load(tmp_path).encode_images(pictures)
    assert (vectors * expected).sum(axis=1).min() > 0.999
    read = read_clip(tmp_path).config.preprocessing
    assert read.interpolation == "bicubic"
    mean, std = np.array(read.mean), np.array(read.std)
    for picture, one in zip(pictures, pixels, strict=True):
        ours = (resize_image(picture, read.image_size, read.interpolation) / 255 - mean) / std
        assert np.abs(ours - one[0].permute(1, 2, 0).numpy()).max() < 0.03  # two of 255 steps


def save_open_clip(folder, quick_gelu=False, custom_text=False, mlp_ratio=4.0):
    import open_clip

    size, _ = write_clip_tokenizer(folder / "tokenizer.json")
    config = {
        "embed_dim": 24,
        "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": [32, 16], "layers": 2, "width": 64, "patch_size": 8, "head_width": 16, "mlp_ratio": mlp_ratio,
        },
        "text_cfg": {"context_length": 16, "vocab_size": size, "width": 32, "heads": 4, "layers": 2},
    }  # fmt: skip
    model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config).eval()
    spread_weights(model)
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    preprocessing = {"mean": [0.5, 0.4, 0.3], "std": [0.3, 0.3, 0.3], "interpolation": "bicubic"}
    write_json(folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": preprocessing})
    return model


@pytest.mark.parametrize("options", [{}, {"quick_gelu": True}, {"custom_text": True}, {"mlp_ratio": 2.0}])
def test_open_clip_gives_the_same_vectors(tmp_path, options):
    theirs = save_open_clip(tmp_path, **options)
    ours = read_clip(tmp_path)
    assert ours.config.preprocessing.image_size == (32, 16)
    assert ours.config.preprocessing.mean == (0.5, 0.4, 0.3)
    images = torch.randn(3, 3, 32, 16)
    ids = torch.from_numpy(ours.tokenizer.encode(SENTENCES))
    padded = torch.nn.functional.pad(ids, (0, 16 - ids.shape[1]))
    with torch.no_grad():
        torch.testing.assert_close(ours.model.encode_images(images), theirs.encode_image(images, True), **CLOSE)
        torch.testing.assert_close(ours.model.encode_texts(ids), theirs.encode_text(padded, True), **CLOSE)


def save_mobile_clip(folder, trunk="fastvit_mci0", causal=False):
    """A MobileCLIP as its makers publish it in open_clip's form, with a small text tower and random weights."""
    import open_clip

    size, _ = write_clip_tokenizer(folder / "tokenizer.json")
    config = {
        "embed_dim": 24,
        "vision_cfg": {
            "timm_model_name": trunk, "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": None,
            "timm_drop": 0.0, "timm_drop_path": 0.0, "image_size": 64,
        },
        "text_cfg": {
            "context_length": 16, "vocab_size": size, "width": 32, "heads": 4, "layers": 2,
            "no_causal_mask": not causal,
        },
    }  # fmt: skip
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(**config).eval()
    spread_weights(model.text)
    torch.nn.init.normal_(model.visual.trunk.head.fc.bias, std=0.2)
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    preprocessing = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "interpolation": "bilinear"}
    tree = {"model_cfg": {**config, "custom_text": True}, "preprocess_cfg": preprocessing}
    write_json(folder / "open_clip_config.json", tree)
    return model


@pytest.mark.parametrize("causal", [False, True])
def test_mobile_clip_gives_the_same_vectors(tmp_path, causal):
    theirs = save_mobile_clip(tmp_path, causal=causal)
    ours = read_clip(tmp_path)
    assert ours.config.preprocessing.mean == (0.0, 0.0, 0.0)
    assert ours.config.preprocessing.std == (1.0, 1.0, 1.0)
    assert "apple-amlr" in ours.config.licence
    images = torch.rand(2, 3, 64, 64)
    ids = torch.from_numpy(ours.tokenizer.encode(SENTENCES))
    padded = torch.nn.functional.pad(ids, (0, 16 - ids.shape[1]))
    with torch.no_grad():
        torch.testing.assert_close(ours.model.encode_images(images), theirs.encode_image(images, True), **CLOSE)
        expected = theirs.encode_text(padded, True)
        torch.testing.assert_close(ours.model.encode_texts(ids), expected, **CLOSE)
        # A short sentence alone is cropped; where its words look at the padding, the tower puts the padding back.
        alone = torch.from_numpy(ours.tokenizer.encode(SENTENCES[:1]))
        assert alone.shape[1] < 16
        torch.testing.assert_close(ours.model.encode_texts(alone), expected[:1], **CLOSE)
    again = build_dual_encoder(ours.config.model)
    again.load_state_dict(ours.model.state_dict())


def test_timms_own_trunk_of_mobile_clip(tmp_path):
    """The form that timm publishes: the trunk alone, whose features are the projected vectors of the whole."""
    import timm

    theirs = save_mobile_clip(tmp_path)
    trunk = timm.create_model("fastvit_mci0", num_classes=24).eval()
    trunk.load_state_dict(theirs.visual.trunk.state_dict())
    save_file({name: t.contiguous() for name, t in trunk.state_dict().items()}, tmp_path / "model.safetensors")
    tower = image_tower("fastvit_mci0", image_size=(64, 64), weights=str(tmp_path / "model.safetensors")).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(tower(images), trunk.forward_head(trunk.forward_features(images), pre_logits=True))
        torch.testing.assert_close(unit(trunk.head.fc(tower(images))), theirs.encode_image(images, True), **CLOSE)
        torch.testing.assert_close(tower.fused()(images), tower(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("key", "value"),
    [("timm_model_name", "resnet50"), ("timm_pool", "abs_attn"), ("timm_proj", "mlp"), ("timm_patch", 3)],
)
def test_other_trunks_and_heads_are_refused_by_name(tmp_path, key, value):
    save_mobile_clip(tmp_path)
    tree = json.loads((tmp_path / "open_clip_config.json").read_text())
    tree["model_cfg"]["vision_cfg"][key] = value
    write_json(tmp_path / "open_clip_config.json", tree)
    with pytest.raises(CheckpointError, match=f"vision_cfg.{key}={value!r} asks for a CLIP variant"):
        read_clip(tmp_path)


def test_a_mobile_clip_is_no_clip_tower(tmp_path):
    save_mobile_clip(tmp_path)
    with pytest.raises(CheckpointError, match="use the tower timm:fastvit_mci0"):
        image_tower("clip", source=str(tmp_path))
    assert read_clip_parts(tmp_path).text["causal"] is False
    assert text_tower("clip", source=str(tmp_path)).causal is False


def test_the_wrong_activation_would_show(tmp_path):
    """The comparisons above can fail: the same weights under the other activation are not close."""
    theirs = save_open_clip(tmp_path, quick_gelu=True)
    tree = json.loads((tmp_path / "open_clip_config.json").read_text())
    tree["model_cfg"]["quick_gelu"] = False
    write_json(tmp_path / "open_clip_config.json", tree)
    images = torch.randn(3, 3, 32, 16)
    with torch.no_grad():
        difference = read_clip(tmp_path).model.encode_images(images) - theirs.encode_image(images, True)
    assert difference.abs().max() > 1e-3


def test_weights_in_parts_and_in_half_precision(tmp_path):
    save_transformers_clip(tmp_path)
    whole = read_clip_parts(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    names = sorted(weights)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, members in parts.items():
        save_file({name: weights[name].half() for name in members}, tmp_path / file)
    (tmp_path / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, members in parts.items() for name in members}}
    write_json(tmp_path / "model.safetensors.index.json", index)
    read = read_clip_parts(tmp_path)
    assert read.tensors.keys() == whole.tensors.keys()
    for name, tensor in read.tensors.items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, whole.tensors[name], rtol=1e-3, atol=1e-3)
    index["weight_map"][names[0]] = "../outside.safetensors"
    write_json(tmp_path / "model.safetensors.index.json", index)
    with pytest.raises(CheckpointError, match="outside its folder"):
        read_clip_parts(tmp_path)


def test_clip_towers_by_folder(tmp_path):
    save_transformers_clip(tmp_path)
    parts = read_clip_parts(tmp_path)
    text, image = text_tower("clip", source=str(tmp_path)), image_tower(f"clip:{tmp_path}")
    torch.testing.assert_close(text.embedding.weight, parts.tensors["text_tower.embedding.weight"])
    torch.testing.assert_close(image.positions, parts.tensors["image_tower.positions"])
    tokenizer = text_tower_tokenizer("clip", 12, source=str(tmp_path))
    assert tokenizer.context_length == 12
    assert tokenizer.encode(SENTENCES).max() == parts.text["end_id"]
    config = {
        "image": {"name": "clip", "options": {"source": str(tmp_path)}},
        "text": {"name": "clip", "options": {"source": str(tmp_path)}},
        "embedding_dim": 24,
    }
    model = build_dual_encoder(config, image_size=(32, 32), vocabulary_size=5, context_length=5)
    assert "source" not in model.config["text"]["options"]
    again = build_dual_encoder(model.config)
    again.load_state_dict(model.state_dict())


def test_distilbert_equals_transformers(tmp_path):
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    config = DistilBertConfig(vocab_size=60, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=20)
    theirs = DistilBertForMaskedLM(config).eval()
    spread_weights(theirs)
    theirs.save_pretrained(tmp_path)
    ours = text_tower("distilbert", source=str(tmp_path)).eval()
    ids = torch.tensor([[3, 4, 5, 0, 0], [7, 8, 9, 2, 1]])
    with torch.no_grad():
        expected = theirs.distilbert(ids, attention_mask=(ids != 0).long()).last_hidden_state
        torch.testing.assert_close(ours(ids), expected[:, 0], **CLOSE)
    again = text_tower("distilbert", **ours.options)
    again.load_state_dict(ours.state_dict())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickles are never opened"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 40), "cannot be read"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda f: (f / "config.json").write_text("{}"), "cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
    ],
)
def test_damaged_clip_folders(tmp_path, damage, words):
    save_transformers_clip(tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=words):
        read_clip(tmp_path)


def test_weights_of_another_shape_are_refused_with_both(tmp_path):
    save_transformers_clip(tmp_path)
    tree = json.loads((tmp_path / "config.json").read_text())
    tree["projection_dim"] = 25
    write_json(tmp_path / "config.json", tree)
    with pytest.raises(CheckpointError, match=r"shape \(24, .*asks for \(25, "):
        read_clip(tmp_path)


@pytest.mark.parametrize(
    ("tower", "key", "value"),
    [
        ("vision_cfg", "timm_model_name", "vit_base"),
        ("vision_cfg", "pool_type", "avg"),
        ("vision_cfg", "attentional_pool", True),
        ("text_cfg", "hf_model_name", "roberta-base"),
        ("text_cfg", "embed_cls", True),
    ],
)
def test_clip_variants_that_we_do_not_have_are_refused_by_name(tmp_path, tower, key, value):
    save_open_clip(tmp_path)
    tree = json.loads((tmp_path / "open_clip_config.json").read_text())
    tree["model_cfg"][tower][key] = value
    write_json(tmp_path / "open_clip_config.json", tree)
    with pytest.raises(CheckpointError, match=f"{tower}.{key}={value!r} asks for a CLIP variant"):
        read_clip(tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "bert"}, "'bert'; expected 'distilbert'"),
        ({"model_type": "distilbert", "activation": "relu"}, "relu"),
    ],
)
def test_other_berts_are_refused(tmp_path, config, words):
    write_json(tmp_path / "config.json", config)
    with pytest.raises(CheckpointError, match=words):
        text_tower("distilbert", source=str(tmp_path))


def test_the_fingerprint_follows_the_weights(tmp_path):
    save_transformers_clip(tmp_path)
    first = read_clip(tmp_path).config.fingerprint
    assert read_clip(tmp_path).config.fingerprint == first
    weights = load_file(tmp_path / "model.safetensors")
    weights["logit_scale"] = torch.tensor(np.float32(1.0))
    save_file(weights, tmp_path / "model.safetensors")
    assert read_clip(tmp_path).config.fingerprint != first
