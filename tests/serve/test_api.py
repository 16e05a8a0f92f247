"""The routes for programs: what they find, what they refuse, and in which shape."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import pytest
from hostile_words import HOSTILE

from colour_encoder import jpeg, person
from passerby.gallery import Filter
from passerby.gallery.where import parse_where
from passerby.serve.asking import Asking
from passerby.serve.pictures import crop_of, selection_table
from passerby.serve.schema import Answer


def first(client, text="red blue", **more):
    return client.get("/v1/search", params={"text": text, "k": 1, **more}).json()["hits"][0]


def test_a_sentence_finds_the_person(client):
    answer = client.get("/v1/search", params={"text": "red blue", "k": 5})
    assert answer.status_code == 200
    hits = answer.json()["hits"]
    assert len(hits) == 5
    assert hits[0]["path"].endswith("0012_c1s1_000012.jpg"), "red above, blue below"
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


def test_the_answer_is_what_the_command_prints(client, gallery, monkeypatch, capsys):
    from passerby.cli.app import main

    served = client.get("/v1/search", params={"text": "red blue", "k": 3}).json()
    monkeypatch.setattr("passerby.gallery.Gallery.open", lambda address: gallery)
    with pytest.raises(SystemExit):
        main(["search", gallery.address, "red blue", "-k", "3", "--json"])
    printed = Answer.model_validate(json.loads(capsys.readouterr().out)).model_dump()
    assert printed.keys() == served.keys()
    assert printed["query"] == served["query"]
    assert printed["hits"] == served["hits"]


def test_pictures_find_with_words_and_without(client):
    files = {"image": ("a.jpg", jpeg(person("green", "yellow", seed=99)))}
    alone = client.post("/v1/search", files=files, data={"k": 2}).json()
    assert alone["hits"][0]["path"].endswith("0019_c2s1_000019.jpg")
    assert alone["query"]["image"] == ["a.jpg"]
    both = client.post("/v1/search", files=files, data={"text": "red blue", "text_weight": "1", "k": 1}).json()
    assert both["hits"][0]["id"] == first(client)["id"]


def test_filters_reach_the_gallery_and_mistakes_are_shown(client):
    hits = client.get("/v1/search", params={"text": "red", "k": 50, "where": 'camera == "c2"'}).json()["hits"]
    assert {hit["camera"] for hit in hits} == {"c2"}
    wrong = client.get("/v1/search", params={"text": "red", "where": "camera ="})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "bad_request")


def test_similar_item_listing_and_facets(client, gallery):
    name = first(client)["id"]
    similar = client.get(f"/v1/pictures/{name}/similar", params={"k": 3}).json()["hits"]
    assert len(similar) == 3
    assert name not in {hit["id"] for hit in similar}
    assert client.get(f"/v1/pictures/{name}").json()["camera"] == "c1"
    page = client.get("/v1/pictures", params={"most": 20}).json()["pictures"]
    rest = client.get("/v1/pictures", params={"most": 100, "after": page[-1]["id"]}).json()["pictures"]
    assert len(page) + len(rest) == len(gallery) == 37
    facets = client.get("/v1/facets").json()
    assert facets["fields"]["camera"]["c2"] == 12
    assert facets["times"] == [1_700_000_000.0, 1_700_000_000.0]


def test_thumbnails_and_crops_are_jpegs_and_a_changed_file_is_not_shown(client, gallery):
    name = first(client)["id"]
    for route in ("thumbnail", "crop"):
        answer = client.get(f"/v1/pictures/{name}/{route}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.content.startswith(b"\xff\xd8\xff")
    picture = gallery.picture(name)
    picture.path.write_bytes(jpeg(person("white", "white", seed=1, size=(96, 48))))
    assert crop_of(gallery, picture) == gallery.thumbnail(name)


def test_a_selection_leaves_as_table_or_archive_without_formulas(client, gallery):
    ids = [hit["id"] for hit in client.get("/v1/search", params={"text": "red", "k": 3}).json()["hits"]]
    table = client.get("/v1/selection", params={"id": ids})
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["id"] for row in rows] == ids
    archive = zipfile.ZipFile(io.BytesIO(client.get("/v1/selection", params={"id": ids, "form": "zip"}).content))
    assert set(archive.namelist()) == {"pictures.csv", *(f"{name}.jpg" for name in ids)}
    from dataclasses import replace

    odd = replace(gallery.picture(ids[0]), camera="=HYPERLINK(1)")
    assert "'=HYPERLINK" in selection_table([odd]).decode()


def test_adding_keeps_files_under_our_names_and_says_what_was_left_out(client, gallery, tmp_path):
    encoded = jpeg(person("blue", "white", seed=5000))
    files = [("image", ("../../evil.jpg", encoded)), ("image", ("b.jpg", b"text"))]
    report = client.post("/v1/pictures", files=files, data={"camera": "c9"}).json()
    assert (report["added"], len(report["unreadable"])) == (1, 1)
    assert not list(tmp_path.glob("**/evil.jpg"))
    (kept,) = (tmp_path / "uploads").iterdir()
    assert gallery.picture(kept.stem).camera == "c9"
    assert client.get("/v1/facets").json()["fields"]["camera"]["c9"] == 1, "facets are counted anew after writing"


def test_deleting_erases_by_id_or_filter_and_never_everything_by_accident(client, gallery):
    name = first(client)["id"]
    assert client.delete("/v1/pictures", params={"id": name}).json() == {"deleted": 1}
    assert client.get(f"/v1/pictures/{name}").status_code == 404
    assert client.delete("/v1/pictures").status_code == 400
    assert client.delete("/v1/pictures", params={"where": 'camera == "c2"'}).json() == {"deleted": 12}
    assert len(gallery) == 24


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PUT", "/v1/search", 405),
        ("DELETE", "/v1/search", 405),
        ("GET", "/v1/search", 400),
        ("GET", "/v1/search?text=a&k=0", 422),
        ("GET", "/v1/search?text=a&k=1001", 422),
        ("GET", "/v1/search?text=a&min_score=nan", 422),
        ("GET", "/v1/search?text=%00", 200),
        ("GET", "/v1/search?like=..%2F..%2Fetc", 422),
        ("GET", f"/v1/search?like={'0' * 32}", 404),
        ("GET", f"/v1/pictures/{'0' * 32}", 404),
        ("GET", f"/v1/pictures/{'0' * 32}/crop", 404),
        ("GET", "/v1/pictures/..%2f..%2fetc/crop", 404),
        ("GET", "/v1/pictures?where=track+%3D%3D+%22%00%22", 400),
        ("GET", "/v1/selection", 422),
        ("GET", "/picture/none", 404),
    ],
)
def test_what_is_wrong_has_one_shape(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.json()["error"].keys() == {"code", "message"}
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff", b"<svg xmlns='x'/>", b"http://example.org/a.jpg"])
def test_what_is_no_picture_is_refused(client, content):
    answer = client.post("/v1/search", files={"image": ("a.jpg", content)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")


def test_metrics_count_routes_and_tell_nothing_of_queries(client):
    client.get("/v1/search", params={"text": "secretword"})
    client.get("/secretpath")
    text = client.get("/metrics").text
    assert 'passerby_requests_total{method="GET",route="/v1/search",status="200"} 1' in text
    assert "passerby_pictures 37" in text
    assert "secret" not in text


def test_hostile_words_are_data_in_json(client):
    hits = client.get("/v1/search", params={"text": "white black", "k": 2}).json()["hits"]
    assert HOSTILE in {hit["camera"] for hit in hits}


def test_explaining_gives_words_maps_and_a_drawing_with_any_model(client):
    from passerby.serve.explaining import explaining_routes

    assert len(explaining_routes(client.app.state.service).routes) == 2
    hit = first(client)
    told = client.get(f"/v1/pictures/{hit['id']}/explanation", params={"text": "red blue"}).json()
    assert told["how"] == "occlusion"
    assert [each["word"] for each in told["words"]] == ["red", "blue"]
    assert told["score"] == pytest.approx(hit["score"], abs=0.02), "the crop was encoded anew"
    rows, columns = len(told["relevance"]), len(told["relevance"][0])
    for word in told["words"]:
        assert (len(word["relevance"]), len(word["relevance"][0])) == (rows, columns)

    def above(place):
        heat = told["words"][place]["relevance"]
        return sum(map(sum, heat[: rows // 2])) - sum(map(sum, heat[rows // 2 :]))

    assert above(0) > above(1), "red is found above, blue below"
    drawn = client.get(f"/v1/pictures/{hit['id']}/explanation.png", params={"text": "red blue"})
    assert drawn.content.startswith(b"\x89PNG")
    assert client.get(f"/v1/pictures/{'0' * 32}/explanation", params={"text": "red"}).status_code == 404
    assert client.get(f"/v1/pictures/{hit['id']}/explanation", params={"text": " "}).status_code == 400
    page = client.get("/", params={"q": "red blue"}).text
    assert f"/v1/pictures/{hit['id']}/explanation.png?text=red+blue" in page


def test_a_track_is_shown_whole_and_a_stranger_s_too(client, gallery, tmp_path):
    from passerby.data.records import PersonImage
    from passerby.gallery import Sighting

    for number in range(3):
        file = tmp_path / f"{number}.jpg"
        file.write_bytes(jpeg(person("green", "white", seed=900 + number)))
        gallery.add([Sighting(PersonImage(file.name, file, None, "c1", float(number)), "c1/7")])
    name = first(client, "green white", where='track == "c1/7"')["id"]
    track = client.get(f"/v1/pictures/{name}/track").json()["pictures"]
    assert len(track) == 3
    assert {each["track"] for each in track} == {"c1/7"}
    alone = first(client)["id"]
    assert [each["id"] for each in client.get(f"/v1/pictures/{alone}/track").json()["pictures"]] == [alone]
    odd = first(client, "white black", where='source != "nowhere" and not (camera in ["c1", "c2", "c3"])')
    assert odd["track"] == HOSTILE
    assert len(client.get(f"/v1/pictures/{odd['id']}/track").json()["pictures"]) == 1
    assert client.get(f"/v1/pictures/{'0' * 32}/track").status_code == 404
    # The page's own link names the track inside a filter, where quotes mean something.
    link = Asking(q="x").same_passage(odd["id"], odd["track"])
    assert client.get(link).status_code == 200
    assert parse_where(Asking(where='track == "a"').where) == Filter.of(tracks=["a"])


def test_a_second_stage_orders_the_hits_anew_and_says_how_long_it_took(client, gallery):
    plain = client.get("/v1/search", params={"text": "red blue", "k": 10}).json()
    again = client.get("/v1/search", params={"text": "red blue", "k": 10, "rerank": "k-reciprocal"}).json()
    assert "rerank" not in plain["seconds"]
    assert again["seconds"]["rerank"] >= 0
    assert again["query"]["rerank"] == "k-reciprocal"
    expected = gallery.search("red blue", k=10, reranker="k-reciprocal")
    assert [hit["id"] for hit in again["hits"]] == [hit.id for hit in expected]
    files = {"image": ("a.jpg", jpeg(person("green", "yellow", seed=99)))}
    assert "rerank" in client.post("/v1/search", files=files, data={"rerank": "k-reciprocal"}).json()["seconds"]
    page = client.get("/", params={"q": "red blue", "rerank": "k-reciprocal"}).text
    assert "of them to order anew" in page
    assert "ordered by k-reciprocal neighbours <a" in page


def test_examples_go_with_pictures_too(client):
    liked, unliked = first(client)["id"], first(client, "white white")["id"]
    files = {"image": ("a.jpg", jpeg(person("green", "yellow", seed=99)))}
    answer = client.post("/v1/search", files=files, data={"like": liked, "unlike": unliked, "k": 37}).json()
    assert (answer["query"]["like"], answer["query"]["unlike"]) == ([liked], [unliked])
    assert {liked, unliked}.isdisjoint(hit["id"] for hit in answer["hits"])


def test_what_the_page_loads_is_there_and_needs_no_token(client):
    from passerby.serve.guard import OPEN
    from passerby.serve.looking import picture_routes, selection_routes
    from passerby.serve.parameters import FAULTS, MAX_K
    from passerby.serve.static_files import STATIC, static_routes

    page = client.get("/").text
    for path in sorted(STATIC):
        assert client.get(path).status_code == 200
        assert f'"{path}"' in page
        assert path in OPEN
    assert {route.path for route in static_routes().routes} == STATIC
    service = client.app.state.service
    assert len(picture_routes(service).routes) + len(selection_routes(service).routes) == 7
    assert 500 not in FAULTS
    assert client.get("/v1/pictures", params={"most": MAX_K}).status_code == 200


@pytest.mark.parametrize("wrong", [{"since": "yesterday"}, {"until": "2026-13-01"}, {"where": "camera ="}])
def test_what_cannot_be_read_is_said_on_the_page(client, wrong):
    page = client.get("/", params={"q": "red", **wrong})
    assert page.status_code == 400
    assert 'class="problem"' in page.text


def test_the_page_groups_and_says_what_narrows_it(client):
    page = client.get(
        "/", params={"q": "red", "group": "track", "camera": "c2", "since": "2020-01-01T00:00", "poor": 1}
    )
    assert page.status_code == 200
    for words in ("camera c2", "from 2020-01-01 00:00", "one of each track", "poor matches too"):
        assert f">{words} <a" in page.text
    assert client.get("/", params={"q": "red", "group": "secret"}).status_code == 422
    several = Asking(q="a", like=tuple(f"{number:032x}" for number in range(16)))
    assert f"{16:032x}" in several.more_like(f"{16:032x}")
    assert f"like={0:032x}" not in several.more_like(f"{16:032x}"), "the oldest example makes room"
    assert client.get(several.more_like(f"{16:032x}")).status_code != 422
