"""Detectors: what they find, what they may return, and weights that do not fit."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import filmed_street
from passerby.data.world.scenes import Scene
from passerby.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from passerby.ingest.boxes import overlaps
from passerby.ingest.detection import Detections, checked, open_detector
from passerby.ingest.footage import VideoFile

SMALL = "ssdlite320_mobilenet_v3_large"


def test_hog_finds_most_of_the_people_who_can_be_seen_whole(tmp_path):
    path = filmed_street.write(tmp_path / "a.avi", Scene(walkers=4, seconds=8, fps=2, size=(360, 480), seed=2))
    rows = filmed_street.truth(path)
    detector, found, people = open_detector(), 0, 0
    for sample, row in zip(VideoFile(path).samples(0.5), rows, strict=True):
        boxes = detector.detect(sample.image).boxes
        truth = np.array([one["box"] for one in row["people"] if one["visible"] > 0.95]).reshape(-1, 4)
        people += len(truth)
        found += int((overlaps(truth, boxes) >= 0.5).any(axis=1).sum()) if len(boxes) else 0
    assert people >= 8
    assert found >= people // 2


@pytest.mark.parametrize("size", [(1, 1), (60, 60), (127, 300), (300, 63)])
def test_hog_finds_nobody_in_frames_that_are_too_small(size):
    found = open_detector("hog").detect(np.zeros((*size, 3), np.uint8))
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("detector", "weights", "reason"),
    [
        ("hogg", None, "Did you mean 'hog'"),
        ("", None, "there is no detector"),
        ("hog:big", None, "takes neither"),
        ("hog", "COCO_V1", "takes neither"),
        ("torchvision:fasterrcnn_resnet50_fp", None, "Did you mean 'fasterrcnn_resnet50_fpn"),
        (f"torchvision:{SMALL}", "COCO_V2", "no weights 'COCO_V2'"),
    ],
)
def test_unknown_detectors_are_refused(detector, weights, reason):
    with pytest.raises(ConfigError, match=reason):
        open_detector(detector, weights)


@pytest.fixture(scope="module")
def network():
    torchvision = pytest.importorskip("torchvision")
    return torchvision.models.get_model(SMALL, weights=None, weights_backbone=None, num_classes=91)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_network_of_torchvision_runs_with_weights_from_a_file(network, tmp_path, ending):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / f"weights.{ending}"
    torch.save(network.state_dict(), path) if ending == "pth" else save_file(network.state_dict(), path)
    detector = open_detector(f"torchvision:{SMALL}", str(path))
    found = detector.detect(np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8))
    assert found.boxes.shape == (len(found.scores), 4)
    assert detector.name.startswith(f"torchvision:{SMALL}:")
    assert all(
        torch.equal(one, other)
        for one, other in zip(detector._network.cpu().state_dict().values(), network.state_dict().values(), strict=True)
    )


def test_only_people_of_whom_the_network_is_sure_are_kept():
    torch = pytest.importorskip("torch")
    from passerby.ingest.torchvision_detector import TorchvisionDetector

    class Network(torch.nn.Module):
        def forward(self, pictures):
            assert pictures[0].shape == (3, 40, 50)
            assert float(pictures[0].max()) == 1.0
            boxes = torch.tensor([[0.0, 0, 9, 9], [1, 1, 8, 8], [2, 2, 7, 7]])
            return [{"boxes": boxes, "labels": torch.tensor([1, 1, 18]), "scores": torch.tensor([0.9, 0.4, 0.9])}]

    found = TorchvisionDetector("fixed", Network()).detect(np.full((40, 50, 3), 255, np.uint8))
    assert found.boxes.tolist() == [[0, 0, 9, 9]]


def test_weights_that_do_not_fit_are_refused_in_a_sentence(network, tmp_path):
    import torch

    state = network.state_dict()
    name = next(iter(state))
    cases = {
        "shape": {**state, name: torch.zeros(3, 3)},
        "missing": {key: value for key, value in state.items() if key != name},
        "foreign": {**state, "more": torch.zeros(1)},
        "no state dict": [1, 2],
    }
    for reason, content in cases.items():
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(CheckpointError, match=reason):
            open_detector(f"torchvision:{SMALL}", str(tmp_path / "w.pth"))
    (tmp_path / "w.pth").write_bytes(b"no weights at all")
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_detector(f"torchvision:{SMALL}", str(tmp_path / "w.pth"))
    with pytest.raises(CheckpointError, match="check the path"):
        open_detector(f"torchvision:{SMALL}", str(tmp_path / "nothing.pth"))


def test_weights_that_cannot_be_downloaded_say_what_to_do(monkeypatch):
    torch = pytest.importorskip("torch")

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(CheckpointError, match="--detector-weights"):
        open_detector(f"torchvision:{SMALL}", "COCO_V1")


@pytest.mark.parametrize(("module", "detector"), [("cv2", "hog"), ("torchvision", "torchvision")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, module, detector):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"passerby\[(video|train)\]"):
        open_detector(detector)


@pytest.mark.parametrize(
    ("boxes", "scores", "reason"),
    [
        (np.zeros((2, 4)), np.zeros(3), "expected"),
        (np.zeros((2, 5)), np.zeros(2), "expected"),
        (np.zeros(4), np.zeros(1), "expected"),
        (np.array([[0, 0, np.nan, 1]]), np.ones(1), "not finite"),
        (np.array([[0, 0, 1, 1]]), np.array([np.inf]), "not finite"),
    ],
)
def test_what_no_detector_may_return_is_refused(boxes, scores, reason):
    with pytest.raises(DataError, match=reason):
        checked(Detections(boxes, scores), "mine")


def test_empty_boxes_are_dropped_and_none_is_fine():
    assert len(checked(Detections(np.array([[5, 5, 5, 9], [0, 0, 2, 2]]), np.ones(2)), "mine").boxes) == 1
    assert checked(Detections(np.zeros(0), np.zeros(0)), "mine").boxes.shape == (0, 4)
    assert json.dumps(checked(Detections([], []), "mine").boxes.tolist()) == "[]"
