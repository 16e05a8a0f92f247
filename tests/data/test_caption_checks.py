"""Which captions are code, which are no text, and how long they are at least."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerby.data.caption_checks import caption_findings, is_latin_text, least_tokens
from passerby.data.readers.source import Source, SourceRow

CODE = [
    "def forward(self, x):", "import torch", "from os import path", "print('a man')", "self.model = model",
    "x == y", "images[0]", "return {}", "os.path.join(root, name)", "a = b + c", "<div>", "for i in range(10): x+=1;",
]  # fmt: skip
SENTENCES = [
    "The man wears a black jacket.He carries a bag.", "A woman (about 30) in a coat(blue) and t-shirt.",
    "She is wearing a black/white dress & red shoes - she's 20-30 years old.",
    "A man, who's imported his shoes from Italy.",
    "This class of jacket: blue; the shoes: red.", "He returns from work.", "A man with \"NIKE\" on his shirt!",
    "He wears a pair of trousers and a pair of shoes, e.g. sneakers.", "In the print of her T-shirt there is a cat.",
]  # fmt: skip


def found(text, check):
    source = Source("a", "a", Path(), Path(), Path(), (SourceRow("a.jpg", "train", 1, (text,)),))
    return {one.check: one.count for one in caption_findings(source, 77)}[check]


@pytest.mark.parametrize("text", CODE)
def test_code_is_found(text):
    assert found(text, "captions that look like program code") == 1


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences_are_not_code(text):
    assert found(text, "captions that look like program code") == 0


@pytest.mark.parametrize(
    ("text", "latin"),
    [
        ("A man.", True),
        ("Ein Mann mit Hütte", True),
        ("一个男人", False),
        ("A man 穿着", False),
        ("ｆｕｌｌ", False),
        ("123 .", False),
    ],
)
def test_what_is_text(text, latin):
    assert is_latin_text(text) == latin


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 2), ("A man.", 5), ("t-shirt", 5), ("30 years", 5), ("wait...!", 4), ("under_score", 5)]
)
def test_counted_by_hand(text, tokens):
    assert least_tokens(text) == tokens


@given(st.text(), st.text())
def test_a_longer_text_has_no_fewer_tokens(first, second):
    assert least_tokens(f"{first} {second}") == least_tokens(first) + least_tokens(second) - 2
