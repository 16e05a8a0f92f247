"""Bad input as it reaches the command line: one clear line, the right exit code, and nothing lost."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colour_encoder import ColourEncoder, all_bytes, jpeg, person, write_people
from passerby.gallery import Gallery, local


@pytest.fixture
def colour_model(monkeypatch):
    monkeypatch.setattr("passerby.gallery.gallery._load", lambda name: ColourEncoder(name=name))


@pytest.fixture
def gallery(call, colour_model, tmp_path):
    write_people(tmp_path / "people", 12)
    assert call("index", tmp_path / "people", "--gallery", tmp_path / "g")[0] == 0
    return tmp_path / "g"


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def bomb():
    """A PNG of a hundred bytes that promises ten billion pixels."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


RED = Image.fromarray(person("red", "red"))
#: Name -> (content, what is said about it, or None where it is a picture like any other).
PICTURES = {
    "truncated.jpg": (jpeg(person("red", "blue"))[:400], "damaged or cut off"),
    "text.jpg": (b"this is no picture\n", "is a text file; expected a JPEG"),
    "bomb.png": (bomb(), "at most 40 megapixels are decoded"),
    "empty.jpg": (b"", "is an empty file"),
    "cmyk.jpg": (encoded(RED.convert("CMYK"), "JPEG"), None),
    "deep.png": (encoded(Image.fromarray(np.full((40, 20), 50_000, np.uint16))), None),
    "one.png": (encoded(Image.new("RGB", (1, 1), (200, 9, 9))), None),
}


def test_index_takes_what_it_can_and_says_what_it_cannot(call, colour_model, tmp_path):
    (tmp_path / "odd").mkdir()
    for name, (content, _) in PICTURES.items():
        (tmp_path / "odd" / name).write_bytes(content)
    code, out, _ = call("index", tmp_path / "odd", "--gallery", tmp_path / "g", "--json")
    report = json.loads(out)
    assert (code, report["added"]) == (0, 3)
    reasons = {Path(one["path"]).name: one["reason"] for one in report["unreadable"]}
    assert set(reasons) == {name for name, (_, words) in PICTURES.items() if words}
    for name, reason in reasons.items():
        assert PICTURES[name][1] in reason


@pytest.mark.parametrize("name", PICTURES)
def test_search_by_such_a_picture(call, gallery, tmp_path, name):
    content, words = PICTURES[name]
    (tmp_path / name).write_bytes(content)
    code, out, err = call("search", gallery, "--image", tmp_path / name, "-k", 1)
    if words is None:
        assert (code, err, len(out.splitlines())) == (0, "", 1)
    else:
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("passerby: ")
        assert name in err
        assert words in err


def test_a_gallery_whose_model_was_replaced_is_refused_and_kept(call, gallery, tmp_path, monkeypatch):
    before = all_bytes(gallery)
    monkeypatch.setattr("passerby.gallery.gallery._load", lambda name: ColourEncoder(name, fingerprint="ab" * 32))
    for arguments in (("search", gallery, "red"), ("index", tmp_path / "people", "--gallery", gallery)):
        code, out, err = call(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("passerby: the gallery")
        assert "is another one" in err
    after = all_bytes(gallery)
    assert {path: content for path, content in after.items() if path.name != "lock"} == {
        path: content for path, content in before.items() if path.name != "lock"
    }


def test_a_second_writer_is_told_and_the_first_is_not_disturbed(call, gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_PATIENCE_S", 0.05)
    write_people(tmp_path / "more", 4, seed=700)
    told = []
    with Gallery.open(gallery, ColourEncoder(name="street")) as first:

        def meanwhile(_):
            if not told:
                told.append(call("index", tmp_path / "more", "--gallery", gallery))

        assert first.add(tmp_path / "more", progress=meanwhile).added == 4
    code, out, err = told[0]
    assert (code, out) == (1, "")
    assert err.startswith("passerby: ")
    assert "in use" in err
    assert json.loads(call("gallery", "info", gallery, "--json")[1])["pictures"] == 16


def test_a_full_disk_while_indexing_is_one_line_and_the_next_run_continues(call, gallery, tmp_path, monkeypatch):
    write_people(tmp_path / "more", 4, seed=700)

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", refuse)
        code, out, err = call("index", tmp_path / "more", "--gallery", gallery)
    assert (code, out) == (1, "")
    assert "passerby: no space left" in err
    assert "run the same command again" in err
    assert json.loads(call("index", tmp_path / "more", "--gallery", gallery, "--json")[1])["pictures"] == 16


def flip(folder):
    path = folder / "onnx" / "image.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return "image.onnx is damaged: its SHA-256 is"


def lose(folder):
    (folder / "tokenizer.json").unlink()
    return "lacks tokenizer.json"


def pickled(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": [0.0]}))
    return "pytorch_model.bin"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from passerby.export.onnx import export_onnx
    from tiny_models import save_tiny

    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_tiny(folder)
    export_onnx(folder)
    return folder


@pytest.mark.parametrize("damage", [flip, lose, pickled])
def test_a_damaged_checkpoint_is_refused_before_a_gallery_is_made(call, exported, tmp_path, damage):
    shutil.copytree(exported, tmp_path / "model")
    words = damage(tmp_path / "model")
    write_people(tmp_path / "people", 3)
    code, out, err = call("index", tmp_path / "people", "--gallery", tmp_path / "g", "--model", tmp_path / "model")
    assert (code, out) == (1, "")
    assert err.startswith("passerby: ")
    assert words in err
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize("damage", [flip, lose, pickled])
def test_a_checkpoint_damaged_after_indexing_stops_the_search(call, exported, tmp_path, damage):
    shutil.copytree(exported, tmp_path / "model")
    write_people(tmp_path / "people", 3)
    assert call("index", tmp_path / "people", "--gallery", tmp_path / "g", "--model", tmp_path / "model")[0] == 0
    words = damage(tmp_path / "model")
    code, out, err = call("search", tmp_path / "g", "a red coat")
    assert (code, out) == (1, "")
    assert err.startswith("passerby: ")
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "street", "--set", "optimisation.epoch=3", "--data", "rstpreid:x"], "Did you mean 'epochs'"),
        (["train", "street", "--data", "rstpreid:{}/none"], "no such folder"),
        (["train", "street", "--data", "rstpreid:{}/bare"], "bare"),
        (["index", "{}/none", "--gallery", "{}/run"], "there is no file or folder"),
        (["index", "{}/bare", "--gallery", "{}/run"], "no pictures in"),
        (["search", "{}/none", "red"], "none"),
        (["evaluate", "street", "--data", "rstpreid:{}/none"], "no such folder"),
        (["export", "{}/none"], "there is no such folder"),
    ],
)
def test_places_that_hold_nothing(call, tmp_path, arguments, words):
    (tmp_path / "bare").mkdir()
    given = [argument.replace("{}", str(tmp_path)) for argument in arguments]
    code, out, err = call(*given, *(["--out", tmp_path / "run"] if given[0] == "train" else []))
    assert (code, out) == (1, "")
    assert err.startswith("passerby: ")
    assert words in err
    assert [path.name for path in tmp_path.iterdir()] == ["bare"]
