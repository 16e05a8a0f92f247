"""What a filter means, and that SQL and a server's language mean the same."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gallery_places import a_server
from passerby.errors import ConfigError
from passerby.gallery.filter_sql import sql_condition
from passerby.gallery.filters import Between, Every, Filter, Not, OneOf, Some, metadata_of
from passerby.gallery.local import LocalStore
from passerby.gallery.manifest import Manifest
from passerby.gallery.records import Picture, Row
from passerby.gallery.store import Address, parse_address
from passerby.gallery.where import parse_where

TEXTS = ["c1", "c2", "", "Ä", "true", "3"]
NUMBERS = [-1, 0, 3, 2.5, 1e6]


def pictures():
    random = np.random.default_rng(0)

    def pick(values):
        return values[int(random.integers(len(values)))]

    for number in range(60):
        extra = {name: pick([*TEXTS, *NUMBERS]) for name in ("colour", "height") if random.random() < 0.7}
        yield Picture(
            f"{number + 1:032x}",
            Path(f"{number}.jpg"),
            camera=pick([None, *TEXTS]),
            time=pick([None, *map(float, NUMBERS)]),
            person=pick([None, -1, 0, 3]),
            track=pick([None, "t1"]),
            source=pick([None, "a", "b"]),
            metadata=metadata_of(extra),
        )


PICTURES = list(pictures())


def filled(store):
    vector = np.ones(4, np.float32) / 2
    with store.writing():
        store.put([Row(picture, vector, b"thumbnail") for picture in PICTURES])
    return store


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filters")
    manifest = Manifest("exact", 4, "none", "00" * 32, "2026")
    local = filled(LocalStore.create(Address("exact", folder / "gallery"), manifest))
    found = [local]
    places = a_server(folder)
    if address := next(places, None):
        from passerby.gallery.remote import RemoteStore

        found.append(filled(RemoteStore.create(parse_address(address), manifest)))
    yield found
    local.close()
    next(places, None)


texts, numbers = st.sampled_from(["camera", "track", "source"]), st.sampled_from(["time", "person"])
free = st.sampled_from(["colour", "height", "absent"])
leaves = st.one_of(
    st.builds(OneOf, texts, st.lists(st.sampled_from(TEXTS), max_size=3).map(tuple)),
    st.builds(OneOf, numbers, st.lists(st.sampled_from(NUMBERS), max_size=3).map(tuple)),
    st.builds(OneOf, free, st.lists(st.sampled_from([*TEXTS, *NUMBERS]), max_size=3).map(tuple)),
    st.builds(
        Between, st.one_of(numbers, free), st.sampled_from(NUMBERS), st.sampled_from([None, *NUMBERS]),
        st.booleans(), st.booleans(),
    ),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Every, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Some, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees)
def test_every_engine_means_what_matches_means(stores, where):
    expected = {picture.id for picture in PICTURES if where.matches(picture)}
    query = np.ones(4, np.float32) / 2
    for store in stores:
        assert set(store.ids(where)) == expected, type(store).__name__
        assert store.count(where) == len(expected)
        assert {name for name, _ in store.search(query, 100, where)} == expected
        assert {picture.id for picture in store.pictures(where)} == expected


def test_nothing_of_the_users_gets_into_a_query():
    where = parse_where('a == "x\'; DROP TABLE pictures" and time > 3 and not (person in [1] or b < 2)')
    condition, values = sql_condition(where)
    assert "DROP" not in condition
    assert condition.count("?") == len(values)
    with pytest.raises(TypeError, match="no SQL for object"):
        sql_condition(object())


def test_no_filter_is_none_for_a_server_too():
    from passerby.gallery.remote_filter import qdrant_filter

    assert qdrant_filter(None) is None
    assert qdrant_filter(Filter.of(cameras=["c1"])).should[0].key == "camera"
    assert qdrant_filter(Filter.of(coat="red")).should[0].key == "metadata.coat"
    with pytest.raises(TypeError, match="no server filter for object"):
        qdrant_filter(object())


def test_the_named_conditions():
    one = PICTURES[0]
    for picture in PICTURES:
        wanted = Filter.of(
            cameras=["c1", "c2"], since=0, until=3, identities=[0, 3], tracks="t1", sources=["a"], colour="c1"
        )
        assert wanted.matches(picture) == (
            picture.camera in ("c1", "c2")
            and picture.time is not None
            and 0 <= picture.time < 3
            and picture.person in (0, 3)
            and (picture.track, picture.source, picture.metadata.get("colour")) == ("t1", "a", "c1")
        )
        assert Filter.of().matches(picture)
        assert not Filter.of(cameras=[]).matches(picture)
    assert (~Filter.of(absent=1)).matches(one)
    assert (Filter.of(absent=1) | Filter.of()).matches(one)
    assert not (Filter.of(absent=1) & Filter.of()).matches(one)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('camera == "c2"', OneOf("camera", ("c2",))),
        ("camera != 'c2'", Not(OneOf("camera", ("c2",)))),
        ("identity in [3, 4]", OneOf("person", (3, 4))),
        ("person not in []", Not(OneOf("person", ()))),
        ("time >= 10 and time < 20", Every((Between("time", 10), Between("time", high=20, high_open=True)))),
        ('time > "1970-01-01 00:01"', Between("time", 60, low_open=True)),
        ('time <= "1970-01-01T01:00+01:00"', Between("time", high=0)),
        ("height == 1.75 or old == true", Some((OneOf("height", (1.75,)), OneOf("old", ("true",))))),
        ('not (a == "1" or b == -2) and c == "\\""',
         Every((Not(Some((OneOf("a", ("1",)), OneOf("b", (-2,))))), OneOf("c", ('"',))))),
    ],
)  # fmt: skip
def test_sentences(text, same):
    assert parse_where(text) == same


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("", 1, "expected a field"),
        ("camera", 7, "expected a comparison"),
        ('camera = "c2"', 8, "'=' means nothing here; write == to compare"),
        ("camera == c2", 11, 'text stands in quotes: "c2"'),
        ("camera == 2", 11, 'camera is text; write it in quotes: "2"'),
        ('camera < "c2"', 8, "neither larger nor smaller"),
        ("person == 'x'", 11, "person is a number"),
        ("person in 3", 11, r"expected a list"),
        ("person in [3 4]", 14, "expected ',' or ']'"),
        ("(person == 3", 13, "closing parenthesis"),
        ("person == 3)", 12, "expected 'and', 'or' or the end"),
        ("person == 3 and", 16, "expected a field"),
        ("person not 3", 12, "expected 'in' after 'not'"),
        ('x == "open', 6, "this quote is never closed"),
        ('time >= "yesterday"', 9, "expected a time such as"),
        ('height > "tall"', 10, "expected a number"),
        ("x == 1e999", 6, "finite number"),
        ("x == 1.2.3", 6, "'1' means nothing here"),
        ("(" * 60 + "x == 1" + ")" * 60, 52, "inside each other"),
        ("ß == 1", 1, "'ß' means nothing here"),
    ],
)
def test_the_caret_stands_under_the_wrong_character(text, at, words):
    with pytest.raises(ConfigError) as error:
        parse_where(text)
    head, shown, caret = str(error.value).split("\n")
    assert f"wrong at character {at}: " in head
    assert words in head
    assert shown == f"  {text}"
    assert caret.index("^") == at + 1


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="camera time\"'[]()<>=!,.0123456789andornot\\ \t\n", max_size=60))
def test_any_text_is_a_filter_or_a_sentence_about_it(text):
    said = "wrong at character"
    try:
        parse_where(text).matches(PICTURES[0])
    except ConfigError as error:
        said = str(error)
    assert "wrong at character" in said


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OneOf("", ("a",)), "is no field"),
        (lambda: OneOf("a.b", ("a",)), "is no field"),
        (lambda: OneOf("camera", (3,)), "camera is text"),
        (lambda: OneOf("time", ("3",)), "time is a number"),
        (lambda: OneOf("x", ("a\0b",)), "cannot be stored"),
        (lambda: OneOf("x", ("\ud800",)), "cannot be stored"),
        (lambda: OneOf("x", (math.nan,)), "finite number"),
        (lambda: OneOf("x", (2**60,)), "finite number"),
        (lambda: OneOf("x", (None,)), "neither text nor"),
        (lambda: Between("camera", 1), "has no range"),
        (lambda: Between("x"), "has no bound"),
        (lambda: Between("x", "1"), "expected a number"),
        (lambda: metadata_of({"camera": "c1"}), "is a field of every picture"),
        (lambda: parse_where("a == 1 or " * 2000), "at most 10,000 are read"),
    ],
)
def test_wrong_filters(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
