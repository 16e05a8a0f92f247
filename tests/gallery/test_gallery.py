"""The gallery as a user meets it, over every engine."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colour_encoder import COLOURS, ColourEncoder, all_bytes, jpeg, person, write_people
from gallery_places import a_server, small_index
from passerby.data.records import PersonImage
from passerby.errors import CheckpointError, ConfigError, DataError, GalleryError
from passerby.gallery import Gallery, indexing
from passerby.gallery.store import ENGINES

PLACES = [*ENGINES, "server"]
#: The index costs seconds of system time each, so it is made only where it could make a difference.
with_index = pytest.mark.parametrize("address", [*PLACES, "indexed"], indirect=True)


@pytest.fixture(params=PLACES)
def address(request, tmp_path, monkeypatch):
    """A folder with each engine, one whose index is made for a handful of pictures already, and a server's stand-in."""
    if request.param == "server":
        yield from a_server(tmp_path)
    elif request.param == "indexed":
        small_index(monkeypatch)
        yield f"edge:{tmp_path / 'gallery'}"
    else:
        yield f"{request.param}:{tmp_path / 'gallery'}"


@pytest.fixture
def in_a_folder(address):
    if not address.startswith(ENGINES):
        pytest.skip("a server has no folder")


@pytest.fixture
def people(tmp_path):
    """A folder of 20 pictures, red above and blue below among them."""
    write_people(tmp_path / "people", 20)
    return tmp_path / "people"


@pytest.fixture
def gallery(address, people):
    with Gallery.create(address, ColourEncoder()) as opened:
        opened.add(people)
        yield opened


def test_a_sentence_finds_the_picture(gallery, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "him_c9.png").write_bytes(jpeg(person("yellow", "white", seed=99)))
    gallery.add(tmp_path / "more")
    hits = gallery.search("yellow white", k=3)
    assert hits[0].path.name == "him_c9.png"
    assert hits[0].camera == "c9"
    assert len(hits) == 3
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert 0.9 < hits[0].score <= 1.001
    assert Image.open(io.BytesIO(gallery.thumbnail(hits[0].id))).size == (24, 48)
    assert hits.warnings == ()
    assert json.loads(json.dumps(hits[0].to_dict()))["id"] == hits[0].id


@with_index
def test_a_picture_finds_itself_and_both_are_weighted(gallery, people):
    path = people / "0003_c1s1_000003.jpg"
    assert gallery.search(image=path, k=1)[0].path == path
    assert gallery.search(image=path.read_bytes(), k=1)[0].path == path
    assert gallery.search(image=Image.open(path), k=1)[0].path == path
    only_text = gallery.search("green", path, text_weight=1.0)
    only_image = gallery.search("green", path, text_weight=0.0)
    assert [hit.id for hit in only_text] == [hit.id for hit in gallery.search("green")]
    assert [hit.id for hit in only_image] == [hit.id for hit in gallery.search(image=path)]
    encoder = ColourEncoder()
    both = encoder.encode_texts(["green"])[0] + encoder.encode_images([np.asarray(Image.open(path))])[0]
    mixed = gallery.search("green", path)
    np.testing.assert_allclose(
        [hit.score for hit in mixed], [hit.score for hit in gallery.search_vector(both)], atol=2e-3
    )


def test_adding_twice_adds_nothing_and_encodes_nothing(gallery, people):
    model = gallery.model
    before = model.encoded
    report = gallery.add(people)
    assert (report.added, report.already_there, report.moved) == (0, 20, 0)
    assert model.encoded == before
    assert len(gallery) == 20
    for path in people.iterdir():
        os.utime(path, (1, 1))  # touched, not changed: read again, recognised by content
    assert gallery.add([people, people]).already_there == 20
    assert model.encoded == before


def test_copies_are_one_picture_and_moved_files_are_followed(gallery, people, tmp_path):
    shutil.copytree(people, tmp_path / "copy")
    report = gallery.add(tmp_path / "copy")
    assert (report.added, report.already_there, report.moved) == (0, 20, 0)
    shutil.rmtree(people)
    report = gallery.add(tmp_path / "copy")
    assert report.moved == 20
    assert {picture.path.parent.name for picture in gallery} == {"copy"}
    assert gallery.add(tmp_path / "copy").moved == 0
    assert gallery.model.encoded == 20


@with_index
def test_a_changed_file_is_a_new_picture(gallery, people):
    path = people / "0000_c1s1_000000.jpg"
    path.write_bytes(jpeg(person("white", "yellow", seed=1234)))
    assert gallery.add(people).added == 1
    assert len(gallery) == 21


def test_unreadable_files_are_listed_and_stop_nothing(gallery, tmp_path):
    odd = tmp_path / "odd"
    write_people(odd, 3, seed=500)
    whole = (odd / "0000_c1s1_000000.jpg").read_bytes()
    (odd / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (odd / "text.jpg").write_text("not a picture")
    (odd / "empty.png").touch()
    Image.new("RGB", (1, 1), (200, 9, 9)).save(odd / "tiny.png")
    Image.fromarray(person("red", "red")).convert("CMYK").save(odd / "cmyk.jpg")
    Image.fromarray(np.full((40, 20), 50_000, np.uint16)).save(odd / "deep.png")
    (odd / "notes.txt").write_text("ignored")
    (odd / "dangling.jpg").symlink_to(odd / "nowhere")
    Path(os.fsdecode(os.fsencode(odd) + b"/bad\xff.jpg")).write_bytes(whole)
    report = gallery.add(odd)
    assert report.added == 6
    reasons = {path.name: reason for path, reason in report.unreadable}
    assert set(reasons) == {"cut.jpg", "text.jpg", "empty.png", "dangling.jpg", os.fsdecode(b"bad\xff.jpg")}
    assert "damaged or cut off" in reasons["cut.jpg"]
    assert "a text file" in reasons["text.jpg"]
    assert all(str(reason).encode() for reason in reasons.values())


def test_records_keep_their_metadata(gallery, people, tmp_path):
    path = tmp_path / "new.jpg"
    path.write_bytes(jpeg(person("yellow", "black", seed=7)))
    gallery.add([PersonImage("new", path, person_id=4711, camera_id="door", time=12.5)])
    hit = gallery.search("yellow black", k=1)[0]
    assert (hit.person, hit.camera, hit.time) == (4711, "door", 12.5)
    assert gallery.info().cameras == {"c1": 7, "c2": 7, "c3": 6, "door": 1}


def test_progress_counts_to_the_end(address, people, monkeypatch):
    monkeypatch.setattr(indexing, "_BATCH", 6)
    (people / "bad.jpg").write_text("x")
    seen = []
    with Gallery.create(address, ColourEncoder()) as gallery:
        gallery.add(people, progress=seen.append)
    assert [at.done for at in seen] == [6, 12, 18, 21]
    assert (seen[-1].total, seen[-1].added, seen[-1].unreadable) == (21, 20, 1)


def test_galleries_and_hidden_folders_are_not_indexed(gallery, people, tmp_path):
    (people / ".cache").mkdir()
    (people / ".cache" / "x.jpg").write_bytes(jpeg(person("red", "red", seed=77)))
    report = gallery.add(tmp_path)  # holds the gallery with its thumbnails too
    assert report.added == 0


@with_index
def test_deleting_erases_every_trace(in_a_folder, gallery):
    victim = gallery.search("red", k=1)[0]
    encoder = ColourEncoder()
    pixels = np.asarray(Image.open(victim.path))
    vector = encoder.encode_images([pixels])[0]
    thumbnail = gallery.thumbnail(victim.id)

    def traces():
        patterns = (vector.astype(np.float16).tobytes(), vector.tobytes(), thumbnail, victim.id.encode())
        return {
            path.name
            for path, raw in all_bytes(Path(gallery.address)).items()
            if any(pattern in raw for pattern in patterns)
        }

    assert traces()
    assert gallery.delete([victim.id, "f" * 32]) == 1
    assert not traces()
    assert victim.id not in gallery
    assert victim.path.exists()
    assert len(gallery) == 19
    assert victim.id not in [hit.id for hit in gallery.search("red", k=20)]
    assert gallery.delete([victim.id]) == 0
    assert gallery.add(victim.path).added == 1


def test_an_interrupted_deletion_is_finished_by_the_next_writer(in_a_folder, address, people):
    with Gallery.create(address, ColourEncoder()) as gallery:
        gallery.add(people)
        victim = gallery.search("green", k=1)[0]
        gallery.store._catalogue.remove([victim.id])  # and killed here
    with Gallery.open(address, ColourEncoder()) as gallery:
        assert victim.id not in [hit.id for hit in gallery.search("green", k=20)]
        assert gallery.delete([]) == 0
        assert not gallery.store._thumbnails.path(victim.id).exists()
        assert gallery.store._catalogue.erasing() == []
        assert gallery.add(people).added == 1


def test_rows_that_were_never_acknowledged_displace_nothing(in_a_folder, gallery):
    vectors = np.repeat(ColourEncoder().encode_texts(["red"]), 5, axis=0)
    gallery.store.engine.upsert([f"{index:032x}" for index in range(1, 6)], vectors)
    assert len(gallery.search("red", k=4)) == 4


@with_index
def test_everything_is_there_after_reopening_and_moving_the_folder(in_a_folder, address, people, tmp_path):
    with Gallery.create(address, ColourEncoder()) as gallery:
        gallery.add(people)
        before = gallery.search("blue", k=20)
    shutil.move(tmp_path / "gallery", tmp_path / "elsewhere")
    with Gallery.open(tmp_path / "elsewhere", ColourEncoder()) as gallery:
        after = gallery.search("blue", k=20)
        assert [hit.id for hit in after] == [hit.id for hit in before]
        assert gallery.thumbnail(after[0].id)
        assert gallery.info().pictures == len(gallery) == len(list(gallery)) == 20


def test_the_model_is_loaded_only_when_it_is_needed(address, people, monkeypatch):
    with Gallery.create(address, ColourEncoder()) as gallery:
        gallery.add(people)
    asked = []
    monkeypatch.setattr("passerby.gallery.gallery._load", lambda name: asked.append(name) or ColourEncoder())
    with Gallery.open(address) as gallery:
        gallery.info()
        list(gallery)
        gallery.delete(["0" * 32])
        gallery.search_vector(np.ones(18))
        assert asked == []
        gallery.search("red")
        gallery.search("blue")
        assert asked == ["colour"]
    monkeypatch.setattr("passerby.gallery.gallery._load", lambda name: ColourEncoder(fingerprint="ff" * 32))
    with Gallery.open(address) as gallery, pytest.raises(GalleryError, match="is another one"):
        gallery.search("red")


def test_another_model_is_refused(gallery):
    with pytest.raises(GalleryError, match=r"the model 'colour' .* 'other' is another one .* new gallery"):
        Gallery.open(gallery.address, ColourEncoder(name="other", fingerprint="aa" * 32))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ConfigError, "no query"),
        ({"text": ""}, ConfigError, "text is empty; describe"),
        ({"text": " \t\n"}, ConfigError, "text is empty"),
        ({"text": "red", "k": 0}, ConfigError, "k is 0; expected 1 to 1000"),
        ({"text": "red", "k": 1001}, ConfigError, "k is 1001"),
        ({"text": "red", "text_weight": 1.5}, ConfigError, "text_weight is 1.5"),
        ({"text": "red", "text_weight": float("nan")}, ConfigError, "text_weight is nan"),
        ({"image": "nowhere.jpg"}, DataError, "nowhere.jpg cannot be read"),
        ({"image": b"GIF89a"}, DataError, "a GIF"),
    ],
)
def test_wrong_queries(gallery, arguments, error, words):
    with pytest.raises(error, match=words):
        gallery.search(**arguments)


@pytest.mark.parametrize("vector", [np.zeros(18), np.ones(17), np.full(18, np.nan), np.ones((1, 18))])
def test_wrong_query_vectors(gallery, vector):
    with pytest.raises(ConfigError, match=r"expected \(18,\), finite and not zero"):
        gallery.search_vector(vector)


def test_long_and_foreign_queries_are_answered_and_said(gallery):
    hits = gallery.search(" ".join(["red", *["word"] * 9_999]))
    assert len(hits) == 10
    assert hits.warnings == ("the query has 10,000 words; the model read its first 64 tokens and ignored the rest",)
    for text in ("eine Frau mit grünem Rucksack", "穿红色外套的女人", "امرأة", "🙂 red", "a\0b", "red\ud800"):
        hits = gallery.search(text)
        assert len(hits) == 10
    assert "no language or script" in gallery.search("穿红色外套的女人").warnings[0]


def test_an_empty_gallery_says_so(address):
    with (
        Gallery.create(address, ColourEncoder()) as gallery,
        pytest.raises(GalleryError, match="is empty; add pictures with: passerby index"),
    ):
        gallery.search("red")


def test_sources_that_hold_nothing(gallery, tmp_path):
    with pytest.raises(DataError, match=r"there is no file or folder .*nowhere"):
        gallery.add(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"no pictures in .*bare; expected files ending in"):
        gallery.add(tmp_path / "bare")
    with pytest.raises(DataError, match="no pictures in an empty list"):
        gallery.add([])


def test_ids_that_are_none(gallery):
    for name in ("", "abc", "../../etc/passwd", "G" * 32):
        with pytest.raises(ConfigError, match="is no picture id"):
            gallery.delete([name])
        assert name not in gallery


def test_places_that_are_taken_or_no_gallery(in_a_folder, gallery, people, tmp_path):
    with pytest.raises(GalleryError, match="exists and is not an empty folder"):
        Gallery.create(Path(gallery.address), ColourEncoder())
    with pytest.raises(GalleryError, match="exists and is not an empty folder"):
        Gallery.create(people, ColourEncoder())
    with pytest.raises(GalleryError, match=r"the folder has no gallery\.json; make one with: passerby index"):
        Gallery.open(people, ColourEncoder())
    with pytest.raises(GalleryError, match="there is no such folder"):
        Gallery.open(tmp_path / "none", ColourEncoder())
    other = next(name for name in ENGINES if name != gallery.info().engine)
    with pytest.raises(GalleryError, match="was made with the engine"):
        Gallery.open(f"{other}:{Path(gallery.address)}", ColourEncoder())


def test_damage_is_refused(in_a_folder, address, people, tmp_path):
    with Gallery.create(address, ColourEncoder()) as gallery:
        gallery.add(people)
    folder = tmp_path / "gallery"
    whole = (folder / "gallery.json").read_text()
    for bad, words in (
        (whole.replace('"dim": 18', '"dim": 19'), "checksum"),
        (whole[:-20], "not valid JSON"),
        ("[]", "no format version"),
        (
            whole.replace('"format_version": 2', '"format_version": 99'),
            "format 99; this passerby reads",
        ),
    ):
        (folder / "gallery.json").write_text(bad)
        with pytest.raises(GalleryError, match=words):
            Gallery.open(folder, ColourEncoder())
    (folder / "gallery.json").write_text(whole)
    catalogue = (folder / "catalogue.sqlite").read_bytes()
    for bad in (b"", b"text" * 100, catalogue[:5000], catalogue[:4096] + os.urandom(4096) + catalogue[8192:]):
        (folder / "catalogue.sqlite").write_bytes(bad)
        with pytest.raises(GalleryError, match=r"catalogue .* is damaged"):
            Gallery.open(folder, ColourEncoder())
    (folder / "catalogue.sqlite").unlink()
    with pytest.raises(GalleryError, match="has lost its catalogue"):
        Gallery.open(folder, ColourEncoder())
    (folder / "catalogue.sqlite").write_bytes(catalogue)
    shutil.rmtree(folder / "vectors")
    with Gallery.open(folder, ColourEncoder()) as gallery, pytest.raises(GalleryError, match=r"restore|backup"):
        gallery.search("red")


def test_a_model_that_returns_nonsense_adds_nothing(address, people):
    class Broken(ColourEncoder):
        def encode_images(self, images):
            vectors = super().encode_images(images)
            vectors[len(vectors) // 2] = np.nan
            return vectors

    class Short(ColourEncoder):
        def encode_images(self, images):
            return super().encode_images(images)[:-1]

    with Gallery.create(address, ColourEncoder()) as gallery:
        for kind, words in ((Broken, "zero or not finite"), (Short, r"shape \(19, 18\)")):
            gallery._encoder = kind()
            with pytest.raises(CheckpointError, match=words):
                gallery.add(people)
            assert len(gallery) == 0


def test_both_engines_answer_alike(people, tmp_path):
    answers = []
    for name in ENGINES:
        with Gallery.create(f"{name}:{tmp_path / name}", ColourEncoder()) as gallery:
            gallery.add(people)
            answers.append([gallery.search(f"{top} {bottom}", k=5) for top in COLOURS for bottom in COLOURS])
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose([hit.score for hit in one], [hit.score for hit in other], atol=3e-3)
        assert len({hit.id for hit in one} & {hit.id for hit in other}) >= 4
