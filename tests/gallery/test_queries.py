"""What can be asked, in which order answers come, and when there is none."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from colour_encoder import COLOURS, ColourEncoder, person, write_people
from gallery_places import a_server
from passerby.data.records import PersonImage
from passerby.errors import ConfigError, GalleryError
from passerby.gallery import Filter, Gallery, Query, Sighting, calibration
from passerby.gallery.bands import Limits, bands_from, measure_bands
from passerby.gallery.grouping import best_of_groups
from passerby.gallery.query import unit
from passerby.gallery.seal import write_list
from passerby.gallery.store import ENGINES
from passerby.gallery.word_bands import Level, Person


@pytest.fixture(params=[*ENGINES, "server"])
def gallery(request, tmp_path):
    """36 people in six colours each, known by person, track and coat."""
    places = a_server(tmp_path) if request.param == "server" else iter([f"{request.param}:{tmp_path / 'gallery'}"])
    sightings = []
    for index, name in enumerate(sorted(write_people(tmp_path / "people", 36))):
        image = PersonImage(name, tmp_path / "people" / name, index % 6, f"c{index % 3}", float(index))
        sightings.append(Sighting(image, f"t{index // 4}", "walk", {"coat": "long" if index % 2 else 1}))
    with Gallery.create(next(places), ColourEncoder()) as opened:
        opened.add(sightings)
        yield opened
    next(places, None)


def test_everything_said_about_a_picture_comes_back(gallery):
    hit = gallery.search("red blue", k=1, where="time == 12")[0]
    assert (hit.person, hit.camera, hit.time, hit.picture.track, hit.picture.source) == (0, "c0", 12.0, "t3", "walk")
    assert dict(hit.picture.metadata) == {"coat": 1}
    assert gallery.metadata_fields() == ["coat"]
    assert gallery.facets("coat") == {"1": 18, "long": 18}
    assert gallery.facets("person", most=2) == {"0": 6, "1": 6}
    assert gallery.times() == (0.0, 35.0)
    assert gallery.picture(hit.id) == hit.picture
    assert gallery.picture("no id") is None
    assert [picture.id for picture in gallery.pictures("camera == 'c1'", most=5)] == sorted(
        picture.id for picture in gallery if picture.camera == "c1"
    )[:5]


def test_news_about_a_known_picture_is_taken_over(gallery, tmp_path):
    path = next(iter(gallery)).path
    report = gallery.add(Sighting(PersonImage("x", path, camera_id="door"), metadata={"bag": "red"}))
    assert (report.added, report.already_there, report.updated) == (0, 1, 1)
    found = next(gallery.pictures("camera == 'door'"))
    assert (found.path, found.source, found.metadata["bag"]) == (path, "walk", "red")
    assert "coat" in found.metadata
    assert found.time is not None
    assert gallery.add(Sighting(PersonImage("x", path, camera_id="door"))).updated == 0
    assert gallery.count("bag == 'red'") == 1


@pytest.mark.parametrize("where", ["camera == 'c1'", "coat == 'long' and time < 20", "person in [1, 2]", "absent == 1"])
def test_filters_agree_with_a_plain_loop(gallery, where):
    from passerby.gallery import parse_where

    condition = parse_where(where)
    everyone = gallery.search("red", k=100)
    passing = [hit.id for hit in everyone if condition.matches(hit.picture)]
    assert [hit.id for hit in gallery.search("red", k=100, where=where)] == passing
    assert len(gallery.search("red", k=3, where=condition)) == min(3, len(passing))


def test_an_answer_that_conditions_leave_empty_says_which(gallery):
    assert gallery.search("red", where="camera == 'c9'").warnings == ("no picture passes the filter",)
    misspelt = gallery.search("red", where="not (camra != 'c1') and person == 2")
    assert misspelt.warnings[0].endswith(
        "'camra' is no field of every picture, so it has to be metadata. Did you mean 'camera'?"
    )
    best = gallery.search("red", k=1)[0].score
    strict = gallery.search("red", min_score=0.9999)
    assert (list(strict), strict.warnings) == ([], (f"no picture scores 0.9999 or more; the best score is {best:.4f}",))
    alone = gallery.search("red", k=3, group="trak")
    assert len(alone) == 3
    assert alone.warnings == ("no hit has the field 'trak', so each stands alone. Did you mean 'track'?",)
    for settings in ({"where": "camera == 'c1'"}, {"min_score": best - 0.001}, {"group": "identity"}):
        assert gallery.search("red", **settings).warnings == ()


def test_several_sentences_and_pictures_are_one_person(gallery, tmp_path):
    encoder = ColourEncoder()
    pictures = [person("red", "blue", seed=seed) for seed in range(900, 902)]
    texts = encoder.encode_texts(["red", "red blue"])
    images = encoder.encode_images(pictures)
    expected = unit(0.7 * unit(texts.mean(0)) + 0.3 * unit(images.mean(0)))
    hits = gallery.search(["red", "red blue"], pictures, text_weight=0.7)
    np.testing.assert_allclose(
        [hit.score for hit in hits], [hit.score for hit in gallery.search_vector(expected)], atol=2e-3
    )


def test_like_these_and_unlike_those(gallery):
    everyone = gallery.search("red", k=100)
    like, unlike = everyone[0].id, everyone[-1].id
    hits = gallery.search(like=[like], unlike=[unlike], k=100)
    assert len(hits) == 34
    assert not {like, unlike} & {hit.id for hit in hits}
    vectors = gallery.vectors([like, unlike])
    expected = gallery.search_vector(vectors[0] - 0.5 * vectors[1], k=100)
    assert [hit.id for hit in hits] == [hit.id for hit in expected if hit.id not in (like, unlike)]
    assert gallery.search("red", like=[like], k=1)


def test_several_queries_at_once_are_several_answers(gallery):
    queries = [Query(("red",)), Query(("blue white",)), Query(like=(next(iter(gallery)).id,))]
    answers = gallery.search_many(queries, k=4)
    for query, hits in zip(queries, answers, strict=True):
        alone = gallery.search(query.texts or None, like=query.like, k=4)
        assert [hit.id for hit in hits] == [hit.id for hit in alone]


def test_several_threads_get_the_answers_that_one_gets(tmp_path):
    write_people(tmp_path / "people", 40)
    with Gallery.create(tmp_path / "gallery", ColourEncoder()) as made:
        made.add(tmp_path / "people")
        asked = [(text, where) for text in COLOURS for where in (None, "camera == 'c1'", "camera != 'c1'")] * 3
        alone = [[hit.id for hit in made.search(text, where=where)] for text, where in asked]
    with Gallery.open(tmp_path / "gallery", ColourEncoder()) as again, ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda one: [hit.id for hit in again.search(one[0], where=one[1])], asked)
        assert list(found) == alone


def test_groups_are_answered_by_their_best(gallery):
    everyone = gallery.search("green red", k=100)
    for field in ("person", "track", "coat", "identity"):
        name = "person" if field == "identity" else field
        firsts, seen = [], set()
        for hit in everyone:
            if hit.picture.get(name) not in seen:
                seen.add(hit.picture.get(name))
                firsts.append(hit.id)
        hits = gallery.search("green red", k=100, group=field)
        assert [hit.id for hit in hits] == firsts
        assert sum(1 + len(hit.others) for hit in hits) == 36
    assert len(gallery.search("green red", k=2, group="person")) == 2


def test_pictures_without_the_field_stand_alone(gallery):
    hits = gallery.search("red", k=100)
    assert [hit.id for hit in best_of_groups(hits, "absent")] == [hit.id for hit in hits]
    with pytest.raises(ConfigError, match="is no field"):
        gallery.search("red", group="no field")


def test_a_lowest_score(gallery):
    everyone = gallery.search("red", k=100)
    floor = everyone[10].score
    assert [hit.id for hit in gallery.search("red", k=100, min_score=floor)] == [
        hit.id for hit in everyone if hit.score >= floor
    ]
    with pytest.raises(ConfigError, match="min_score is 3"):
        gallery.search("red", min_score=3)


class Backwards:
    name, depth = "backwards", 7

    def rerank(self, candidates):
        assert candidates.vectors.shape == (len(candidates.pictures), 18)
        np.testing.assert_allclose(candidates.vectors @ candidates.query, candidates.scores, atol=2e-3)
        assert candidates.texts == ("red",)
        return -candidates.scores


def test_a_second_stage_orders_its_candidates_and_tells_its_time(gallery):
    first = gallery.search("red", k=10)
    second = gallery.search("red", k=10, reranker=Backwards())
    ids = [hit.id for hit in first]
    assert [hit.id for hit in second] == [*ids[:7][::-1], *ids[7:]]
    assert set(first.seconds) == {"encode", "search"}
    assert second.seconds["rerank"] > 0

    class Short(Backwards):
        def rerank(self, candidates):
            return np.zeros(1)

    with pytest.raises(ConfigError, match="the re-ranker backwards returned scores of shape"):
        gallery.search("red", reranker=Short())


def test_deletion_by_source_identity_and_filter(gallery):
    assert gallery.delete(Filter.of(identities=[3])) == 6
    assert gallery.delete(Filter.of(sources=["nowhere"])) == 0
    assert gallery.count("person == 3") == 0
    assert gallery.delete(Filter.of(sources=["walk"])) == 30
    assert len(gallery) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"unlike": ["0" * 32]}, "nothing to look for, only something to avoid"),
        ({"like": ["12"]}, "is no picture id"),
        ({"text": ["red", " "]}, "the query text is empty"),
        ({"text": "red", "where": "camera = 3"}, r"wrong at character 8"),
    ],
)
def test_wrong_questions(gallery, arguments, words):
    with pytest.raises(ConfigError, match=words):
        gallery.search(**arguments)
    with pytest.raises(GalleryError, match=r"vector of f+"):
        gallery.search(like=["f" * 32])


# -- bands ----------------------------------------------------------------------------------------------------------


class Plain(ColourEncoder):
    """Sentences without a colour word are about nobody and lie far from all pictures."""

    def encode_texts(self, texts):
        nobody = np.tile([1.0, -1.0], 9).astype(np.float32) / np.sqrt(18)
        known = [any(word in COLOURS for word in text.lower().split()) for text in texts]
        vectors = super().encode_texts(texts)
        return np.where(np.array(known)[:, None], vectors, nobody)


@pytest.fixture
def measured(tmp_path):
    write_people(tmp_path / "people", 120)
    with Gallery.create(tmp_path / "gallery", Plain()) as opened:
        opened.add(tmp_path / "people")
        yield opened


def test_bands_are_measured_and_an_empty_answer_says_why(measured):
    hits = measured.search("red blue", k=3)
    assert {hit.band for hit in hits} <= {"weak", "strong"}
    assert len(hits) == 3
    found = measured._calibration.bands(None)
    assert "do not read like a person's looks" in measured.search("a dog on a bicycle").warnings[0]
    high, anybody = Level(0.0, 0.9, 0.95), replace(found.words.person, border=-np.inf)
    words = replace(found.words, vague=high, detailed=high, person=anybody)
    measured._calibration._bands = replace(found, words=words)
    nothing = measured.search("a dog on a bicycle")
    assert (list(nothing), nothing.band) == ([], "none")
    assert re.search(r"the best score is -?0\.\d{4}, and matches of such a query begin at 0\.9000", nothing.warnings[0])
    poor = measured.search("a dog on a bicycle", keep_poor=True)
    assert len(poor) == 10
    assert {hit.band for hit in poor} == {"none"}
    assert measured.search(image=next(iter(measured)).path, k=1).band != "none"
    assert measured.search_vector(measured.vectors([next(iter(measured)).id])[0], k=1)[0].band != "none"
    never = Person(1.0, 0.0, np.inf)
    measured._calibration._bands = replace(found, words=replace(found.words, person=never))
    assert "do not read like a person" in measured.search("red blue").warnings[0]
    both = measured.search("red blue", image=next(iter(measured)).path)
    assert not any("read like" in warning for warning in both.warnings), "beside a picture the words need not tell all"


def test_bands_are_kept_and_measured_again_when_the_gallery_has_grown(measured, tmp_path, monkeypatch):
    note = measured.store.read_note("bands")
    assert note["pictures"] == 120
    asked = []
    monkeypatch.setattr(
        calibration,
        "measure_bands",
        lambda ids, *_: asked.append(len(ids)) or bands_from(note | {"pictures": len(ids)}),
    )
    with Gallery.open(tmp_path / "gallery", Plain()) as again:
        again.search("red")
        assert asked == []
        write_people(tmp_path / "more", 30, seed=500)
        again.add(tmp_path / "more")
        assert asked == [150]
    old = {"pictures": 150, "text_weak": 0.6, "text_strong": 0.7, "image_weak": 0.8, "image_strong": 0.9}
    damaged = {"pictures": 150, "image_weak": 0.8, "image_strong": 0.9, "words": note["words"] | {"centre": "AAAA"}}
    for number, values in enumerate(({}, old, damaged), start=2):
        write_list(tmp_path / "gallery" / "bands.json", values)
        with Gallery.open(tmp_path / "gallery", Plain()) as again:
            again.search("red")
            assert asked == [150] * number


def test_a_model_of_pictures_alone_has_bands_for_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(Plain, "reads_sentences", False, raising=False)
    monkeypatch.setattr(Plain, "encode_texts", lambda self, texts: pytest.fail("it reads no sentences"))
    write_people(tmp_path / "people", 120)
    with Gallery.create(tmp_path / "gallery", Plain()) as gallery:
        gallery.add(tmp_path / "people")
        assert gallery.search(image=next(iter(gallery)).path, k=1).band != "none"
        assert bands_from(gallery.store.read_note("bands")).words is None


def test_the_limits_of_pictures_are_the_quantiles_of_what_was_measured():
    ids = [f"{number:032x}" for number in range(200)]
    nearest, random = np.linspace(0.5, 0.9, 64), np.random.default_rng(0)
    best = lambda queries, own: nearest if own[0] is not None else np.linspace(0.1, 0.4, len(queries))  # noqa: E731
    found = measure_bands(ids, lambda chosen: random.normal(size=(len(chosen), 18)), best, Plain())
    assert (found.image_weak, found.image_strong) == pytest.approx(tuple(np.quantile(nearest, [0.05, 0.25])))
    pictures = found.limits(None, 0.0)
    assert [pictures.band(score) for score in (found.image_strong, found.image_weak, 0.0)] == ["strong", "weak", "none"]
    assert pictures.band(found.image_weak - 1e-6) == "none"
    words = unit(random.normal(size=18))
    weak, strong = found.words.limits(words)
    mixed = found.limits(words, 0.25)
    assert mixed.weak == pytest.approx(0.25 * weak + 0.75 * found.image_weak)
    assert mixed.strong == pytest.approx(0.25 * strong + 0.75 * found.image_strong)
    assert not mixed.reason
    assert Limits(0.1, 0.2, "why").band(0.9) == "none"
    assert found.hold_for(240)
    assert not found.hold_for(241)
    assert bands_from({"pictures": 3}) is None
    assert bands_from(None) is None


def test_thumbnails_are_small_jpegs(gallery):
    name = next(iter(gallery)).id
    assert Image.open(io.BytesIO(gallery.thumbnail(name))).format == "JPEG"
    with pytest.raises(GalleryError, match="holds no picture"):
        gallery.thumbnail("0" * 32)
