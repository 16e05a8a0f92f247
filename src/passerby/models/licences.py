"""Under which terms pretrained weights come: the licence of the weights is another thing than the licence of the code.

Most of timm's weights are Apache-2.0, Apple's are not. The table is kept here, in words, because it is shown where timm
is not installed; a test compares it with what timm itself says of each model.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

_RESEARCH = "apple-amlr (Apple: research only, no product)"
#: Pattern of a timm name without its tag -> terms of the pretrained weights; the first that fits counts.
_TIMM: Mapping[str, str] = {
    "fastvit_mci*": _RESEARCH,
    "vit_base_mci*": _RESEARCH,
    "fastvit_*": "fastvit-license (Apple's own terms, not Apache)",
    "mobileone_*": "mobileone-license (Apple's own terms, not Apache)",
    "vit_*_clip_*": "see its tag: OpenAI's are MIT, others differ",
    "resnet*_clip*": "mit",
    "mobilenetv[1-4]*": "apache-2.0",
    "efficientnet_*": "apache-2.0",
    "inception_v3": "apache-2.0",
    "coatnet_*": "apache-2.0",
    "resnet*": "apache-2.0",
}
_OTHERS: Mapping[str, str] = {
    "distilbert": "apache-2.0 (DistilBERT's makers; a fine-tuned copy may differ)",
    "clip": "MIT (OpenAI's weights; other makers differ)",
}
#: What `passerby doctor` lists: towers of the encoder study and the text towers beside them.
WELL_KNOWN = (
    "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0", "efficientnet_b3",
    "inception_v3", "fastvit_t8", "coatnet_0_rw_224", "resnet50", "fastvit_mci0",
)  # fmt: skip


def weights_licence(tower: str, options: Mapping[str, Any] | None = None) -> str | None:
    """Terms of the pretrained weights that a tower can begin from; None for a tower that has none.

    Args:
        tower: registry name, or a name of timm.
        options: the tower's options; `source` names the model of timm.
    """
    key, _, source = tower.partition(":")
    if key in _OTHERS:
        return _OTHERS[key]
    name = str((options or {}).get("source") or source or key).partition(".")[0]
    found = next((terms for pattern, terms in _TIMM.items() if fnmatch(name, pattern)), None)
    if found is None and key == "timm":
        return "see the model's page; timm lists it as its licence"
    return found
