"""The street in the layout of every data set: its own reader opens it, its sidecars know every picture, and what is
wrong with published sets is in it on request."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image

from passerby.cli.world import LAYOUT_NAMES
from passerby.data.readers import READERS, open_dataset, open_source
from passerby.data.readers.source import crossing, missing
from passerby.data.world import pieces
from passerby.data.world.layout import Extra, Sighting, no_extras
from passerby.data.world.layouts import LAYOUTS, layout_of
from passerby.data.world.retakes import retake
from passerby.data.world.sidecar import ceiling_scores, read_people, split_file
from passerby.data.world.street import CAPTIONS_PER_IMAGE, Street, inhabitants, take_picture
from passerby.data.world.text_layouts import tokens
from passerby.data.world.writing import write
from passerby.errors import DataError, MissingExtraError

#: Eight pictures of a test person: all seven cameras, and the first one again.
PLAN = Street(train=3, val=2, test=4, train_views=3, test_views=8, size=(24, 16))
#: Layout -> further names that open it.
ALSO = {
    "cuhk-pedes": ["cuhk-pedes-proofread"],
    "cuhk03": ["cuhk03-labeled"],
    "cuhk03-mat": ["cuhk03-labeled", "cuhk03-classic-labeled", "cuhk03-classic-detected"],
    "msmt17": ["msmt17-train"],
}
REID = ["market1501", "dukemtmc", "cuhk03", "cuhk03-mat", "msmt17"]
#: Layouts that list their pictures, so that one can be missing.
LISTED = [name for name in LAYOUTS if name not in ("market1501", "dukemtmc", "cuhk03")]


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Layout name, and whether with defects -> the folder of a street; each picture is drawn once for all of them."""
    written = {}

    def of(name, defects=False):
        if (name, defects) not in written:
            root = tmp_path_factory.mktemp(name) / "street"
            written[name, defects] = write(PLAN, root, layout=name, defects=defects, workers=1)
        return written[name, defects]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "take_picture", cache(take_picture))
        yield of


def content(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def told(root):
    """Picture -> person, as all sidecars of a street say."""
    found = {}
    for path in root.glob("street_*.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            record = json.loads(line)
            found |= {image["img_path"]: record["person"]["person_id"] for image in record["images"]}
    return found


def names_of(layout):
    return [LAYOUTS[layout].reader, *ALSO.get(layout, [])]


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout in LAYOUTS for name in names_of(layout)])
def test_its_reader_opens_it_and_its_sidecars_know_every_picture(street, layout, name):
    root = street(layout)
    dataset = open_dataset(f"{name}:{root}")
    people = told(root)
    assert len(people) == PLAN.images
    own = [split for key, split in dataset.splits.items() if key != "multi_query" and not key.endswith("-02")]
    for split in own:
        assert {image.image_id for image in split.images} <= set(people)
        known = [image for image in split.images if image.person_id is not None]
        assert all(image.person_id == people[image.image_id] for image in known)
        assert (not known) == layout.startswith("flickr")
        with Image.open(split.images[-1].path) as picture:
            assert picture.size == (16, 24)
    assert dataset.licence.startswith("Apache-2.0")
    if "classic" not in name and name != "msmt17-train":
        assert sum(len(split.images) for split in own) == PLAN.images


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in REID])
def test_the_ceiling_is_known_in_every_layout_with_sentences(street, layout):
    dataset = open_dataset(f"{LAYOUTS[layout].reader}:{street(layout)}")
    split = list(dataset.splits.values())[-1]
    scores = ceiling_scores(street(layout), split)
    assert scores.shape == (len(split.captions), len(split.images))
    people = told(street(layout))
    owners = np.array([people[image.image_id] for image in split.images])
    wanted = np.array([people[caption.image_id] for caption in split.captions])
    top = scores >= scores.max(axis=1, keepdims=True) - 1e-9
    assert ((top & (owners == wanted[:, None])).sum(axis=1) / top.sum(axis=1)).mean() > 0.5


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in REID])
def test_each_picture_has_as_many_sentences_as_in_the_real_set(street, layout):
    expected = 5 if layout.startswith("flickr") else 1 if layout.startswith("icfg") else CAPTIONS_PER_IMAGE
    for split in open_dataset(f"{LAYOUTS[layout].reader}:{street(layout)}").splits.values():
        assert len(split.captions) == expected * len(split.images)


@pytest.mark.parametrize("layout", REID)
def test_who_asks_can_be_found_on_another_camera(street, layout):
    for defects in (False, True):
        source = open_source(LAYOUTS[layout].reader, street(layout, defects))
        rows = [row for row in source.rows if row.split == "test"]
        asks = [row for row in rows if row.asks]
        gallery = [row for row in rows if not row.asks]
        assert len({(row.person_id, row.camera_id) for row in asks}) == len(asks)
        assert {row.person_id for row in asks} == {row.person_id for row in gallery if row.person_id is not None}
        for query in asks:
            assert any(g.person_id == query.person_id and g.camera_id != query.camera_id for g in gallery)
        same = {(row.person_id, row.camera_id) for row in asks} & {(row.person_id, row.camera_id) for row in gallery}
        assert same  # the rule about the query's own camera has something to decide
        assert not crossing(source)


@pytest.mark.parametrize(("views", "asking"), [(1, 0), (2, 1), (4, 2), (10, 5), (21, 7)])
def test_at_most_half_of_a_persons_pictures_ask_and_one_of_each_camera(views, asking):
    sightings = [Sighting("test", 1, 0, 0, number, views) for number in range(views)]
    assert sum(one.asks(7) for one in sightings) == asking
    assert not any(replace(one, split="train").asks(7) for one in sightings)


def test_test_people_of_msmt17_start_again_at_zero(street):
    lines = (street("msmt17") / "list_gallery.txt").read_text().split("\n")
    assert re.fullmatch(r"0000/0000_004_0\d_0303noon_\d{4}_0\.jpg 0", lines[0])
    train, val = (open_source(name, street("msmt17")).rows for name in ("msmt17-train", "msmt17"))
    assert len(val) - len(train) == 5  # the last picture of each training person


def test_icfg_pedes_keeps_a_training_person_in_the_folder_called_test(street):
    images = open_dataset(f"icfg-pedes:{street('icfg-pedes')}").split("train").images
    assert {image.image_id.split("/")[0] for image in images} == {"train", "test"}


def test_cuhk_pedes_comes_in_formats_of_five_sets_with_the_same_pixels(street):
    dataset = open_dataset(f"cuhk-pedes:{street('cuhk-pedes')}")
    images = [image for split in dataset.splits.values() for image in split.images]
    assert {image.path.suffix for image in images} == {".jpg", ".png", ".bmp"}
    assert {image.image_id.split("/")[0] for image in images} >= {"CUHK01", "Market", "cam_a", "cam_b", "train_query"}
    flat = open_dataset(f"rstpreid:{street('rstpreid')}")
    others = {image.person_id: image for image in flat.split("test").images if "_0" in image.image_id[8:]}
    for image in dataset.split("test").images:
        if image.image_id.endswith(
            "001.png"
        ):  # a person's first picture, whose frame is below 1000 in the other layout
            with Image.open(image.path) as one, Image.open(others[image.person_id - 1].path) as other:
                assert np.array_equal(np.asarray(one), np.asarray(other))


def test_tokens_are_those_of_the_published_file():
    assert tokens('He wears a "T-shirt,dark" and a hat.') == ["he", "wears", "a", "tshirtdark", "and", "a", "hat"]


def test_mailed_captions_have_other_ids_and_the_same_paths(street):
    raw, mailed = (
        json.loads((street("cuhk-pedes") / name).read_text()) for name in ("reid_raw.json", "caption_all.json")
    )
    assert set(mailed[0]) == {"id", "file_path", "captions"}
    assert [row["file_path"] for row in raw] == [row["file_path"] for row in mailed]
    assert any(one["id"] != other["id"] for one, other in zip(raw, mailed, strict=True))
    assert min(row["id"] for row in raw) == 1


def test_matlab_lists_name_no_date(street, tmp_path):
    again = write(PLAN, tmp_path / "street", layout="cuhk03-mat", workers=1)
    assert content(again) == content(street("cuhk03-mat"))
    assert b"Created on" not in (again / "cuhk03_new_protocol_config_labeled.mat").read_bytes()


def test_any_number_of_workers_writes_the_same_bytes(tmp_path):
    plan = replace(PLAN, train=30, val=0, test=2, train_views=1, test_views=2)  # several pieces
    one, two = (
        write(plan, tmp_path / str(workers), layout="market1501", defects=True, workers=workers) for workers in (1, 2)
    )
    assert content(one) == content(two)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_finished_street_is_recognised_and_another_refused(street, layout, monkeypatch):
    roots = {defects: street(layout, defects) for defects in (False, True)}
    monkeypatch.setattr(pieces, "take_picture", None)  # nothing may be drawn
    for defects, root in roots.items():
        assert write(PLAN, root, layout=layout, defects=defects, workers=1) == root
    with pytest.raises(DataError, match=r"another street: defects False \(asked for: True\)"):
        write(PLAN, street(layout), layout=layout, defects=True, workers=1)
    with pytest.raises(DataError, match="another street: layout"):
        write(PLAN, street(layout), layout="rstpreid" if layout != "rstpreid" else "msmt17", workers=1)


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(street, tmp_path):
    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(PLAN, tmp_path, layout="market1501", defects=True, workers=1, progress=stop)
    assert content(write(PLAN, tmp_path, layout="market1501", defects=True, workers=1)) == content(
        street("market1501", True)
    )


# -- defects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_defects_nothing_is_wrong(street, layout):
    assert not list(street(layout).rglob("Thumbs.db"))
    assert "defects" not in json.loads((street(layout) / "street.json").read_text())
    assert missing(open_source(LAYOUTS[layout].reader, street(layout))) == []


@pytest.mark.parametrize("layout", LISTED)
def test_one_listed_picture_is_missing(street, layout):
    source = open_source(LAYOUTS[layout].reader, street(layout, True))
    assert len(missing(source)) == 1
    with pytest.raises(DataError, match=f"1 of {PLAN.images} pictures are not in"):
        open_dataset(f"{LAYOUTS[layout].reader}:{street(layout, True)}")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_thumbnails_of_windows_lie_among_the_pictures_and_are_not_read(street, layout):
    assert list(street(layout, True).rglob("Thumbs.db"))
    rows = open_source(LAYOUTS[layout].reader, street(layout, True)).rows
    assert not any("Thumbs" in row.image for row in rows)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in REID])
def test_one_sentence_is_about_two_people(street, layout):
    def shared(defects):
        people, sayings = told(street(layout, defects)), {}
        for row in open_source(LAYOUTS[layout].reader, street(layout, defects)).rows:
            for text in row.captions:
                sayings.setdefault(text, set()).add(people[row.image])
        return [text for text, who in sayings.items() if len(who) > 1]

    assert shared(True)
    assert not shared(False)


def test_the_ceiling_knows_the_shared_sentence(street, tmp_path):
    root = tmp_path / "street"
    shutil.copytree(street("rstpreid", True), root)
    (root / "imgs" / missing(open_source("rstpreid", root))[0]).write_bytes(b"")
    split = open_dataset(f"rstpreid:{root}").split("test")
    assert ceiling_scores(root, split).shape == (len(split.captions), len(split.images)) == (64, 32)


def test_the_table_of_kaggle_lacks_a_bar_and_is_repaired(street):
    whole, broken = (
        (street("flickr30k-kaggle", defects) / "results.csv").read_text().splitlines() for defects in (False, True)
    )
    assert all(len(line.split("|")) == 3 for line in whole)
    short = [line for line in broken if len(line.split("|")) != 3]
    assert len(short) == 1
    assert re.fullmatch(r"\d+\.jpg\| 4   \S.*", short[0])
    texts = {row.image: row.captions for row in open_source("flickr30k-8020", street("flickr30k-kaggle", True)).rows}
    assert all(len(captions) == 5 for captions in texts.values())
    assert texts[short[0].split("|")[0]][4] == short[0].split("   ", 1)[1]


def test_flickr8k_speaks_of_a_picture_that_never_was(street):
    lines = (street("flickr8k", True) / "Flickr8k.token.txt").read_text().splitlines()
    assert sum(line.startswith("2258277193_586949ec62.jpg.1#") for line in lines) == 5
    assert len(open_source("flickr8k", street("flickr8k", True)).rows) == PLAN.images


def test_kaggle_quotes_what_holds_a_comma(street):
    with (street("flickr8k-kaggle") / "captions.txt").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert all(len(row) == 2 for row in rows)
    assert any("," in caption for _, caption in rows)


def test_market_has_junk_and_distractors(street):
    def strays(defects):
        images = open_dataset(f"market1501:{street('market1501', defects)}").split("test").images
        return sum(image.junk for image in images), sum(image.person_id is None and not image.junk for image in images)

    assert strays(False) == (0, 0)
    assert strays(True) == (1, 1)
    names = sorted(path.name for path in (street("market1501", True) / "bounding_box_test").glob("*.jpg"))
    assert [name for name in names if name.startswith("-1_")]
    assert [name for name in names if name.startswith("0000_")]


def test_market_has_hand_drawn_boxes_of_who_asks(street):
    dataset = open_dataset(f"market1501:{street('market1501')}")
    asked, boxes = dataset.split("test"), dataset.split("multi_query")
    images = {image.image_id: image for image in asked.images}
    whom = [(images[query].person_id, images[query].camera_id) for query in asked.query_ids]
    drawn = [(image.person_id, image.camera_id) for image in boxes.images]
    assert sorted(drawn) == sorted(3 * whom)
    pictures = [Image.open(image.path).tobytes() for image in boxes.images]
    assert len(set(pictures)) == len(pictures)


def test_extras_follow_from_the_picture_beside_them():
    identity = inhabitants(PLAN)["test"][0]
    picture = take_picture(PLAN, "test", 0, identity, 0)
    drawn = {
        name: retake(Extra("any.jpg", kind, later), picture, identity)
        for name, kind, later in (("fits", "exact", 0), ("later", "exact", 1), ("junk", "junk", 0), ("no", "nobody", 0))
    }
    assert all(image.shape == picture.rendering.image.shape for image in drawn.values())
    assert len({image.tobytes() for image in drawn.values()}) == 4
    corner = np.asarray(Image.fromarray(picture.rendering.image).crop((8, 12, 16, 24)).resize((16, 24), 2))
    assert np.array_equal(drawn["junk"], corner)
    other = inhabitants(PLAN)["test"][2]
    assert np.array_equal(drawn["no"], retake(Extra("any.jpg", "nobody"), picture, other))  # shows no person at all


def test_labelled_boxes_are_other_pictures_of_the_same(street):
    labelled, detected = (open_dataset(f"cuhk03-{boxes}:{street('cuhk03')}") for boxes in ("labeled", "detected"))
    for one, other in zip(labelled.split("test").images, detected.split("test").images, strict=True):
        assert one.image_id == other.image_id
        assert one.path.read_bytes() != other.path.read_bytes()


# -- names ----------------------------------------------------------------------------------------------------------


def test_every_layout_names_a_reader_and_the_command_names_every_layout():
    assert {layout.reader for layout in LAYOUTS.values()} <= set(READERS)
    assert LAYOUT_NAMES.split(", ") == list(LAYOUTS)
    assert no_extras(Sighting("test", 1, 0, 0, 0, 4), "a.jpg", True) == ()


def test_a_layout_that_needs_a_package_says_so_before_anything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("passerby.data.world.layouts.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"layout cuhk03-mat needs the package 'scipy'.*passerby\[data\]"):
        write(PLAN, tmp_path / "street", layout="cuhk03-mat")
    assert not (tmp_path / "street").exists()
    assert layout_of("msmt17").needs is None


@pytest.mark.parametrize("layout", REID)
def test_a_street_may_lack_training_people(tmp_path, layout):
    root = write(
        replace(PLAN, train=0, val=0), tmp_path / "street", layout=layout, defects=layout == "market1501", workers=1
    )
    dataset = open_dataset(f"{LAYOUTS[layout].reader}:{root}")
    assert "train" not in dataset.splits
    assert len(read_people(root, "test")) == 4
    assert not (root / split_file("train")).exists()
