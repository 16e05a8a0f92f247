import json
import os

import numpy as np
import pytest
import safetensors.numpy
import torch

from passerby.errors import CheckpointError, ConfigError
from passerby.models import folder as folders
from passerby.models.checkpoint import read_checkpoint, write_checkpoint
from passerby.models.folder import extended, replacing, write_manifest
from passerby.models.restore import restore_dual_encoder, save_dual_encoder
from tiny_models import save_tiny, tiny_model, tiny_tokenizer


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    model = save_tiny(tmp_path / "c", metrics={"r1": 71.25}, trained_on="the street")
    checkpoint = read_checkpoint(tmp_path / "c")
    again = restore_dual_encoder(checkpoint)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert checkpoint.config.metrics == {"r1": 71.25}
    assert checkpoint.config.embedding_dim == 32
    assert checkpoint.tokenizer().to_json() == tiny_tokenizer().to_json()
    assert not checkpoint.exported
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"], "nothing is left beside it"


def test_the_card_tells_what_it_is(tmp_path):
    save_tiny(tmp_path / "c", metrics={"r1": 71.25}, trained_on="a | b", about="Knows drawn people only.")
    card = (tmp_path / "c" / "README.md").read_text()
    for words in (
        "# tiny",
        "Knows drawn people only.",
        "`stripe_conv`",
        "71.25",
        "identifies nobody",
        "Apache-2.0",
        "a \\| b",
        "32 x 16",
    ):
        assert words in card
    save_tiny(tmp_path / "d", metrics={"my_val_map": 80.1002, "val_loss": 1.25}, licence="own terms: ask")
    other = (tmp_path / "d" / "README.md").read_text()
    assert "| mAP on the split `my_val` | 80.1 % |\n| val_loss | 1.25 |" in other
    assert 'license: other\nlicense_name: "own terms: ask"' in other
    assert "license: apache-2.0\n---" in card


def test_half_precision_halves_the_file_and_keeps_the_vectors(tmp_path):
    model = save_tiny(tmp_path / "full")
    save_tiny(tmp_path / "half", weights_dtype="float16")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    again = restore_dual_encoder(read_checkpoint(tmp_path / "half"))
    assert {tensor.dtype for tensor in again.state_dict().values()} == {torch.float32, torch.int64}
    images = torch.randn(4, 3, 32, 16)
    with torch.no_grad():
        cosine = (again.encode_images(images) * model.encode_images(images)).sum(dim=1)
    assert cosine.min() > 0.99999


def test_the_fingerprint_names_everything_that_decides_a_vector(tmp_path):
    tokenizer, model = tiny_tokenizer(), tiny_model()
    seen = set()

    def mark(**options):
        return save_dual_encoder(model, tokenizer, tmp_path / "c", **{"name": "a", **options}).config.fingerprint

    seen.add(mark())
    assert mark(name="b", metrics={"r1": 1.0}) in seen, "a name decides no vector"
    seen.add(mark(weights_dtype="float16"))
    with torch.no_grad():
        model.text_projection.weight[0, 0] += 1e-3
    seen.add(mark())
    tokenizer = tiny_tokenizer(context_length=15)
    seen.add(mark())
    assert len(seen) == 4


def test_writing_again_replaces_the_folder_whole(tmp_path):
    save_tiny(tmp_path / "c")
    (tmp_path / "c" / "stray.txt").write_text("x")
    save_tiny(tmp_path / "c", name="second")
    assert read_checkpoint(tmp_path / "c").config.name == "second"
    assert not (tmp_path / "c" / "stray.txt").exists()


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_tiny(tmp_path / "c")
    before = read_checkpoint(tmp_path / "c").config.fingerprint

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "_sync", full)
    with pytest.raises(CheckpointError, match=r"No space left.*Nothing was lost"):
        save_tiny(tmp_path / "c", name="second")
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "c").config.fingerprint == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_failed_rename_brings_the_old_folder_back(tmp_path, monkeypatch):
    save_tiny(tmp_path / "c")
    from pathlib import Path

    rename = Path.rename

    def failing(self, target):
        if self.suffix == ".new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(CheckpointError, match="Input/output error"):
        save_tiny(tmp_path / "c", name="second")
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "c").config.name == "tiny"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(CheckpointError, match="could not be written"):
        save_tiny(locked / "c")


def test_a_foreign_folder_is_not_overwritten(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        save_tiny(tmp_path / "photos")
    assert (tmp_path / "photos" / "a.jpg").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "README.md"])
def test_one_flipped_byte_is_found_anywhere(tmp_path, name):
    save_tiny(tmp_path / "c")
    path = tmp_path / "c" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} is damaged.*restore the folder"):
        read_checkpoint(tmp_path / "c")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "manifest.json"])
def test_a_missing_file_is_named(tmp_path, name):
    save_tiny(tmp_path / "c")
    (tmp_path / "c" / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(tmp_path / "c")


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "onnx/extra.pkl"])
def test_a_pickle_is_refused_by_name(tmp_path, name):
    save_tiny(tmp_path / "c")
    (tmp_path / "c" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "c" / name).write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match="may hold a pickle"):
        read_checkpoint(tmp_path / "c")


def changed(folder, change):
    tree = json.loads((folder / "config.json").read_text())
    change(tree)
    (folder / "config.json").write_text(json.dumps(tree))
    write_manifest(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.update(format_version=2), "format version 2.*upgrade passerby"),
        (lambda tree: tree.update(kind="dual_encodr"), "Did you mean 'dual_encoder'"),
        (lambda tree: tree.pop("preprocessing"), "cannot be read"),
        (lambda tree: tree["preprocessing"].update(std=[0, 0, 0]), "cannot be read"),
        (lambda tree: tree["model"].pop("embedding_dim"), "embedding_dim is missing"),
        (lambda tree: tree.update(model=[]), "cannot be read"),
    ],
)
def test_a_wrong_configuration(tmp_path, change, words):
    save_tiny(tmp_path / "c")
    changed(tmp_path / "c", change)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / "c")


def test_an_unknown_tower_names_the_nearest(tmp_path):
    save_tiny(tmp_path / "c")
    changed(tmp_path / "c", lambda tree: tree["model"]["image"].update(name="strip_conv"))
    with pytest.raises(ConfigError, match="Did you mean 'stripe_conv'"):
        restore_dual_encoder(read_checkpoint(tmp_path / "c"))


def test_a_configuration_cannot_name_code(tmp_path):
    save_tiny(tmp_path / "c")
    changed(tmp_path / "c", lambda tree: tree["model"]["text"].update(name="os.system"))
    with pytest.raises(ConfigError, match=r"no text tower is called 'os\.system'"):
        restore_dual_encoder(read_checkpoint(tmp_path / "c"))


def rewrite(folder, change):
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    write_manifest(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t.update({"text_projection.weight": np.zeros((3, 4), np.float32)}),
            r"'text_projection.weight' has shape \(3, 4\), the configuration asks for \(32, 120\)",
        ),
        (lambda t: t.pop("log_scale"), r"lacks 1 weights \(first: log_scale\)"),
        (lambda t: t.update(extra=np.zeros(1, np.float32)), r"brings 1 unknown ones \(first: extra\)"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, change, words):
    save_tiny(tmp_path / "c")
    rewrite(tmp_path / "c", change)
    with pytest.raises(CheckpointError, match=words):
        restore_dual_encoder(read_checkpoint(tmp_path / "c"))


def test_a_manifest_cannot_reach_outside(tmp_path):
    save_tiny(tmp_path / "c")
    path = tmp_path / "c" / "manifest.json"
    tree = json.loads(path.read_text())
    tree["files"]["../secret"] = "0"
    path.write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match="outside its folder"):
        read_checkpoint(tmp_path / "c")


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', "\x00"])
def test_a_damaged_manifest(tmp_path, content):
    save_tiny(tmp_path / "c")
    (tmp_path / "c" / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(tmp_path / "c")


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    tokenizer, model = tiny_tokenizer(), tiny_model()
    with torch.no_grad():
        model.text_projection.weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"'text_projection.weight' holds NaN"):
        save_dual_encoder(model, tokenizer, tmp_path / "c", name="x")
    with torch.no_grad():
        model.text_projection.weight[0, 0] = 1e6
    with pytest.raises(CheckpointError, match="too large for float16"):
        save_dual_encoder(model, tokenizer, tmp_path / "c", name="x", weights_dtype="float16")
    with pytest.raises(ConfigError, match="weights_dtype is 'int8'"):
        save_dual_encoder(model, tokenizer, tmp_path / "c", name="x", weights_dtype="int8")
    assert not (tmp_path / "c").exists()


def test_extending_copies_all_but_what_is_replaced(tmp_path):
    save_tiny(tmp_path / "c")
    before = read_checkpoint(tmp_path / "c")
    with extended(tmp_path / "c", without=("README.md",)) as copy:
        assert not (copy / "README.md").exists()
        (copy / "README.md").write_text("new")
    after = read_checkpoint(tmp_path / "c")
    assert after.config == before.config
    assert (tmp_path / "c" / "README.md").read_text() == "new"


def test_a_killed_block_leaves_nothing(tmp_path):
    def write_half():
        with replacing(tmp_path / "c") as temporary:
            (temporary / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_no_folder(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        read_checkpoint(tmp_path / "nowhere")


def test_tensors_of_every_shape_survive(tmp_path):
    tokenizer, model = tiny_tokenizer(), tiny_model()
    config = save_dual_encoder(model, tokenizer, tmp_path / "c", name="x").config
    tensors = {"scalar": np.array(1.5, np.float32), "empty": np.zeros((0, 3), np.float32), "whole": np.arange(3)}
    written = write_checkpoint(tmp_path / "d", config, tensors, tokenizer).tensors()
    for name, tensor in tensors.items():
        assert written[name].shape == tensor.shape
        np.testing.assert_array_equal(written[name], tensor)
