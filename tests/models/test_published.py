"""Public checkpoints: tiny random ones in each form, beside open_clip's vectors and the local heads written out."""

import pytest
import torch
from safetensors.torch import save_file

from passerby.errors import CheckpointError
from passerby.models.itself import Itself
from passerby.models.openai_names import clip_of_state
from passerby.models.published import read_published, read_state
from tiny_models import spread_weights

CLOSE = {"rtol": 0, "atol": 1e-5}
SIZE = (48, 16)
IDS = torch.tensor([[50, 3, 4, 5, 59, 0, 0, 0, 0, 0], [50, 7, 59, 0, 0, 0, 0, 0, 0, 0]])


def their_clip():
    import open_clip

    model = open_clip.CLIP(
        embed_dim=24,
        quick_gelu=True,
        vision_cfg={"image_size": list(SIZE), "layers": 3, "width": 64, "patch_size": 8, "head_width": 64},
        text_cfg={"context_length": 10, "vocab_size": 60, "width": 64, "heads": 1, "layers": 3},
    ).eval()
    spread_weights(model)
    return model


def their_state(model, prefix="base_model."):
    return {f"{prefix}{name}": value.clone() for name, value in model.state_dict().items() if "attn_mask" not in name}


def their_heads(dim=16, channels=24):
    """The local heads as RDE and ITSELF name them, with what training alone needed."""
    torch.manual_seed(3)
    state = {}
    for layer, shortcut in (("visul_emb_layer", "fc"), ("texual_emb_layer", "linear")):
        shapes = {
            f"{shortcut}.weight": (dim, channels), f"{shortcut}.bias": (dim,),
            "mlp.layers.0.weight": (dim // 2, channels), "mlp.layers.0.bias": (dim // 2,),
            "mlp.layers.1.weight": (dim, dim // 2), "mlp.layers.1.bias": (dim,),
        }  # fmt: skip
        for index, width in enumerate((dim // 2, dim)):
            for name in ("weight", "bias", "running_mean"):
                shapes[f"mlp.bns.{index}.{name}"] = (width,)
            state[f"{layer}.mlp.bns.{index}.running_var"] = torch.rand(width) + 0.5
            state[f"{layer}.mlp.bns.{index}.num_batches_tracked"] = torch.tensor(7)
        state |= {f"{layer}.{name}": torch.randn(shape) for name, shape in shapes.items()}
    state |= {"visul_emb_layer.linear.weight": torch.randn(dim, channels)}
    return state | {"visul_emb_layer.linear.bias": torch.randn(dim)}


def save(path, state):
    torch.save({"model": state, "optimizer": {"lr": 1e-5}, "epoch": 3}, path)
    return path


@pytest.mark.parametrize("prefix", ["base_model.", "", "module.base_model."])
def test_clip_and_irra_give_open_clips_vectors(tmp_path, prefix):
    theirs = their_clip()
    state = their_state(theirs, prefix)
    if "base_model" in prefix:
        state |= {f"{prefix.removesuffix('base_model.')}classifier.weight": torch.randn(5, 24)}
    found = read_published(save(tmp_path / "best.pth", state), image_size=SIZE)
    assert found.method == ("irra" if prefix else "clip")
    assert bool(found.left_behind) == bool(prefix)
    images = torch.randn(3, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(found.model.encode_images(images), theirs.encode_image(images, True), **CLOSE)
        torch.testing.assert_close(found.model.encode_texts(IDS), theirs.encode_text(IDS, True), **CLOSE)


def test_openai_names_in_safetensors(tmp_path):
    theirs = their_clip()
    save_file({name: value.contiguous() for name, value in their_state(theirs, "").items()}, tmp_path / "w.safetensors")
    found = read_published(tmp_path / "w.safetensors", image_size=SIZE)
    with torch.no_grad():
        torch.testing.assert_close(found.model.encode_texts(IDS), theirs.encode_text(IDS, True), **CLOSE)


def naive_local(state, layer, shortcut, tokens):
    """One sentence or picture: the head as published, in evaluation mode, over tokens (K, C)."""
    unit = tokens / tokens.norm(dim=1, keepdim=True)
    hidden = unit @ state[f"{layer}.mlp.layers.0.weight"].T + state[f"{layer}.mlp.layers.0.bias"]
    bns = f"{layer}.mlp.bns.0"
    hidden = (hidden - state[f"{bns}.running_mean"]) / (state[f"{bns}.running_var"] + 1e-5).sqrt()
    hidden = (hidden * state[f"{bns}.weight"] + state[f"{bns}.bias"]).relu()
    embedded = hidden @ state[f"{layer}.mlp.layers.1.weight"].T + state[f"{layer}.mlp.layers.1.bias"]
    return (embedded + unit @ state[f"{layer}.{shortcut}.weight"].T + state[f"{layer}.{shortcut}.bias"]).amax(dim=0)


@pytest.mark.parametrize("method", ["rde", "itself"])
def test_local_branches_of_rde_and_itself(tmp_path, method):
    theirs, heads = their_clip(), their_heads()
    state = their_state(theirs) | heads
    if method == "itself":
        state |= {"classifier_grab.weight": torch.randn(5, 16), "mlp_grab.0.weight": torch.randn(16, 32)}
    found = read_published(save(tmp_path / "best.pth", state), image_size=SIZE)
    assert found.method == method
    assert isinstance(found.model, Itself)
    assert found.model.local.ratio == (0.4 if method == "itself" else 0.3)
    assert found.model.test_selector.name == "last"
    assert "visul_emb_layer.linear.weight" in found.left_behind
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        selected = found.model.select_patches(images)
        dense = found.model.image_projection(found.model.image_tower.dense(selected.tokens))
        _, local = found.model.picture_branches(images)
        for row in range(2):
            chosen = dense[row, selected.places[row]]
            torch.testing.assert_close(local[row], naive_local(heads, "visul_emb_layer", "fc", chosen), **CLOSE)
        whole, words = found.model.sentence_branches(IDS)
        shared = found.model.text_projection(found.model.text_tower.tokens(IDS))
        kept = found.model.select_words(IDS)
        for row in range(2):
            chosen = shared[row, kept.places[row][kept.taken[row]]]
            torch.testing.assert_close(words[row], naive_local(heads, "texual_emb_layer", "linear", chosen), **CLOSE)
        torch.testing.assert_close(whole, theirs.encode_text(IDS), rtol=0, atol=1e-4)


def test_another_picture_size_is_interpolated_only_when_asked_and_said(tmp_path, caplog):
    path = save(tmp_path / "best.pth", their_state(their_clip()))
    state = read_state(path)
    square = {name.removeprefix("base_model."): value for name, value in state.items()}
    square["visual.positional_embedding"] = torch.randn(1 + 16, 64)
    torch.save(square, tmp_path / "square.pt")
    with pytest.raises(CheckpointError, match=r"32x32 pixels.*48x16 were asked.*resample=True"):
        read_published(tmp_path / "square.pt", image_size=SIZE)
    found = read_published(tmp_path / "square.pt", image_size=SIZE, resample=True)
    assert found.model.image_tower.grid == (6, 2)
    assert "interpolated from 32x32 to 48x16" in caplog.text
    assert read_published(tmp_path / "square.pt", image_size=(32, 32)).model.image_tower.grid == (4, 4)
    square["visual.positional_embedding"] = torch.randn(1 + 15, 64)
    with pytest.raises(CheckpointError, match="15 patches"):
        clip_of_state(square, "it", SIZE)


class Harmful:
    def __reduce__(self):
        return (print, ("opened",))


def test_files_that_are_not_weights(tmp_path, capsys):
    torch.save({"model": Harmful()}, tmp_path / "harmful.pth")
    (tmp_path / "noise.pth").write_bytes(b"noise")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": {"a": 1}}, tmp_path / "empty.pth")
    torch.save({"visual.layer1.0.conv1.weight": torch.ones(1)}, tmp_path / "resnet.pth")
    for name, message in (
        ("harmful", "not opened"), ("noise", "damaged"), ("list", "weights by name"), ("empty", "no weights"),
        ("resnet", "ResNet"), ("absent", "no file"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=message):
            read_published(tmp_path / f"{name}.pth")
    assert "opened" not in capsys.readouterr().out


def test_torchscript_archives_are_named_for_what_they_are(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "ViT-B-16.pt"))
    with pytest.raises(CheckpointError, match=r"TorchScript.*hf:openai"):
        read_published(tmp_path / "ViT-B-16.pt")
