"""Flickr30k and Flickr8k in each form that goes round: pictures without identities, five sentences each."""

from __future__ import annotations

import json

import numpy as np
import pytest
from miniature_sets import flickr8k_table, flickr8k_tokens, kaggle_csv, karpathy, picture

from passerby.data.readers import flickr8k, flickr30k, open_dataset
from passerby.errors import DataError

NAMES = [f"{100 + number}.jpg" for number in range(10)]
SPLITS = ["train"] * 6 + ["val"] * 2 + ["test"] * 2


def flickr(root, folder, **texts):
    for number, name in enumerate(NAMES):
        picture(root / folder / name, number)
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text, encoding="utf-8")
    (root / "street.json").write_text("{}")
    return root


def karpathys(root, tree=None):
    tree = karpathy(zip(NAMES, SPLITS, strict=True)) if tree is None else tree
    return flickr(root, "flickr30k-images", dataset_flickr30k__json=json.dumps(tree))


def test_karpathys_splits(tmp_path):
    dataset = open_dataset(f"flickr30k:{karpathys(tmp_path)}")
    assert {name: len(split.images) for name, split in dataset.splits.items()} == {"train": 6, "val": 2, "test": 2}
    test = dataset.split("test")
    assert test.identities == ()
    assert {image.person_id for image in test.images} == {None}
    assert [caption.image_id for caption in test.captions] == ["108.jpg"] * 5 + ["109.jpg"] * 5
    assert test.captions[1].text == "Sentence 1 of 108.jpg."
    assert test.images[0].path == tmp_path / "flickr30k-images" / "108.jpg"


def test_the_kaggle_row_without_its_bar_is_repaired_wherever_it_stands(tmp_path):
    root = flickr(tmp_path, "flickr30k_images", results__csv=kaggle_csv(NAMES, broken="104.jpg"))
    source = flickr30k.source(root, kaggle=True)
    texts = {row.image: row.captions for row in source.rows}
    assert texts["104.jpg"][4] == "A dog 4 runs across the grass , 104.jpg ."
    assert {len(captions) for captions in texts.values()} == {5}
    assert any("line 26: the bar before the sentence is missing" in note for note in source.notes)
    lines = kaggle_csv(NAMES, broken="104.jpg").splitlines()
    (root / "results.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    again = flickr30k.source(root, kaggle=True)
    assert {row.image: row.split for row in again.rows} == {row.image: row.split for row in source.rows}
    assert {row.image: set(row.captions) for row in again.rows} == {name: set(found) for name, found in texts.items()}


def test_a_fifth_of_the_pictures_is_val_as_in_the_attention_report(tmp_path):
    dataset = open_dataset(f"flickr30k-8020:{flickr(tmp_path, 'Images', results__csv=kaggle_csv(NAMES))}")
    # The tutorial's own lines: numpy's global generator, seeded with 42, over ids counted through the file.
    np.random.seed(42)
    ids = np.random.choice(np.arange(10), size=int(0.2 * 10), replace=False)
    assert [image.image_id for image in dataset.split("val").images] == sorted(NAMES[position] for position in ids)
    assert len(dataset.split("train").captions) == 40
    assert "seed 42" in dataset.split("val").provenance
    assert dataset.name == "flickr30k-8020"


def test_counts_of_the_fifth_are_the_reports():
    assert (flickr30k.PUBLISHED_8020["val"].images, flickr30k.PUBLISHED_8020["train"].images) == (6356, 25427)


def test_real_sets_are_held_to_their_published_counts(tmp_path):
    root = karpathys(tmp_path)
    (root / "street.json").unlink()
    with pytest.raises(
        DataError, match="train of Flickr30k has 6 pictures instead of 29000, 30 captions instead of 145000"
    ):
        flickr30k.read(root)


def change(tree, *path, value):
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return tree


def good():
    return karpathy(zip(NAMES, SPLITS, strict=True))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "no list under 'images'"),
        ({"images": []}, "no list under 'images'"),
        (change(good(), "images", 2, "split", value="restval"), "split is 'restval'"),
        (change(good(), "images", 2, "filename", value=7), "filename is 7"),
        (change(good(), "images", 2, "sentences", value="one"), "sentences is 'one'"),
        (change(good(), "images", 2, "sentences", 0, value="one"), "a sentence is 'one'"),
        (change(good(), "images", 2, "sentences", 0, "raw", value=None), "a sentence is"),
        (change(good(), "images", 2, "sentences", 0, "raw", value=" "), "102.jpg has an empty caption"),
        (change(good(), "images", 2, "sentences", value=[]), "102.jpg has no caption"),
        (change(good(), "images", 2, "filename", value="101.jpg"), "lists 101.jpg 2 times"),
        (change(good(), "images", 2, "filename", value="999.jpg"), "1 of 10 pictures are not in"),
    ],
)
def test_damaged_karpathy_files(tmp_path, tree, message):
    with pytest.raises(DataError, match=message):
        flickr30k.read(karpathys(tmp_path, tree))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with ''"),
        ("image|number|comment\n", "begins with 'image"),
        ("image_name| comment_number| comment\n100.jpg| zero| A dog .\n", "line 2 is '100.jpg. zero"),
        ("image_name| comment_number| comment\n100.jpg| 0\n", "line 2 is"),
        ("image_name| comment_number| comment\n100.jpg| 0| \n", "100.jpg has an empty caption"),
    ],
)
def test_damaged_kaggle_files(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        flickr30k.read(flickr(tmp_path, "Images", results__csv=text), kaggle=True)


def test_what_has_no_splits_is_told_apart(tmp_path):
    flickr(tmp_path, "Images", results__csv=kaggle_csv(NAMES))
    with pytest.raises(DataError, match="open it as flickr30k-8020"):
        flickr30k.read(tmp_path)


def test_wrong_roots_name_the_right_one(tmp_path):
    root = karpathys(tmp_path / "set")
    for wrong in (tmp_path, root / "flickr30k-images"):
        with pytest.raises(DataError, match=f"give {root}"):
            open_dataset(f"flickr30k:{wrong}")


def test_no_folder_of_pictures(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    (root / "dataset_flickr30k.json").write_text(json.dumps(good()))
    with pytest.raises(DataError, match="has no folder of pictures; expected one named flickr30k-images or"):
        flickr30k.read(root)


# -- Flickr8k -------------------------------------------------------------------------------------------------------


def lists(root, **changes):
    members = {"train": NAMES[:6], "val": NAMES[6:7], "test": NAMES[7:9], **changes}
    for split, names in members.items():
        (root / flickr8k.LISTS[split]).write_text("\n".join(names) + "\n")
    return root


def eight(root, form):
    text = flickr8k_tokens(NAMES) if form == "tokens" else flickr8k_table(NAMES)
    name = {"tokens": "Flickr8k__token__txt", "table": "captions__txt"}[form]
    return lists(flickr(root, {"tokens": "Flicker8k_Dataset", "table": "Images"}[form], **{name: text}))


@pytest.mark.parametrize("form", ["tokens", "table"])
def test_both_files_of_sentences(tmp_path, form):
    dataset = open_dataset(f"flickr8k:{eight(tmp_path, form)}")
    assert {name: len(split.images) for name, split in dataset.splits.items()} == {
        "train": 6, "val": 1, "test": 2, "unused": 1,
    }  # fmt: skip
    assert dataset.split("unused").provenance == "in none of the three lists"
    assert [len(split.captions) for split in dataset.splits.values()] == [30, 5, 10, 5]
    first = dataset.split("train").captions[0].text
    assert first == {"tokens": "A dog , number 0 .", "table": 'A "big" dog , number 0 .'}[form]


def test_the_phantom_is_told_and_left_out(tmp_path):
    source = flickr8k.source(eight(tmp_path, "tokens"))
    assert flickr8k.PHANTOM not in {row.image for row in source.rows}
    assert any(flickr8k.PHANTOM in note for note in source.notes)


def test_without_lists_there_is_the_fifth_by_seed(tmp_path):
    root = flickr(tmp_path, "Images", captions__txt=flickr8k_table(NAMES))
    with pytest.raises(DataError, match="open it as flickr8k-8020"):
        flickr8k.read(root)
    assert len(open_dataset(f"flickr8k-8020:{root}").split("val").images) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("captions.txt", "picture,caption\n", "begins with 'picture, caption'"),
        ("captions.txt", "image,caption\n100.jpg,A dog , runs .\n", "line 2 has 3 columns"),
        ("captions.txt", "", "is empty"),
        ("Flickr8k.token.txt", "100.jpg#0 A dog .\n", "line 1 is"),
        ("Flickr8k.token.txt", "100.jpg\tA dog .\n", "line 1 is"),
        ("Flickr_8k.devImages.txt", "100.jpg\n", "100.jpg is in the list of train too"),
        ("Flickr_8k.devImages.txt", "999.jpg\n", "lists 999.jpg, which captions.txt has no sentence for"),
    ],
)
def test_damaged_flickr8k(tmp_path, name, text, message):
    root = eight(tmp_path, "table")
    (root / name).write_text(text)
    with pytest.raises(DataError, match=message):
        flickr8k.read(root)
