import numpy as np
import onnx
import pytest

import passerby
from passerby.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from passerby.export import onnx as exporter
from passerby.export.onnx import export_onnx
from passerby.models.checkpoint import read_checkpoint
from passerby.models.itself import build_itself
from passerby.models.restore import save_dual_encoder, save_model
from tiny_models import save_tiny, spread_weights, tiny_model, tiny_tokenizer, write_clip_tokenizer

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (40, 20, 3), dtype=np.uint8) for _ in range(5)]
SENTENCES = ["a woman in a red coat", "jeans", "a man with a black backpack and grey trainers"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "c"
    save_tiny(folder)
    report = export_onnx(folder, pictures=PICTURES)
    return folder, report


def test_the_report_says_how_close_it_is(exported):
    folder, report = exported
    assert report.image.rows == 15
    assert min(report.image.cosine, report.text.cosine) >= 0.9999
    assert max(report.image.max_difference, report.text.max_difference) < 1e-5
    assert report.folder == folder
    assert report.bytes > 0


def test_the_folder_is_still_whole_and_keeps_its_fingerprint(exported):
    checkpoint = read_checkpoint(exported[0])
    assert checkpoint.exported
    assert checkpoint.has_weights
    files = ["README.md", "config.json", "manifest.json", "model.safetensors", "onnx", "tokenizer.json"]
    assert sorted(path.name for path in exported[0].iterdir()) == files
    assert [path.name for path in exported[0].parent.iterdir()] == ["c"]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_every_runtime_gives_the_vectors_of_torch(exported, runtime):
    pytest.importorskip(runtime)
    reference, other = (passerby.load(exported[0], runtime=name, threads=1) for name in ("torch", runtime))
    for count in (1, 2, 7):
        pictures = [RNG.integers(0, 256, (40, 20, 3), dtype=np.uint8) for _ in range(count)]
        cosine = (reference.encode_images(pictures) * other.encode_images(pictures)).sum(axis=1)
        assert cosine.min() > (0.9999 if runtime == "onnxruntime" else 0.999)
        texts = (SENTENCES * 3)[:count]
        cosine = (reference.encode_texts(texts) * other.encode_texts(texts)).sum(axis=1)
        assert cosine.min() > (0.9999 if runtime == "onnxruntime" else 0.999)


@pytest.mark.parametrize("tower", ["image", "text"])
def test_the_files_describe_themselves_and_not_the_machine(exported, tower):
    path = exported[0] / "onnx" / f"{tower}.onnx"
    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["passerby_tower"] == tower
    assert metadata["passerby_fingerprint"] == read_checkpoint(exported[0]).config.fingerprint
    assert '"image_size": [32, 16]' in metadata["passerby_preprocessing"]
    assert metadata["passerby_context_length"] == "16"
    content = path.read_bytes()
    for trace in (b".py", b"site-packages", b"passerby/", str(exported[0].parent).encode()):
        assert trace not in content
    dimension = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert dimension.dim_param, "the batch is free"


def test_half_precision_files_are_half_as_large(exported, tmp_path):
    save_tiny(tmp_path / "c")
    report = export_onnx(tmp_path / "c", weights_dtype="float16")
    assert report.bytes < 0.75 * exported[1].bytes
    assert min(report.image.cosine, report.text.cosine) >= 0.9999


def test_an_exported_folder_alone_is_a_model(exported, tmp_path):
    export_onnx(exported[0], out=tmp_path / "alone")
    assert not (tmp_path / "alone" / "model.safetensors").exists()
    alone, whole = passerby.load(tmp_path / "alone"), passerby.load(exported[0])
    assert alone.fingerprint == whole.fingerprint
    np.testing.assert_allclose(alone.encode_texts(SENTENCES), whole.encode_texts(SENTENCES), atol=1e-6)
    with pytest.raises(CheckpointError, match=r"torch runtime needs its model\.safetensors"):
        passerby.load(tmp_path / "alone", runtime="torch")
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        export_onnx(tmp_path / "alone")


def test_exporting_again_replaces_the_towers(tmp_path):
    save_tiny(tmp_path / "c")
    first = export_onnx(tmp_path / "c")
    second = export_onnx(tmp_path / "c", weights_dtype="float16")
    assert second.bytes < first.bytes
    assert read_checkpoint(tmp_path / "c").exported


@pytest.mark.parametrize("text", ["transformer", "clip"])
def test_other_text_towers_can_be_exported(tmp_path, text):
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer, text, heads=4)
    save_dual_encoder(model, tokenizer, tmp_path / "c", name=text)
    assert export_onnx(tmp_path / "c").text.cosine >= 0.9999


def test_distilbert_and_timm_can_be_exported(tmp_path):
    from passerby.models.dual_encoder import build_dual_encoder

    tokenizer = tiny_tokenizer()
    options = {"channels": 16, "layers": 2, "heads": 4, "mlp_width": 32}
    config = {
        "image": {"name": "timm:test_resnet", "options": {"weights": "random"}},
        "text": {"name": "distilbert", "options": options},
        "embedding_dim": 16,
    }
    model = build_dual_encoder(
        config, image_size=(64, 32), vocabulary_size=tokenizer.vocabulary_size, context_length=tokenizer.context_length
    )
    save_dual_encoder(model.eval(), tokenizer, tmp_path / "c", name="x")
    report = export_onnx(tmp_path / "c")
    assert min(report.image.cosine, report.text.cosine) >= 0.9999


def test_a_clip_folder_is_exported_elsewhere_and_never_changed(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    clip = tmp_path / "clip"
    clip.mkdir()
    size, end = write_clip_tokenizer(clip / "tokenizer.json")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": size, "max_position_embeddings": 12, "bos_token_id": end - 1, "eos_token_id": end}
    theirs = CLIPModel(
        CLIPConfig(text_config=text, vision_config={**small, "image_size": 16, "patch_size": 8}, projection_dim=8)
    )
    spread_weights(theirs)
    theirs.save_pretrained(clip)
    with pytest.raises(ConfigError, match="--out"):
        export_onnx(clip)
    export_onnx(clip, out=tmp_path / "out")
    zero_shot, light = passerby.load(clip), passerby.load(tmp_path / "out", runtime="onnxruntime")
    assert zero_shot.runtime.name == "torch"
    assert light.fingerprint == zero_shot.fingerprint
    np.testing.assert_allclose(light.encode_images(PICTURES), zero_shot.encode_images(PICTURES), atol=1e-5)
    np.testing.assert_allclose(light.encode_texts(SENTENCES), zero_shot.encode_texts(SENTENCES), atol=1e-5)


def test_a_tower_that_differs_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    save_tiny(tmp_path / "c")
    before = {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()}

    def wrong(*args):
        return np.roll(args[0], 1)

    monkeypatch.setattr(
        "passerby.models.runtimes.onnxruntime_engine.OnnxRuntime.texts", lambda self, ids: wrong(TEXTS(ids))
    )
    from passerby.models.restore import restore_dual_encoder
    from passerby.models.runtimes.torch_engine import TorchRuntime

    TEXTS = TorchRuntime(restore_dual_encoder(read_checkpoint(tmp_path / "c")), "cpu").texts
    with pytest.raises(CheckpointError, match=r"text tower differs.*nothing was kept"):
        export_onnx(tmp_path / "c")
    assert {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_wrong_input(tmp_path, monkeypatch):
    save_tiny(tmp_path / "c")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="'int8'; expected"):
        export_onnx(tmp_path / "c", weights_dtype="int8")
    with pytest.raises(CheckpointError, match="no model"):
        export_onnx(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        export_onnx(tmp_path / "c", out=tmp_path / "photos")
    with pytest.raises(DataError, match=r"a\.jpg"):
        export_onnx(tmp_path / "c", pictures=[tmp_path / "photos" / "a.jpg"])
    monkeypatch.setattr(exporter, "installed", lambda package: package != "onnxscript")
    with pytest.raises(MissingExtraError, match=r"passerby\[export\]"):
        export_onnx(tmp_path / "c")


def test_a_file_of_another_model_or_version_or_a_damaged_one(exported, tmp_path):
    import shutil

    from passerby.models.folder import write_manifest

    shutil.copytree(exported[0], tmp_path / "c")
    path = tmp_path / "c" / "onnx" / "text.onnx"
    for key, value, words in (
        ("passerby_format", "2", "export version 2.*upgrade"),
        ("passerby_fingerprint", "0" * 64, "was exported from the model 000000000000"),
        ("passerby_tower", "image", "expected 'text'"),
    ):
        model = onnx.load(exported[0] / "onnx" / "text.onnx")
        next(entry for entry in model.metadata_props if entry.key == key).value = value
        path.write_bytes(model.SerializeToString())
        write_manifest(tmp_path / "c")
        for runtime in ("onnxruntime", "openvino"):
            with pytest.raises(CheckpointError, match=words):
                passerby.load(tmp_path / "c", runtime=runtime).encode_texts(["red"])
    path.write_bytes(path.read_bytes()[:100])
    write_manifest(tmp_path / "c")
    for runtime in ("onnxruntime", "openvino"):
        with pytest.raises(CheckpointError, match=r"cannot be opened.*export the model again"):
            passerby.load(tmp_path / "c", runtime=runtime).encode_texts(["red"])


def test_a_model_with_a_local_branch_is_refused_and_left_as_it_was(tmp_path):
    tokenizer = tiny_tokenizer()
    small = {"channels": 16, "layers": 2, "heads": 2}
    model = build_itself(
        {
            "image": {"name": "clip", "options": {"patch": 8, **small}},
            "text": {"name": "transformer", "options": small},
            "embedding_dim": 16,
            "local": {"dim": 8, "norm": "layer"},
        },
        image_size=(32, 16),
        vocabulary_size=tokenizer.vocabulary_size,
        context_length=tokenizer.context_length,
    )
    save_model(model, tmp_path / "c", kind="itself", preprocessing=model.preprocessing, tokenizer=tokenizer, name="x")
    before = sorted(path.name for path in (tmp_path / "c").iterdir())
    with pytest.raises(ConfigError, match="local branch"):
        export_onnx(tmp_path / "c")
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == before
