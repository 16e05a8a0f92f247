"""OpenVINO's own form and int8, on tiny models."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import passerby
from passerby.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from passerby.export import int8, openvino
from passerby.export.calibration import Calibration, read_calibration
from passerby.export.int8 import export_int8, first_hits
from passerby.export.openvino import export_openvino
from passerby.export.original import cut, open_original
from passerby.models.checkpoint import read_checkpoint
from passerby.models.folder import write_manifest
from passerby.models.runtimes import onnx_files
from tiny_models import save_tiny

pytest.importorskip("openvino")
RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (40, 20, 3), dtype=np.uint8) for _ in range(5)]
SENTENCES = ["a woman in a red coat", "jeans"]


def few(source, original):
    """Forty pictures of ten people; drawing the street would take longer than all else here."""
    rng = np.random.default_rng(1)
    size = original.config.pictures.image_size
    people = np.arange(40) // 4
    base = rng.integers(0, 256, (10, *size, 3))
    pixels = np.clip(base[people] + rng.integers(-20, 20, (40, *size, 3)), 0, 255).astype(np.uint8)
    ids = rng.integers(1, original.tokenizer.vocabulary_size, (40, original.config.tokens))
    short = rng.integers(1, original.tokenizer.vocabulary_size, (40, original.config.tokens))
    short[np.arange(short.shape[1])[None] >= rng.integers(1, 8, 40)[:, None]] = 0
    return Calibration(pixels, ids, short, people, np.array([], dtype=np.int64), "forty pictures")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "c"
    save_tiny(folder)
    return folder


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "c"
    shutil.copytree(tiny, folder)
    return folder, export_openvino(folder, pictures=PICTURES)


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def quantized(tiny, tmp_path_factory, request):
    pytest.importorskip("nncf")
    patch = pytest.MonkeyPatch()
    patch.setattr(int8, "read_calibration", few)
    folder = tmp_path_factory.mktemp("int8") / "c"
    shutil.copytree(tiny, folder)
    try:
        return request.param, folder, export_int8(folder, request.param)
    finally:
        patch.undo()


def test_openvino_files_give_the_vectors_of_torch(exported):
    folder, report = exported
    assert min(report.image.cosine, report.text.cosine) >= 0.9999
    assert read_checkpoint(folder).forms == ("openvino",)
    reference, other = (passerby.load(folder, runtime=name, threads=1) for name in ("torch", "openvino"))
    assert passerby.load(folder).runtime.name == "openvino"
    assert ((reference.encode_images(PICTURES) * other.encode_images(PICTURES)).sum(axis=1) > 0.999).all()
    assert ((reference.encode_texts(SENTENCES) * other.encode_texts(SENTENCES)).sum(axis=1) > 0.999).all()
    with pytest.raises(CheckpointError, match="no exported towers, which the runtime 'onnxruntime' reads"):
        passerby.load(folder, runtime="onnxruntime")


def test_openvino_files_tell_nothing_of_the_machine(exported):
    for path in (exported[0] / "openvino").iterdir():
        for trace in (b"site-packages", b"passerby/", str(exported[0].parent).encode()):
            assert trace not in path.read_bytes(), path.name


def test_half_weights_are_half_as_large(exported, tiny, tmp_path):
    report = export_openvino(tiny, out=tmp_path / "o", weights_dtype="float16")
    assert report.bytes < exported[1].bytes
    assert not read_checkpoint(tmp_path / "o").has_weights


def test_int8_lies_beside_the_model_with_a_fingerprint_of_its_own(quantized):
    form, folder, report = quantized
    assert report.folder == folder.with_name("c-int8")
    read, original = read_checkpoint(report.folder), read_checkpoint(folder)
    assert read.forms == (form,)
    assert not read.has_weights
    assert read.config.fingerprint != original.config.fingerprint
    assert "int8" in read.config.about
    assert min(report.image.cosine, report.text.cosine) >= 0.98
    assert report.r1[0] - report.r1[1] < 1
    reference = passerby.load(folder, runtime="torch")
    small = passerby.load(report.folder, runtime="openvino" if form == "openvino" else "onnxruntime")
    similarity = (reference.encode_images(PICTURES) * small.encode_images(PICTURES)).sum(axis=1)
    assert (similarity > 0.98).all()
    assert not np.allclose(similarity, 1, atol=1e-7), "it is int8 and not the original"
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_int8_on_a_processor_without_the_instructions(quantized, tiny, monkeypatch):
    form, _, report = quantized
    monkeypatch.setattr(onnx_files, "has_int8", lambda: False)
    monkeypatch.setattr(onnx_files, "cpu_features", lambda: ("avx2",))
    model = passerby.load(report.folder, runtime="openvino" if form == "openvino" else "onnxruntime")
    with pytest.raises(CheckpointError, match=r"no int8 instructions.*use the float export"):
        model.encode_images(PICTURES)
    monkeypatch.setattr(int8, "has_int8", lambda: False)
    monkeypatch.setattr(int8, "cpu_features", lambda: ("avx2",))
    with pytest.raises(CheckpointError, match="export it on a machine that has them"):
        export_int8(tiny, form)


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [("LOWEST_COSINE", 1.1, r"tower differs.*nothing was kept"), ("MOST_LOST", -101.0, "R@1 .* Nothing was kept")],
)
def test_a_quantization_that_loses_too_much_leaves_nothing(tiny, tmp_path, monkeypatch, attribute, value, words):
    monkeypatch.setattr(int8, "read_calibration", few)
    monkeypatch.setattr(int8, attribute, value)
    with pytest.raises(CheckpointError, match=words):
        export_int8(tiny, "onnx", tmp_path / "o")
    assert list(tmp_path.iterdir()) == []


def test_first_hits_equal_a_loop():
    pixels = RNG.integers(0, 256, (9, 4, 2, 3), dtype=np.uint8)
    people, asked = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 1])
    ids = RNG.integers(1, 9, (4, 5))

    class Engine:
        name = detail = "x"
        rows = RNG.normal(size=(24, 6))

        def images(self, batch):
            return batch.reshape(len(batch), -1).astype(float) @ self.rows

        def texts(self, batch):
            return batch.astype(float) @ self.rows[:5]

    engine = Engine()
    for wanted, queries in ((asked, engine.texts(ids)), (people, engine.images(pixels[:, :, ::-1]))):
        gallery = engine.images(pixels)
        hits = 0
        for query, person in zip(queries, wanted, strict=True):
            scores = [query @ row / np.linalg.norm(row) for row in gallery]
            hits += people[int(np.argmax(scores))] == person
        calibration = Calibration(pixels, ids, ids[:0], people, asked if len(wanted) == 4 else np.array([]), "x")
        assert first_hits(engine, calibration) == pytest.approx(hits / len(wanted))


def test_batches_are_cut_at_every_size():
    rows = np.arange(80)
    parts = cut(rows)
    assert [len(part) for part in parts] == [1, 2, 7, 32, 32, 6]
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    assert [len(part) for part in cut(rows[:2])] == [1, 1]


def test_calibration_from_a_folder_and_from_the_street(tiny, tmp_path, monkeypatch):
    from passerby.export import calibration

    original = open_original(tiny)
    for row in range(40):
        Image.fromarray(np.full((20, 10, 3), 5 * row, np.uint8)).save(tmp_path / f"{row:02}.png")
    monkeypatch.setattr(calibration, "_PEOPLE", 8)
    own = read_calibration(tmp_path, original)
    assert own.pixels.shape == (40, 32, 16, 3)
    assert len(set(own.people)) == 40
    assert len(own.asked) == 0
    drawn, again = (read_calibration(None, original) for _ in range(2))
    assert drawn.pixels.shape == (32, 32, 16, 3)
    lengths = (drawn.short != 0).sum(axis=1)
    assert lengths.min() <= 2 < lengths.max()
    np.testing.assert_array_equal(drawn.people, drawn.asked)
    assert drawn.digest == again.digest != own.digest


def test_wrong_input(tiny, tmp_path, monkeypatch):
    original = open_original(tiny)
    with pytest.raises(ConfigError, match="'tflite'; expected one of onnx, openvino"):
        export_int8(tiny, "tflite")
    with pytest.raises(ConfigError, match=r"not ours to extend.*--out"):
        export_int8("street")
    with pytest.raises(DataError, match="no folder at"):
        read_calibration(tmp_path / "gone", original)
    with pytest.raises(DataError, match=r"Did you mean|no data set|unknown"):
        read_calibration("rstpried:here", original)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds 0 pictures to calibrate on; expected at least 32"):
        read_calibration(tmp_path / "empty", original)
    monkeypatch.setattr(int8, "installed", lambda package: package != "nncf")
    with pytest.raises(MissingExtraError, match=r"'nncf'.*passerby\[export\]"):
        export_int8(tiny, "openvino", tmp_path / "o")
    monkeypatch.setattr(openvino, "installed", lambda package: package != "openvino")
    with pytest.raises(MissingExtraError, match=r"'openvino'.*passerby\[export\]"):
        export_openvino(tiny, tmp_path / "o")


@pytest.mark.parametrize(("name", "words"), [("text.xml", "cannot be opened"), ("text.bin", "cannot be opened")])
def test_a_damaged_openvino_file(exported, tmp_path, name, words):
    shutil.copytree(exported[0], tmp_path / "c")
    path = tmp_path / "c" / "openvino" / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="is damaged"):
        passerby.load(tmp_path / "c")
    write_manifest(tmp_path / "c")
    with pytest.raises(CheckpointError, match=words + ".*--to openvino"):
        passerby.load(tmp_path / "c", runtime="openvino").encode_texts(["red"])


def test_an_openvino_file_of_a_newer_passerby(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "c")
    path = tmp_path / "c" / "openvino" / "text.xml"
    text = path.read_text(encoding="utf-8")
    assert text.count('passerby_format value="1"') == 1
    path.write_text(text.replace('passerby_format value="1"', 'passerby_format value="2"'), encoding="utf-8")
    write_manifest(tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"export version 2.*upgrade"):
        passerby.load(tmp_path / "c", runtime="openvino").encode_texts(["red"])
    assert json.loads((tmp_path / "c" / "manifest.json").read_text())["files"]
