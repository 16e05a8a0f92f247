import io
import logging
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

import passerby
from passerby.data.images import decode_image, resize_image
from passerby.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from passerby.export.onnx import export_onnx
from passerby.models import sources
from passerby.models.runtimes import choice
from passerby.models.runtimes.choice import choose
from passerby.retriever import Retriever
from tiny_models import CAPTIONS, save_tiny

RNG = np.random.default_rng(0)
ENGINES = ("torch", "onnxruntime", "openvino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "c"
    save_tiny(place)
    export_onnx(place)
    return place


@pytest.fixture(scope="module")
def model(folder) -> Retriever:
    return passerby.load(folder, runtime="onnxruntime", threads=2)


def picture(seed=0, size=(40, 20)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_pictures_in_every_form_give_the_same_vector(model, tmp_path):
    pixels = picture()
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels))
    vectors = model.encode_images([path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels])
    assert vectors.shape == (5, model.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for other in vectors[1:]:
        np.testing.assert_allclose(other, vectors[0], atol=1e-6)


def test_the_vectors_are_those_of_the_plain_model(folder, model):
    import torch

    from passerby.models.checkpoint import read_checkpoint
    from passerby.models.restore import restore_dual_encoder

    plain = restore_dual_encoder(read_checkpoint(folder))
    pictures = [picture(seed) for seed in range(5)]
    pixels = np.stack([resize_image(decode_image(p), (32, 16)) for p in pictures]).astype(np.float32) / 255
    images = torch.from_numpy((pixels - 0.5) / 0.25).permute(0, 3, 1, 2)
    ids = torch.from_numpy(read_checkpoint(folder).tokenizer().encode(CAPTIONS))
    with torch.no_grad():
        np.testing.assert_allclose(model.encode_images(pictures), plain.encode_images(images).numpy(), atol=1e-5)
        np.testing.assert_allclose(model.encode_texts(CAPTIONS), plain.encode_texts(ids).numpy(), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
def test_order_and_batch_size_do_not_matter(model, batch_size):
    pictures = [picture(seed, (30 + seed, 15)) for seed in range(10)]
    vectors = model.encode_images(pictures, batch_size=batch_size)
    for row, one in enumerate(pictures):
        np.testing.assert_allclose(model.encode_images([one])[0], vectors[row], atol=1e-5)


def test_sentences_keep_their_order_whatever_their_length(model):
    texts = ["a red coat with a black backpack", "jeans", "a man", "an elderly person with short hair", "red"] * 120
    vectors = model.encode_texts(texts)
    for row in (0, 1, 2, 3, 4, 299, 598):
        np.testing.assert_allclose(model.encode_texts([texts[row]])[0], vectors[row], atol=1e-5)


def test_nothing_in_gives_nothing_out(model):
    assert model.encode_images([]).shape == (0, model.dim)
    assert model.encode_texts([]).shape == (0, model.dim)


def test_unreadable_pictures_are_told_or_raised(model, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_text("this is text")
    images = [picture(1), broken, picture(2), tmp_path / "missing.jpg"]
    with pytest.raises(DataError, match=r"broken\.jpg"):
        model.encode_images(images)
    told = []
    vectors = model.encode_images(images, batch_size=2, on_error=lambda row, error: told.append((row, str(error))))
    assert [row for row, _ in told] == [1, 3]
    assert "broken.jpg" in told[0][1]
    assert not vectors[[1, 3]].any()
    np.testing.assert_allclose(vectors[[0, 2]], model.encode_images([picture(1), picture(2)]), atol=1e-6)


def test_all_pictures_unreadable(model):
    vectors = model.encode_images([b"", b"x"], on_error=lambda row, error: None)
    assert vectors.shape == (2, model.dim)
    assert not vectors.any()


class Broken:
    name, detail = "broken", "cpu"

    def images(self, pixels):
        vectors = np.ones((len(pixels), 32), np.float32)
        vectors[pixels[:, 0, 0, 0] == 7] = np.nan
        return vectors

    def texts(self, ids):
        return np.full((len(ids), 32), np.inf, np.float32)


def test_vectors_that_are_no_numbers_are_refused_by_name(model, tmp_path):
    broken = Retriever("m", "0", 32, model.preprocessing, model._tokenizer, Broken(), 1)
    path = tmp_path / "seven.png"
    path.write_bytes(png(np.full((32, 16, 3), 7, np.uint8)))
    fine = np.full((32, 16, 3), 9, np.uint8)
    with pytest.raises(DataError, match=r"seven\.png.*not finite"):
        broken.encode_images([fine, path])
    with pytest.raises(DataError, match=r"position 1.*not finite"):
        broken.encode_images([fine, np.full((32, 16, 3), 7, np.uint8)])
    with pytest.raises(DataError, match="not finite for 'red'"):
        broken.encode_texts(["red"])


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u3000"])
def test_an_empty_query_is_refused(model, text):
    with pytest.raises(DataError, match="position 1 is empty"):
        model.encode_texts(["red", text])


def test_a_query_of_ten_thousand_words_is_cut_and_said(model, caplog):
    with caplog.at_level(logging.WARNING, "passerby.retriever"):
        vectors = model.encode_texts(["red " * 10_000])
    assert "1 of 1 sentences were cut to the first 16 tokens" in caplog.text
    np.testing.assert_allclose(vectors, model.encode_texts(["red " * 16]), atol=1e-6)
    assert model.tokenize(["red " * 10_000, "red"]).truncated == (0,)


@pytest.mark.parametrize("text", ["красное пальто", "红色外套", "🧥", "a café", "\u202ered", "\x00", "\ud800"])
def test_other_scripts_never_crash_and_are_said(model, caplog, text):
    with caplog.at_level(logging.WARNING, "passerby.retriever"):
        vectors = model.encode_texts([text])
    assert np.isfinite(vectors).all()


def test_what_is_not_understood_is_said(model, caplog):
    with caplog.at_level(logging.WARNING, "passerby.retriever"):
        model.encode_texts(["красное пальто", "a red coat"])
    assert "1 of 2 sentences have characters that the model's vocabulary lacks" in caplog.text


def test_several_threads_may_search_at_once(folder):
    for runtime in ENGINES:
        model = passerby.load(folder, runtime=runtime, threads=1)
        expected = model.encode_texts(CAPTIONS[:3])
        wrong = []

        def search(model=model, expected=expected, wrong=wrong):
            for _ in range(20):
                for row in range(3):
                    if not np.allclose(model.encode_texts([CAPTIONS[row]])[0], expected[row], atol=1e-2):
                        wrong.append(row)

        workers = [threading.Thread(target=search) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not wrong, runtime


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda m, f: m.encode_images([picture()], batch_size=0), ConfigError, "batch_size is 0"),
        (lambda m, f: m.encode_texts("red"), DataError, "expected a list of sentences"),
        (lambda m, f: m.encode_texts([3]), DataError, "found int"),
        (lambda m, f: m.encode_images([np.zeros((3, 8, 8), np.uint8)]), DataError, "channels"),
        (lambda m, f: passerby.load(f, runtime="onnx"), ConfigError, "Did you mean 'onnxruntime'"),
        (lambda m, f: passerby.load(f, device="gpu"), ConfigError, "expected auto, cpu or cuda"),
        (lambda m, f: passerby.load(f, threads=0), ConfigError, "threads is 0"),
        (lambda m, f: passerby.load(f, runtime="onnxruntime", device="cuda"), ConfigError, "use runtime 'torch'"),
        (lambda m, f: passerby.load(f / "nowhere"), CheckpointError, "there is no such folder"),
        (lambda m, f: passerby.load(f / "config.json"), CheckpointError, "is a file"),
        (lambda m, f: passerby.load("org/name"), CheckpointError, "Did you mean 'hf:org/name'"),
        (lambda m, f: passerby.load("hf:name"), ConfigError, "hub name"),
    ],
)
def test_wrong_input(model, folder, act, error, words):
    with pytest.raises(error, match=words):
        act(model, folder)


def test_without_exported_towers_only_torch_runs(tmp_path):
    save_tiny(tmp_path / "c")
    assert passerby.load(tmp_path / "c").runtime.name == "torch"
    with pytest.raises(CheckpointError, match="passerby export"):
        passerby.load(tmp_path / "c", runtime="onnxruntime")


def test_a_run_folder_stands_for_its_checkpoint(folder, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copytree(folder, tmp_path / "run" / "checkpoint")
    assert passerby.load(tmp_path / "run").fingerprint == passerby.load(folder).fingerprint


def test_a_flipped_byte_in_any_file_stops_the_search(folder, tmp_path):
    for name in ("onnx/text.onnx", "onnx/image.onnx", "model.safetensors"):
        shutil.copytree(folder, tmp_path / "c", dirs_exist_ok=True)
        path = tmp_path / "c" / name
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is damaged"):
            passerby.load(tmp_path / "c")


def test_shipped_models_are_found_by_name_and_the_nearest_is_named(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "checkpoints" / "street")
    monkeypatch.setattr(sources.resources, "files", lambda package: tmp_path)
    assert sources.shipped_models() == ["street"]
    assert passerby.load("street").name == "street"
    with pytest.raises(CheckpointError, match="Did you mean 'street'"):
        passerby.load("stret")


def test_the_hub_gives_a_folder(folder, monkeypatch):
    asked = {}

    def snapshot(repository, revision, allow_patterns):
        asked.update(repository=repository, revision=revision)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    model = passerby.load("hf:org/street@v1.0")
    assert asked == {"repository": "org/street", "revision": "v1.0"}
    assert model.name == "hf:org/street@v1.0"


def test_the_hub_does_not_answer(monkeypatch):
    from huggingface_hub import errors

    def fail(error):
        def snapshot(*_, **__):
            raise error

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
        with pytest.raises(CheckpointError) as caught:
            passerby.load("hf:org/street")
        return str(caught.value)

    assert "could not be reached" in fail(errors.LocalEntryNotFoundError("offline"))
    assert "could not be fetched" in fail(ConnectionError("reset"))


def test_the_choice_of_the_engine(monkeypatch):
    present = {"torch", "onnxruntime", "openvino"}
    monkeypatch.setattr(choice, "installed", lambda package: package in present)
    monkeypatch.setattr(choice, "has_bf16", lambda: True)
    both = ("onnx",)
    assert choose("auto", "auto", both, True, "m").runtime == "openvino"
    assert choose("auto", "cuda", both, True, "m").runtime == "torch"
    assert choose("auto", "auto", (), True, "m").runtime == "torch"
    # What was measured here counts more than what the processor promises.
    slow = choose("auto", "auto", both, True, "m", {"openvino": 9.0, "onnxruntime": 3.0})
    assert (slow.runtime, "onnxruntime 3.0 ms, openvino 9.0 ms" in slow.why) == ("onnxruntime", True)
    assert choose("auto", "auto", both, True, "m", {"onnxruntime": 3.0}).runtime == "onnxruntime"
    assert choose("auto", "auto", ("openvino",), True, "m").runtime == "openvino"
    with pytest.raises(CheckpointError, match="no exported towers"):
        choose("onnxruntime", "auto", ("openvino",), True, "m")
    monkeypatch.setattr(choice, "has_bf16", lambda: False)
    assert choose("auto", "auto", both, True, "m").runtime == "onnxruntime"
    assert choose("auto", "auto", ("openvino",), True, "m").runtime == "openvino"
    present.remove("torch")
    with pytest.raises(MissingExtraError, match=r"passerby\[train\].*"):
        choose("auto", "auto", (), True, "m")
    with pytest.raises(MissingExtraError, match=r"passerby\[train\]"):
        choose("torch", "auto", both, True, "m")
    with pytest.raises(CheckpointError, match="no engine"):
        choose("auto", "cuda", both, False, "m")
    present.remove("openvino")
    with pytest.raises(MissingExtraError, match=r"passerby\[export\]"):
        choose("openvino", "auto", both, True, "m")
    with pytest.raises(CheckpointError, match=r"OpenVINO is not installed.*passerby\[export\]"):
        choose("auto", "auto", ("openvino",), False, "m")


def test_a_search_needs_no_torch(folder):
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "import passerby, numpy as np\n"
        f"for runtime in ('onnxruntime', 'auto'):\n"
        f"    model = passerby.load({str(folder)!r}, runtime=runtime)\n"
        "    assert model.encode_texts(['a red coat']).shape == (1, 32)\n"
        "    assert model.encode_images([np.zeros((9, 5, 3), np.uint8)]).shape == (1, 32)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_says_what_it_is(model):
    assert "onnxruntime" in repr(model)
    assert "32 dimensions" in repr(model)


def test_a_search_does_not_wait_for_the_engine_of_the_pictures(folder, monkeypatch):
    if not choice.has_bf16() or not choice.installed("openvino"):
        pytest.skip("here one engine does both")
    model = passerby.load(folder)
    assert model.runtime.name == "openvino"
    code = (
        "import sys, passerby\n"
        f"model = passerby.load({str(folder)!r})\n"
        "model.encode_texts(['a red coat']); assert 'openvino' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.setattr("passerby.retriever._SMALL_TEXT_TOWER", 0)
    large = passerby.load(folder)
    cosine = (large.encode_texts(CAPTIONS) * model.encode_texts(CAPTIONS)).sum(axis=1)
    assert cosine.min() > 0.999
