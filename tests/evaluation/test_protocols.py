"""Protocols say what they are, and refuse to select on what they report."""

import dataclasses

import pytest

from passerby.errors import ConfigError
from passerby.evaluation import PROTOCOLS, Protocol, find_protocol


def test_every_protocol_describes_itself_and_is_frozen():
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert protocol.query in protocol.describe()
        assert "split test" in protocol.describe()
        with pytest.raises(dataclasses.FrozenInstanceError):
            protocol.query = "text"


def test_cameras_are_counted_unless_asked_and_both_are_said():
    assert "all cameras counted" in find_protocol("image-to-image").describe()
    assert "same camera is junk" in find_protocol("image-to-image", same_camera="junk").describe()


def test_selecting_on_the_reported_split_needs_to_be_allowed_and_is_stamped():
    with pytest.raises(ConfigError, match="selects the model on the split it reports, 'test'"):
        find_protocol("text-to-image", selection_split="test")
    allowed = find_protocol("text-to-image", selection_split="test", allow_test_selection=True)
    assert "THE SAME" in allowed.describe()
    assert allowed.as_dict()["allow_test_selection"] is True


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: find_protocol("text-to-imge"), "Did you mean 'text-to-image'"),
        (lambda: Protocol("mine", query="sound"), "query is 'sound'; expected one of text, image"),
        (lambda: Protocol("mine", query="text", ties="random"), "ties is 'random'"),
        (lambda: find_protocol("image-to-image", same_camera="drop"), "same_camera is 'drop'"),
    ],
)
def test_wrong_protocols_are_refused_by_name(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
