"""`passerby data`: a table for people, JSON for machines, an exit code for scripts; a sheet; a new split."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from passerby.cli.data import parse_shares
from passerby.data.readers import open_dataset
from passerby.errors import ConfigError

sys.path.append(str(Path(__file__).parent.parent / "data"))
import set_with_defects


@pytest.fixture
def good(tmp_path):
    root = set_with_defects.write(tmp_path / "good", defects=False)
    (root / "street.json").write_text("{}")
    return root


@pytest.fixture
def bad(tmp_path):
    return set_with_defects.write(tmp_path / "bad", defects=True)


def test_check_of_a_good_set(call, good):
    code, out, _ = call("data", "check", "rstpreid", good)
    assert code == 0
    for words in ("Street in the layout of RSTPReid", "train", "captions", "missing pictures", "nothing that must be"):
        assert words in out


def test_check_of_a_bad_set_ends_with_1_and_says_what_to_do(call, bad):
    code, out, _ = call("data", "check", "rstpreid", bad)
    assert code == 1
    for words in ("not 18,505", "fatal missing pictures: unpack the archive again", "0 in test and train"):
        assert words in out


def test_json_holds_all_of_it(call, bad):
    code, out, err = call("data", "check", "rstpreid", bad, "--json", "--all", "--tokens", "20")
    record = json.loads(out)
    assert code == 1
    assert record["fatal"]
    assert record["counts"]["train"]["identities"] == 4
    assert record["published"]["val"]["images"] == 1000
    levels = {one["check"]: one["level"] for one in record["findings"]}
    assert levels["people in more than one split"] == "fatal"
    assert "reading pictures" in err


def test_files_that_cannot_be_parsed_are_one_line(call, tmp_path):
    (tmp_path / "data_captions.json").write_text("{")
    code, out, err = call("data", "check", "rstpreid", tmp_path)
    assert (code, out) == (1, "")
    assert "is not JSON" in err


def test_show_writes_a_sheet(call, good, tmp_path):
    code, out, _ = call(
        "data", "show", "rstpreid", good, "--out", tmp_path / "sheet.png", "--people", 2, "--split", "test"
    )
    assert (code, out.strip()) == (0, str(tmp_path / "sheet.png"))
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 400


def test_split_deals_people_out_and_is_read_back(call, good, tmp_path):
    shares = ["--share", "train=2", "--share", "test=1"]
    code, out, _ = call("data", "split", "rstpreid", good, "--out", tmp_path / "new.jsonl", *shares, "--seed", 4)
    assert code == 0
    assert "train: 8 pictures of 4 people" in out
    dataset = open_dataset(f"jsonl:{tmp_path / 'new.jsonl'}")
    assert [len(split.identities) for split in dataset.splits.values()] == [4, 2]
    assert len(dataset.split("train").captions) == 16
    code, out, _ = call("data", "check", "jsonl", tmp_path / "new.jsonl")
    assert code == 0


def test_split_is_the_way_out_for_people_in_two_splits(call, good, tmp_path):
    rows = json.loads((good / "data_captions.json").read_text())
    rows[-1]["id"] = rows[0]["id"]
    (good / "data_captions.json").write_text(json.dumps(rows))
    assert call("data", "check", "rstpreid", good)[0] == 1
    assert call("data", "split", "rstpreid", good, "--out", tmp_path / "new.jsonl")[0] == 0
    assert call("data", "check", "jsonl", tmp_path / "new.jsonl")[0] == 0


def test_split_needs_the_name_of_a_list(call, good, tmp_path):
    code, _, err = call("data", "split", "rstpreid", good, "--out", tmp_path / "new.csv")
    assert code == 1
    assert "ends in .jsonl" in err


@pytest.mark.parametrize("text", ["train", "train=", "=0.5", "train=many"])
def test_wrong_shares(text):
    with pytest.raises(ConfigError, match="expected"):
        parse_shares([text])
    with pytest.raises(ConfigError, match="each split once"):
        parse_shares(["train=1", "train=2"])
