"""Who asks, who is searched and what is a hit, for every protocol, against loops over the records."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.data.records import Caption, PersonImage, Split
from passerby.errors import ConfigError, DataError
from passerby.evaluation import (
    PROTOCOLS,
    Features,
    evaluate_chance,
    evaluate_scores,
    find_protocol,
    gallery_vectors,
    natural_protocol,
    query_vectors,
    set_up,
)


@st.composite
def splits(draw):
    """Up to nine pictures of three people and of nobody, some junk, some kept for asking, with captions of some."""
    count = draw(st.integers(2, 9))
    images, captions = [], []
    for number in range(count):
        person = draw(st.sampled_from([None, 0, 1, 2]))
        camera = draw(st.sampled_from([None, "a", "b"]))
        images.append(
            PersonImage(f"i{number}", Path(f"{number}.jpg"), person, camera, junk=draw(st.integers(0, 6)) == 0)
        )
        for line in range(draw(st.integers(0, 2))):
            said = draw(st.sampled_from([None, person]))
            captions.append(Caption(f"line {line} of {number}", f"i{number}", said))
    asks = draw(st.lists(st.booleans(), min_size=count, max_size=count)) if draw(st.booleans()) else []
    query_ids = tuple(image.image_id for image, one in zip(images, asks, strict=False) if one)
    return Split("test", tuple(images), tuple(captions), query_ids)


def naive_queries(split, protocol):
    """(what asks, its picture, its person) in the split's order."""
    pictures = {image.image_id: image for image in split.images}
    if protocol.query == "text":
        asking = [(caption, pictures[caption.image_id], caption.person_id) for caption in split.captions]
    else:
        asking = [(image, image, image.person_id) for image in split.images]
        if split.query_ids:
            asking = [one for one in asking if one[0].image_id in split.query_ids]
    asking = [(one, image, image.person_id if person is None else person) for one, image, person in asking]
    by_person = protocol.relevance == "identity"
    return [one for one in asking if not one[1].junk and (one[2] is not None or not by_person)]


def naive_verdict(query, item, split, protocol):
    """hit, miss or junk, for one query and one thing that is searched."""
    asked, picture, person = query
    found = next(image for image in split.images if image.image_id == getattr(item, "image_id", None))
    if found.junk or (asked is item and protocol.query == protocol.gallery):
        return "junk"
    if protocol.relevance == "picture":
        return "hit" if found is picture else "miss"
    whose = getattr(item, "person_id", None)
    whose = found.person_id if whose is None else whose
    if whose is None or whose != person:
        return "miss"
    same_camera = picture.camera_id is not None and picture.camera_id == found.camera_id
    return "junk" if protocol.same_camera == "junk" and same_camera else "hit"


@settings(deadline=None, max_examples=300)
@given(splits(), st.sampled_from(sorted(PROTOCOLS)))
def test_queries_gallery_and_verdicts_are_those_of_a_loop_over_the_records(split, name):
    protocol = PROTOCOLS[name]
    queries = naive_queries(split, protocol)
    searched = split.captions if protocol.gallery == "text" else split.images
    if protocol.gallery == "image":
        searched = [image for image in searched if image.image_id not in split.query_ids]
    wanted = [[naive_verdict(query, item, split, protocol) for item in searched] for query in queries]
    if not any("hit" in row for row in wanted):
        with pytest.raises(DataError, match="no query that has anything to find"):
            set_up(split, protocol)
        return
    task = set_up(split, protocol)
    asking = split.captions if protocol.query == "text" else split.images
    assert [asking[row] for row in task.rows] == [query[0] for query in queries]
    relevance = task.relevance
    for number, row in enumerate(wanted):
        hits = relevance.positives[slice(*relevance.positive_start[number : number + 2])]
        junk = relevance.junk[slice(*relevance.junk_start[number : number + 2])]
        assert sorted(hits) == [at for at, verdict in enumerate(row) if verdict == "hit"]
        assert {*junk, *np.flatnonzero(relevance.ignored)} == {at for at, what in enumerate(row) if what == "junk"}
        if protocol.query == protocol.gallery == "image" and not split.query_ids:
            assert searched[task.itself[number]] is queries[number][0]


def flickr():
    """Three pictures of nobody known, with two, one and no captions."""
    images = tuple(PersonImage(f"i{n}", Path(f"{n}.jpg")) for n in range(3))
    captions = tuple(Caption(text, image) for text, image in [("one", "i0"), ("two", "i0"), ("three", "i1")])
    return Split("test", images, captions)


def test_image_level_takes_any_caption_of_the_picture_and_counts_pictures_without_one():
    split = flickr()
    scores = np.array([[0.1, 0.9, 0.5], [0.8, 0.0, 0.7], [0.3, 0.2, 0.1]])  # pictures by captions
    report = evaluate_scores(scores, split, find_protocol("image-to-own-text"), name="x")
    assert report.r1 == 50  # the second picture's caption comes second
    assert report.counts["queries_without_hit"] == 1
    assert report.counts["identities"] == 3
    back = evaluate_scores(scores.T, split, find_protocol("text-to-own-image"), name="x")
    assert back.r1 == pytest.approx(200 / 3)
    assert back.counts["without_identity"] == 3
    assert not any("nobody known" in note for note in back.notes())


def test_the_data_call_for_a_protocol():
    people = tuple(PersonImage(f"i{n}", Path(f"{n}.jpg"), n % 2, "a") for n in range(4))
    told = (Caption("x", "i0", 0),)
    assert natural_protocol(flickr()) == "text-to-own-image"
    assert natural_protocol(Split("test", people, told)) == "text-to-image"
    assert natural_protocol(Split("test", people)) == "image-to-image"
    assert natural_protocol(Split("test", people, query_ids=("i0",))) == "cross-camera"


def test_chance_of_a_single_shot_is_one_person_in_so_many():
    images = tuple(PersonImage(f"{p}/{n}", Path(f"{p}_{n}.jpg"), p, f"c{n % 2}") for p in range(8) for n in range(4))
    report = evaluate_chance(Split("test", images), find_protocol("single-shot"))
    assert report.r1 == pytest.approx(100 / 8)
    assert np.isnan(report.map)
    assert report.as_dict()["map"] is None


def test_vectors_that_do_not_fit_or_are_not_finite_are_refused_by_name():
    split = flickr()
    task = set_up(split, find_protocol("text-to-own-image"))
    good, bad = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    bad[1, 0] = np.nan
    with pytest.raises(DataError, match=r"1 of 3 vectors.*'i1'"):
        gallery_vectors(Features(bad, good), task)
    with pytest.raises(DataError, match="'two'"):
        query_vectors(Features(good, bad), task)
    with pytest.raises(DataError, match="features of 2 images"):
        gallery_vectors(Features(good[:2], good), task)
    with pytest.raises(DataError, match="no captions"):
        query_vectors(Features(good), task)
    large = np.full((3, 3), 3e38, np.float32)  # finite, though their sum is not
    assert gallery_vectors(Features(large, good), task) is large


def test_scores_cannot_be_pooled():
    with pytest.raises(ConfigError, match="use evaluate_features"):
        evaluate_scores(np.zeros((3, 3)), flickr(), find_protocol("multi-query"), name="x")
