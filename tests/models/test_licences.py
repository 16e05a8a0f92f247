import pytest

from passerby.models.checkpoint import read_checkpoint
from passerby.models.dual_encoder import build_dual_encoder
from passerby.models.licences import WELL_KNOWN, weights_licence
from passerby.models.restore import save_dual_encoder
from tiny_models import tiny_tokenizer


@pytest.mark.parametrize("pattern", ["fastvit*", "mobileone*", "*mci*", "resnet*", "mobilenet*", "efficientnet_*"])
def test_the_table_says_what_timm_says(pattern):
    import timm

    names = timm.list_models(pattern)
    assert names
    for name in names:
        own, ours = timm.get_pretrained_cfg(name), weights_licence(name)
        if own is not None and own.license and ours is not None:
            assert own.license.lower() in ours, name


def test_every_known_encoder_has_its_terms():
    import timm

    for name in WELL_KNOWN:
        assert timm.get_pretrained_cfg(name).license in weights_licence(name)
    assert "research only" in weights_licence("timm:fastvit_mci0.apple_mclip")
    assert "Apple" in weights_licence("timm", {"source": "fastvit_t8.apple_in1k"})
    assert weights_licence("fastvit_t8") == weights_licence("timm:fastvit_t8")
    assert weights_licence("stripe_conv") is None
    assert weights_licence("conv") is None


@pytest.mark.parametrize(("source", "words"), [("fastvit_t8", "Apple's own"), ("mobilenetv3_small_050", "apache")])
def test_the_model_card_tells_where_weights_may_come_from(tmp_path, source, words):
    tokenizer = tiny_tokenizer()
    config = {
        "image": {"name": "timm", "options": {"source": source, "weights": "random", "image_size": [64, 32]}},
        "text": {"name": "conv", "options": {"channels": 8}},
        "embedding_dim": 8,
    }
    model = build_dual_encoder(config, vocabulary_size=tokenizer.vocabulary_size)
    save_dual_encoder(model, tokenizer, tmp_path / "c", name="x", licence="unknown")
    card = (read_checkpoint(tmp_path / "c").folder / "README.md").read_text(encoding="utf-8")
    row = next(line for line in card.splitlines() if line.startswith("| pretrained image tower"))
    assert words in row
    assert "pretrained text tower" not in card
