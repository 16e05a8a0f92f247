"""Which number format a machine trains in."""

import pytest
import torch

from passerby.errors import ConfigError
from passerby.training import precision
from passerby.training.precision import choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [({"avx2"}, "no"), ({"avx512_bf16"}, "bf16"), ({"amx_bf16", "avx2"}, "bf16"), (set(), "no")],
)
def test_a_processor_takes_bf16_where_it_computes_in_it(monkeypatch, flags, chosen):
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset(flags))
    assert choose_precision("auto", CPU) == chosen
    assert choose_precision("fp32", CPU) == "no"
    assert choose_precision("bf16", CPU) == "bf16"


def test_a_gpu_takes_bf16_or_else_fp16(monkeypatch):
    for supported, chosen in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert choose_precision("auto", GPU) == chosen


def test_fp16_on_a_processor_is_refused():
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        choose_precision("fp16", CPU)
    assert choose_precision("fp16", GPU) == "fp16"
