"""The cost profiler: counts beside hand arithmetic and beside the published table, and one whole profile."""

import json

import pytest
import torch
from torch import nn

from passerby.errors import ConfigError, PasserbyError
from passerby.models.dual_encoder import build_dual_encoder
from passerby.models.towers import image_tower
from passerby.studies import profile as profiling
from passerby.studies.profile import legend, markdown, profile_models, table
from passerby.studies.profile_child import latency, measure
from passerby.studies.profile_counts import count, embedding_parameters, multiply_adds, parameters
from passerby.studies.profile_subject import open_subject
from tiny_models import save_tiny

# Name, parameters without a classifier, and 10^9 multiply-adds at 224x224 (three decimals) as timm 1.0.31 has them.
TABLE = [
    ("mobilenetv2_100", 2_223_872, 0.299),
    ("mobilenetv3_small_100", 1_517_856, 0.055),
    ("mobilenetv3_large_100", 4_202_032, 0.215),
    ("efficientnet_b0", 4_007_548, 0.385),
    ("efficientnet_b3", 10_696_232, 0.961),
    ("inception_v3", 21_785_568, 2.836),
    ("fastvit_t8", 3_257_232, 0.528),
    ("coatnet_0_rw_224", 26_666_562, 4.406),
    ("resnet50", 23_508_032, 4.087),
    ("mobilenetv3_small_050", 568_224, 0.023),
    ("repvit_m0_9", 4_717_792, 0.817),
    ("mobileone_s0", 4_268_272, 1.051),
]
REQUEST = {"model": "", "runtime": "torch", "device": "cpu", "threads": 1, "tokens": 9, "repeats": 2}


@pytest.mark.parametrize(("name", "weights", "billions"), TABLE)
def test_counts_equal_the_table(name, weights, billions):
    tower = image_tower(name, image_size=(224, 224), weights="random").eval()
    assert parameters(tower) == weights
    rounding = 0.0005 / billions
    pictures = torch.zeros(1, 3, 224, 224, device="meta")  # shapes without numbers are all that counting needs
    assert multiply_adds(tower.to("meta"), pictures) / 1e9 == pytest.approx(billions, rel=0.001 + rounding)


def test_merging_branches_lowers_the_count():
    tower = image_tower("fastvit_t8", image_size=(224, 224), weights="random").eval()
    assert parameters(tower.fused()) == 3_227_040


def test_a_hand_computed_network():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 8x4 outputs of 8 channels, 27 products each
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),  # 9 products each
        nn.Flatten(),
        nn.Linear(8 * 8 * 4, 10),
    )
    positions = 8 * 4
    by_hand = positions * 8 * 27 + positions * 8 * 9 + 8 * positions * 10
    assert multiply_adds(network, torch.zeros(1, 3, 16, 8)) == by_hand
    assert parameters(network) == (8 * 27 + 8) + 16 + (8 * 9 + 8) + (8 * positions * 10 + 10)
    assert network.training


@pytest.mark.parametrize("causal", [True, False])
def test_a_hand_computed_text_tower(causal):
    """CLIP's: per layer 4 C^2 and 2 C M per token, and 2 L^2 C for the attention products."""
    channels, layers, mlp, words, longest, length, dim = 16, 3, 40, 50, 12, 7, 8
    options = {"vocabulary_size": words, "context_length": longest, "channels": channels, "layers": layers, "heads": 4}
    config = {
        "image": {"name": "stripe_conv", "options": {"channels": 8, "image_size": [32, 16]}},
        "text": {"name": "clip", "options": {**options, "mlp_width": mlp, "causal": causal}},
        "embedding_dim": dim,
    }
    found = count(build_dual_encoder(config), length, longest)

    def by_hand(tokens):
        seen = tokens if causal else longest
        layer = seen * (4 * channels**2 + 2 * channels * mlp) + 2 * seen**2 * channels
        return layers * layer + channels * dim

    assert found["text_multiply_adds"] == by_hand(length)
    assert found["text_multiply_adds_padded"] == by_hand(longest)
    embeddings = words * channels + longest * channels
    assert found["text_parameters"] - found["text_parameters_without_embeddings"] == embeddings
    block = 4 * channels**2 + 4 * channels + 2 * channels * mlp + mlp + channels + 4 * channels
    assert found["text_parameters_without_embeddings"] == layers * block + 2 * channels + channels * dim


def test_the_body_of_distilbert():
    """6 x 7,087,872 as published, beside tables of 30,522 words and 512 positions."""
    from passerby.models.towers import text_tower

    tower = text_tower("distilbert")
    assert embedding_parameters(tower) == (30_522 + 512) * 768
    body = parameters(tower) - embedding_parameters(tower)
    assert body == 6 * 7_087_872 + 2 * 768  # and the norm behind the tables
    ids = torch.ones(1, 200, dtype=torch.int64)
    attention = 6 * 2 * 200**2 * 768
    assert multiply_adds(tower, ids) == pytest.approx(42.467e6 * 200 + attention, rel=0.001)


def test_latency_equals_what_the_clock_says():
    ticks = iter([0, 1, 1, 3, 3, 6, 6, 10])
    calls = []
    found = latency(lambda: calls.append(1), 4, clock=lambda: next(ticks))
    assert found["p50_ms"] == pytest.approx(2500)
    assert found["p95_ms"] == pytest.approx(3850)
    assert len(calls) == 6, "two calls warm up"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile") / "c"
    save_tiny(folder)
    return folder


def test_a_whole_profile(stored):
    found = measure({**REQUEST, "model": str(stored)})
    subject = open_subject(str(stored))
    assert found["image_parameters"] == parameters(subject.model.image_tower) + parameters(
        subject.model.image_projection
    )
    assert found["checkpoint_bytes"] == (stored / "model.safetensors").stat().st_size
    assert found["index_bytes"] == 4 * 32
    assert (found["tokens"], found["context_length"]) == (9, 16)
    for key in ("image_batch1", "image_batch32", "text_batch1", "text_batch32"):
        assert 0 < found[key]["p50_ms"] <= found[key]["p95_ms"]
    assert found["images_per_s"] == pytest.approx(32e3 / found["image_batch32"]["p50_ms"])
    assert found["peak_rss_bytes"] >= found["rss_bytes_before"] > 0
    assert json.loads(json.dumps(found)) == found
    head, rows = table([found])
    assert len(rows[0]) == len(head) == 14
    text = markdown([found])
    assert text.splitlines()[2].count("|") == text.splitlines()[0].count("|")
    assert "FLOPs / 2" in legend([found])


def test_towers_by_name():
    subject = open_subject("mobilenetv3_small_050@64x32+conv")
    assert subject.model.preprocessing.image_size == (64, 32)
    assert subject.checkpoint is None
    assert open_subject("stripe_conv+transformer").context_length == 77


def test_models_are_measured_in_processes_of_their_own(stored):
    steps = []
    found = profile_models([str(stored)], repeats=0, progress=lambda *step: steps.append(step[:2]))
    assert steps == [(0, 1), (1, 1)]
    assert "image_batch1" not in found[0]
    assert len(table(found)[0]) == 8
    with pytest.raises(PasserbyError, match=r"resnet5: no image tower.*Did you mean"):
        profile_models(["resnet5"], repeats=0)


@pytest.mark.parametrize(
    ("arguments", "words"), [({"threads": 0}, "threads is 0"), ({"tokens": 0}, "tokens"), ({"repeats": -1}, "repeats")]
)
def test_wrong_numbers(arguments, words):
    with pytest.raises(ConfigError, match=words):
        profile_models(["street"], **arguments)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("a b", "is no model"),
        ("inception_v3@64x32", "own size is 299x299"),
        ("stripe_conv+destilbert", "Did you mean 'distilbert'"),
    ],
)
def test_wrong_models(model, words):
    with pytest.raises(ConfigError, match=words):
        open_subject(model)


def test_a_runtime_that_the_model_has_no_files_for(stored):
    with pytest.raises(PasserbyError, match="no exported towers"):
        measure({**REQUEST, "model": str(stored), "runtime": "openvino"})


def test_a_process_that_dies_is_told(monkeypatch):
    monkeypatch.setattr(profiling, "_CODE", "raise SystemExit('out of memory')")
    with pytest.raises(PasserbyError, match="ended without a result: out of memory"):
        profile_models(["street"], repeats=0)
