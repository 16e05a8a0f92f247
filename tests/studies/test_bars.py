"""Bars: lengths in proportion, every word escaped, impossible values refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerby.errors import ConfigError
from passerby.studies.bars import TONES, Bar, Strip, bar_chart


def widths(html, tone):
    return [float(width) for width in re.findall(rf'class="bar-{tone}" width="([\d.]+)%"', html)]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
def test_lengths_are_in_proportion_and_the_longest_is_full(values):
    html = bar_chart([Bar(str(i), (Strip(value, f"{value} s"),)) for i, value in enumerate(values)])
    top = max(values) or 1.0
    assert widths(html, "plain") == pytest.approx([100 * value / top for value in values], abs=0.006)


def test_a_maximum_sets_the_scale_and_a_whisker_its_ends():
    html = bar_chart([Bar("a", (Strip(30, "30 %", "accent", (25, 35)), Strip(10, "10 %")))], maximum=50)
    assert widths(html, "accent") == [60.0]
    assert widths(html, "plain") == [20.0]
    assert 'x1="50.00%" x2="70.00%"' in html


def test_a_whisker_past_every_value_still_fits():
    html = bar_chart([Bar("a", (Strip(30, "30", "accent", (25, 60)),))])
    assert widths(html, "accent") == [50.0]


def test_no_bars_are_an_empty_chart():
    assert bar_chart([]) == '<dl class="bars"></dl>'


@given(st.text())
def test_words_cannot_become_markup(words):
    plain = bar_chart([Bar("", (Strip(1, ""),), "x")])
    html = bar_chart([Bar(words, (Strip(1, words),), words or "x")])
    assert re.findall(r"<[^>]*>", html) == re.findall(r"<[^>]*>", plain)


@pytest.mark.parametrize(
    ("strip", "maximum"),
    [
        (Strip(-1, "-1"), None),
        (Strip(float("nan"), "nan"), None),
        (Strip(float("inf"), "inf"), None),
        (Strip(101, "101"), 100.0),
        (Strip(90, "90", interval=(80, 101)), 100.0),
        (Strip(1, "1", "acent"), None),
    ],
)
def test_impossible_strips_are_refused(strip, maximum):
    with pytest.raises(ConfigError):
        bar_chart([Bar("a", (strip,))], maximum=maximum)


def test_a_wrong_tone_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'accent'"):
        bar_chart([Bar("a", (Strip(1, "1", "acent"),))])
    assert "accent" in TONES
