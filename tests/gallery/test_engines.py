"""One contract for every engine."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colour_encoder import all_bytes
from gallery_places import small_index
from passerby.errors import ConfigError, GalleryError
from passerby.gallery import exact
from passerby.gallery.edge import EdgeEngine
from passerby.gallery.exact import ExactEngine
from passerby.gallery.store import SERVER, Address, parse_address

DIM = 32


def unit(count, seed=0, dim=DIM):
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def names(count, start=0):
    return [f"{index + 1:032x}" for index in range(start, start + count)]  # a digest is never all zeros


def naive(ids, vectors, query, k):
    scores = vectors.astype(np.float16).astype(np.float32) @ query
    return sorted(zip(ids, scores.tolist(), strict=True), key=lambda hit: (-hit[1], hit[0]))[:k]


KINDS = {"edge": EdgeEngine, "exact": ExactEngine}


@pytest.fixture(params=KINDS)
def make(request, tmp_path, monkeypatch):
    """Open (and first create) the engine at one place; its index is made from ten rows on."""
    small_index(monkeypatch)
    opened = []

    def open_one():
        folder = tmp_path / "vectors"
        if not folder.exists():
            ExactEngine.create(folder, DIM)
        opened.append(KINDS[request.param](folder, DIM))
        opened[-1].open_index()
        return opened[-1]

    open_one.folder = tmp_path / "vectors"
    open_one.name = request.param
    yield open_one
    for engine in opened:
        engine.close()


def test_an_empty_engine_finds_nothing(make):
    engine = make()
    assert len(engine) == 0
    assert engine.search(unit(1)[0], 5) == []
    assert list(engine.ids()) == []
    engine.delete(names(2))


@pytest.mark.parametrize("count", [1, 7, 700])
def test_search_agrees_with_a_plain_loop(make, count):
    engine = make()
    ids, vectors = names(count), unit(count)
    engine.upsert(ids, vectors)
    engine.settle()
    for k in (1, 10, count + 5):
        for query in unit(4, seed=1):
            found, expected = engine.search(query, k), naive(ids, vectors, query, k)
            assert len(found) == min(k, count)
            np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=2e-3)
            if k <= 10:
                assert len({name for name, _ in found} & {name for name, _ in expected}) >= len(found) - 1


def test_everything_is_there_after_reopening(make):
    engine = make()
    ids, vectors = names(300), unit(300)
    for start in range(0, 300, 90):
        engine.upsert(ids[start : start + 90], vectors[start : start + 90])
        engine.settle()
    engine.close()
    engine = make()
    assert len(engine) == 300
    assert sorted(engine.ids()) == ids
    assert engine.search(vectors[123], 1)[0][0] == ids[123]


def test_a_known_id_gets_its_new_vector(make):
    engine = make()
    ids, vectors = names(50), unit(50)
    engine.upsert(ids, vectors)
    engine.settle()
    engine.upsert(ids[:3], -vectors[:3])
    for _ in range(2):
        assert len(engine) == 50
        assert engine.search(-vectors[1], 1)[0][0] == ids[1]
        assert ids[1] not in [name for name, _ in engine.search(vectors[1], 49)][:5]
        engine.close()
        engine = make()


def test_deleting_erases_the_bytes(make):
    engine = make()
    ids, vectors = names(60), unit(60)
    engine.upsert(ids, vectors)
    engine.settle()

    def traces(row):
        half, single = vectors[row].astype(np.float16).tobytes(), vectors[row].tobytes()
        return [path for path, raw in all_bytes(make.folder).items() if half in raw or single in raw]

    assert traces(7)
    engine.delete([*ids[7:9], names(1, 999)[0]])
    assert len(engine) == 58
    assert ids[7] not in list(engine.ids())
    assert ids[7] not in [name for name, _ in engine.search(vectors[7], 60)]
    assert not traces(7)
    assert traces(9)
    engine.close()
    engine = make()
    assert len(engine) == 58
    engine.upsert(ids[7:8], vectors[7:8])
    assert engine.search(vectors[7], 1)[0][0] == ids[7]


def test_erased_rows_do_not_push_out_others_when_all_scores_are_negative(make):
    engine = make()
    query = unit(1, seed=5)[0]
    ids, vectors = names(40), unit(40)
    vectors = np.where((vectors @ query)[:, None] > 0, -vectors, vectors)
    engine.upsert(ids, vectors)
    engine.settle()
    engine.delete(ids[:30])
    assert len(engine.search(query, 10)) == 10


def test_equal_scores_are_ordered_by_id(make):
    engine = make()
    same = np.repeat(unit(1), 9, axis=0)
    engine.upsert(names(9)[::-1], same)
    assert [name for name, _ in engine.search(same[0], 9)] == names(9)


def test_positions_restrict_the_answer_exactly(make):
    engine = make()
    ids, vectors = names(300), unit(300)
    engine.upsert(ids, vectors)
    engine.settle()
    for count in (0, 1, 30, 200):
        among = engine.positions(ids[:count])
        for query in unit(3, seed=9):
            found, expected = engine.search(query, 10, among), naive(ids[:count], vectors[:count], query, 10)
            assert [name for name, _ in found] == [name for name, _ in expected]


def test_vectors_come_back_as_they_were_rounded(make):
    engine = make()
    ids, vectors = names(30), unit(30)
    engine.upsert(ids, vectors)
    np.testing.assert_array_equal(engine.vectors(ids[::-3]), vectors[::-3].astype(np.float16).astype(np.float32))
    with pytest.raises(GalleryError, match=f"vector of {'f' * 32} is missing"):
        engine.vectors(["f" * 32])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 19), st.integers(0, 6)), max_size=12))
def test_any_sequence_of_changes_leaves_what_a_dictionary_would_hold(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("any") / "vectors"
    ExactEngine.create(folder, DIM)
    engine, model = ExactEngine(folder, DIM), {}
    for turn, (is_upsert, first, count) in enumerate(steps):
        chosen = names(count, first)
        if is_upsert and chosen:
            vectors = unit(count, seed=turn)
            engine.upsert(chosen, vectors)
            model.update(zip(chosen, vectors, strict=True))
        else:
            engine.delete(chosen)
            model = {name: vector for name, vector in model.items() if name not in chosen}
    for _ in range(2):
        assert sorted(engine.ids()) == sorted(model)
        assert len(engine) == len(model)
        for name, vector in model.items():
            assert engine.search(vector, 1)[0][0] == name
        engine.close()
        engine = ExactEngine(folder, DIM)
    engine.close()


def test_a_shard_that_is_not_what_was_sealed_is_not_opened(make, caplog):
    if make.name == "exact":
        pytest.skip("has no shard")
    caplog.set_level(logging.WARNING, "passerby.gallery.edge")  # the tests of damage lower it for their process
    engine = make()
    ids, vectors = names(60), unit(60)
    engine.upsert(ids, vectors)
    engine.settle()
    assert "4-bit codes over 60 rows" in engine.state
    engine.close()
    for path in sorted((make.folder / "edge").rglob("*.*"))[:3]:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] + b"x" + whole[len(whole) // 2 + 1 :])
        caplog.clear()
        engine = make()
        assert engine._shard is None
        assert "is damaged and is not used" in caplog.text
        assert engine.search(vectors[3], 1)[0][0] == ids[3]
        engine.close()
        path.write_bytes(whole)
    (make.folder / "edge.json").unlink()  # as a kill leaves it while the shard is changed
    engine = make()
    assert engine._shard is None
    engine.optimize(False)
    assert engine._shard is not None
    assert engine.search(vectors[3], 1)[0][0] == ids[3]


def test_a_graph_finds_what_a_scan_finds(make):
    engine = make()
    ids, vectors = names(400), unit(400)
    engine.upsert(ids, vectors)
    engine.optimize(True)
    if make.name == "edge":
        assert "HNSW graph over 400 rows" in engine.state
    for query in unit(5, seed=4):
        found, expected = engine.search(query, 10), naive(ids, vectors, query, 10)
        assert len({name for name, _ in found} & {name for name, _ in expected}) >= 9


def test_exact_blocks_are_filled_and_chained(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "_BLOCK_ROWS", 10)
    exact.ExactEngine.create(tmp_path / "v", DIM)
    engine = exact.ExactEngine(tmp_path / "v", DIM)
    ids, vectors = names(37), unit(37)
    engine.upsert(ids[:13], vectors[:13])
    engine.upsert(ids[13:], vectors[13:])
    engine.delete(ids[9:11])
    engine = exact.ExactEngine(tmp_path / "v", DIM)
    assert len(list((tmp_path / "v").iterdir())) == 4
    assert len(engine) == 35
    assert engine.search(vectors[36], 1)[0][0] == ids[36]
    (tmp_path / "v" / "block-00001.rows").unlink()
    with pytest.raises(GalleryError, match="a block is missing"):
        exact.ExactEngine(tmp_path / "v", DIM)


def test_exact_ignores_a_torn_end_and_writes_over_it(tmp_path):
    exact.ExactEngine.create(tmp_path / "v", DIM)
    engine = exact.ExactEngine(tmp_path / "v", DIM)
    ids, vectors = names(6), unit(6)
    engine.upsert(ids[:4], vectors[:4])
    with (tmp_path / "v" / "block-00000.rows").open("ab") as file:
        file.write(b"half a row")
    engine = exact.ExactEngine(tmp_path / "v", DIM)
    assert len(engine) == 4
    engine.upsert(ids[4:], vectors[4:])
    assert len(exact.ExactEngine(tmp_path / "v", DIM)) == 6


def test_exact_notices_every_flipped_byte(tmp_path):
    exact.ExactEngine.create(tmp_path / "v", DIM)
    engine = exact.ExactEngine(tmp_path / "v", DIM)
    engine.upsert(names(5, start=1), unit(5))
    path = tmp_path / "v" / "block-00000.rows"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with pytest.raises(GalleryError, match=r"row .* does not match its checksum"):
            exact.ExactEngine(tmp_path / "v", DIM)


def test_halves_are_widened_to_the_last_bit():
    bits = np.arange(1 << 16, dtype=np.uint16)
    halves = bits.view(np.float16)
    halves = halves[np.isfinite(halves)]
    np.testing.assert_array_equal(exact.widened(halves).view(np.uint32), halves.astype(np.float32).view(np.uint32))
    table = np.zeros(4, np.dtype([("id", "V3"), ("vector", "<f2", (8,))]))
    table["vector"] = np.arange(32).reshape(4, 8) - 16
    np.testing.assert_array_equal(exact.widened(table["vector"][1:3]), np.arange(8, 24).reshape(2, 8) - 16)


def test_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_address("people") == Address(None, tmp_path / "people")
    assert parse_address("exact:a/b") == Address("exact", tmp_path / "a/b")
    assert parse_address("edge:a/b") == Address("edge", tmp_path / "a/b")
    assert parse_address(tmp_path) == Address(None, tmp_path)
    assert parse_address("c:\\people").engine is None
    assert parse_address(":memory:") == Address(SERVER, url=":memory:", collection="passerby")
    assert parse_address("http://localhost:6333/a-b") == Address(SERVER, None, "http://localhost:6333", "a-b")
    whole = parse_address("https://[::1]/people?shards=6&replicas=2")
    assert whole == Address(SERVER, None, "https://[::1]:6333", "people", 6, 2)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("exakt:people", r"no engine .* Did you mean 'exact'"),
        ("  ", "empty"),
        ("http://", "no server's"),
        ("http://host/people?shards=0", "no server's"),
        ("http://host/people?shard=3", "no server's"),
        ("http://host:99999/people", "no server's"),
        ("http://host/a/b", "no server's"),
        ("http://me:secret@host/people", "put the server's key into QDRANT_API_KEY"),
    ],
)
def test_wrong_addresses(address, words):
    with pytest.raises(ConfigError, match=words):
        parse_address(address)
