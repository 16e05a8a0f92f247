"""CUHK03 in its three forms: cropped folders, the new protocol's list, and the classic protocol's 20 draws."""

from __future__ import annotations

import numpy as np
import pytest
from reid_miniatures import CROPPED, cells, column, extracted, few, folders, new_protocol
from scipy.io import savemat

from passerby.data.readers import cuhk03, matlab, open_dataset
from passerby.data.readers.cuhk03 import draws, read
from passerby.data.readers.cuhk03 import new_protocol as read_list
from passerby.data.readers.source import Counts
from passerby.errors import DataError, MissingExtraError

LIST = "cuhk03_new_protocol_config_labeled.mat"


def published(monkeypatch, train, test):
    few(monkeypatch, cuhk03, PUBLISHED={boxes: {"train": train, "test": test} for boxes in ("labeled", "detected")})


@pytest.mark.parametrize("boxes", ["labeled", "detected"])
def test_cropped_folders(tmp_path, monkeypatch, boxes):
    published(monkeypatch, Counts(2, 1), Counts(4, 1, queries=2))
    folders(tmp_path / "cuhk03-np" / boxes, CROPPED)
    dataset = open_dataset(f"cuhk03-{boxes}:{tmp_path}")
    assert dataset.name == f"cuhk03-{boxes}"
    test = dataset.split("test")
    assert test.query_ids == ("query/0003_c1_21.png", "query/0003_c2_26.png")
    assert [image.camera_id for image in test.images] == ["c1", "c2", "c1", "c2"]
    assert test.images[0].path == tmp_path / "cuhk03-np" / boxes / "bounding_box_test" / "0003_c1_22.png"


def test_the_other_boxes_are_not_taken_instead(tmp_path):
    folders(tmp_path / "labeled", CROPPED)
    with pytest.raises(DataError, match=r"has no detected/bounding_box_train or .* or cuhk03_new_protocol"):
        open_dataset(f"cuhk03-detected:{tmp_path}")
    with pytest.raises(DataError, match=f"give {tmp_path}"):
        open_dataset(f"cuhk03-labeled:{tmp_path / 'labeled'}")


def test_the_list_counts_from_one_in_columns(tmp_path, monkeypatch):
    root = extracted(tmp_path / "CUHK03", "labeled", new_protocol())
    rows = read_list(root / LIST)
    names = [str(cell) for cell in np.ravel(new_protocol()["filelist"])]
    assert [row.image for row in rows if row.split == "train"][:3] == names[:3]
    assert [row.image for row in rows if row.asks] == [names[21], names[26], names[28]]
    gallery = [row.image for row in rows if row.split == "test" and not row.asks]
    assert gallery[:3] == [names[20], names[22], names[23]]
    published(monkeypatch, Counts(20, 2), Counts(9, 1, queries=3))
    dataset = open_dataset(f"cuhk03-labeled:{root}")
    assert dataset.split("train").identities == (1, 2)
    image = dataset.split("test").images[0]
    assert (image.image_id, image.person_id, image.camera_id) == ("1_003_1_01.png", 3, "c1")
    assert image.path == root / "images_labeled" / "1_003_1_01.png"


def test_published_counts_are_those_of_the_official_lists(tmp_path):
    root = extracted(tmp_path, "labeled", new_protocol())
    with pytest.raises(
        DataError, match=r"train of CUHK03 \(labeled, new protocol\) has 20 pictures instead of 7368, 2"
    ):
        read(root, boxes="labeled")
    assert cuhk03.PUBLISHED["detected"]["test"] == Counts(6_732, 700, queries=1_400)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_idx": None}, "has no variable 'query_idx'; it has filelist"),
        ({"query_idx": column([22, 27, 21])}, "picture 21 is in query_idx and in gallery_idx; expected one"),
        ({"query_idx": column([22, 27, 30])}, "query_idx names picture 30; expected 1 to 29"),
        ({"query_idx": column([0, 22, 27])}, "query_idx names picture 0; expected 1 to 29"),
        ({"query_idx": column([22, 27])}, "1 of 29 pictures train nobody and test nobody"),
        ({"labels": column(range(28))}, "filelist has 29, labels 28 and camId 29"),
        ({"labels": column([0.5] * 29)}, r"labels holds \[0.5 0.5 0.5\]; expected a column of whole numbers"),
        ({"labels": cells(["one"] * 29)}, "expected a column of whole numbers"),
        ({"filelist": column(range(29))}, "expected a file name in each cell"),
    ],
)
def test_damaged_lists_are_refused(tmp_path, change, message):
    variables = {key: value for key, value in {**new_protocol(), **change}.items() if value is not None}
    root = extracted(tmp_path, "labeled", variables)
    with pytest.raises(DataError, match=message):
        read_list(root / LIST)


def test_a_list_without_its_pictures(tmp_path):
    savemat(tmp_path / LIST, new_protocol())
    with pytest.raises(DataError, match="has no folder images_labeled or cuhk03_labeled or labeled; the pictures of"):
        read(tmp_path, boxes="labeled")


# -- the classic protocol -------------------------------------------------------------------------------------------

PEOPLE = [(1, 1), (1, 2), (1, 3), (2, 1)]  # (pair of cameras, person in it)
DRAWN = [[(1, 2), (2, 1)], [(1, 1), (1, 2)]]


def classic(root, drawn=DRAWN, name="cuhk03_testsets.mat"):
    folders(root, {"images_labeled": [f"{a}_{b:03d}_{v}_{i:02d}.png" for a, b in PEOPLE for v, i in ((1, 1), (2, 6))]})
    (root / name).parent.mkdir(exist_ok=True)
    savemat(root / name, {"testsets": cells([np.array(draw, dtype=np.float64) for draw in drawn])})
    return root


@pytest.fixture
def _few_people(monkeypatch):
    few(monkeypatch, cuhk03, PICTURES={"labeled": 8}, PEOPLE=4, CLASSIC_TEST=2, DRAWS=2)


@pytest.mark.usefixtures("_few_people")
def test_each_draw_is_a_pair_of_splits_and_nobody_is_set_apart_to_ask(tmp_path):
    dataset = open_dataset(f"cuhk03-classic-labeled:{classic(tmp_path)}")
    assert sorted(dataset.splits) == ["test-01", "test-02", "train-01", "train-02"]
    assert {name: split.identities for name, split in dataset.splits.items()} == {
        "test-01": (2, 4), "train-01": (1, 3), "test-02": (1, 2), "train-02": (3, 4),
    }  # fmt: skip
    assert all(not split.query_ids for split in dataset.splits.values())
    test = dataset.split("test-01")
    assert [(image.image_id, image.camera_id) for image in test.images] == [
        ("1_002_1_01.png", "c1"), ("1_002_2_06.png", "c2"), ("2_001_1_01.png", "c1"), ("2_001_2_06.png", "c2"),
    ]  # fmt: skip


@pytest.mark.usefixtures("_few_people")
def test_the_draws_are_found_in_the_original_archive_which_is_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    root = classic(tmp_path, name="unused.mat")
    (root / "cuhk03_release").mkdir()
    with h5py.File(root / "cuhk03_release" / "cuhk-03.mat", "w", userblock_size=512) as file:
        cell = file.create_dataset("testsets", (1, 2), dtype=h5py.ref_dtype)
        for place, draw in enumerate(DRAWN):
            cell[0, place] = file.create_dataset(f"#refs#/{place}", data=np.array(draw, dtype=np.float64).T).ref
    assert draws(root / "cuhk03_release" / "cuhk-03.mat") == [set(draw) for draw in DRAWN]
    assert len(read(root, boxes="labeled", classic=True).split("test-02").images) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PICTURES": {"labeled": 9}}, "test-01 has 8 pictures in all instead of 9 as published"),
        ({"PEOPLE": 1_467}, "test-01 has 4 people in all instead of 1467 as published"),
        ({"CLASSIC_TEST": 100}, "test-01 has 2 test people instead of 100 as published"),
        ({"DRAWS": 20}, "has 2 draws; CUHK03 as published has 20"),
    ],
)
@pytest.mark.usefixtures("_few_people")
def test_the_classic_protocol_is_held_to_what_was_published(tmp_path, monkeypatch, change, message):
    few(monkeypatch, cuhk03, **change)
    with pytest.raises(DataError, match=message):
        read(classic(tmp_path), boxes="labeled", classic=True)


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        ([[(1, 2), (5, 9)]], "draw 1 tests person 9 of pair 5; expected somebody in"),
        ([[(1, 2, 3)]], r"draw 1 is an array of \(1, 3\); expected a row \(pair, person\) for each"),
    ],
)
def test_damaged_draws_are_refused(tmp_path, drawn, message):
    with pytest.raises(DataError, match=message):
        read(classic(tmp_path, drawn), boxes="labeled", classic=True)


def test_pictures_that_were_not_extracted_as_others_do_are_refused(tmp_path):
    folders(classic(tmp_path), {"images_labeled": ["0001.png"]})
    with pytest.raises(DataError, match=r"0001\.png is not named PAIR_PERSON_VIEW_PICTURE"):
        read(tmp_path, boxes="labeled", classic=True)


def test_the_classic_protocol_needs_its_draws(tmp_path):
    with pytest.raises(DataError, match=r"has none of cuhk03_testsets\.mat, testsets\.mat, cuhk-03\.mat"):
        read(folders(tmp_path, {"images_labeled": ["1_001_1_01.png"]}), boxes="labeled", classic=True)


# -- MATLAB's files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not MATLAB", b"\x89HDF\r\n\x1a\nbroken", b"\0" * 600])
def test_what_is_no_matlab_file_is_refused(tmp_path, content):
    pytest.importorskip("h5py")
    (tmp_path / "any.mat").write_bytes(content)
    with pytest.raises(DataError, match="MATLAB file"):
        matlab.read_matlab(tmp_path / "any.mat", ("labels",))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        matlab.read_matlab(tmp_path / "other.mat", ("labels",))


@pytest.mark.parametrize(("head", "package"), [(b"MATLAB 5.0", "scipy"), (b"\x89HDF\r\n\x1a\n", "h5py")])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, head, package):
    import sys

    (tmp_path / "any.mat").write_bytes(head)
    monkeypatch.setitem(sys.modules, f"{package}.io" if package == "scipy" else package, None)
    with pytest.raises(MissingExtraError, match=rf"any.mat needs the package '{package}'.*passerby\[data\]"):
        matlab.read_matlab(tmp_path / "any.mat", ("labels",))


def test_hdf5_arrays_come_rows_first(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "any.mat", "w") as file:
        file["table"] = np.arange(6).reshape(3, 2)
    assert matlab.read_matlab(tmp_path / "any.mat", ("table",))["table"].shape == (2, 3)
    with pytest.raises(DataError, match=r"has no variable 'tabel'; it has table\. Did you mean 'table'"):
        matlab.read_matlab(tmp_path / "any.mat", ("tabel",))
