"""Equal files are found as comparing every pair of them finds them, whatever their sizes."""

from __future__ import annotations

from itertools import combinations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passerby.data.findings import finding
from passerby.data.picture_checks import picture_findings
from passerby.data.readers.source import Source, SourceRow

FILES = st.lists(
    st.tuples(st.sampled_from([b"one", b"two", b"three"]), st.sampled_from(["train", "test"]), st.integers(0, 2)),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES)
def test_equal_files_against_all_pairs(tmp_path, files):
    rows = []
    for number, (content, split, person) in enumerate(files):
        (tmp_path / f"{number}.jpg").write_bytes(content)
        rows.append(SourceRow(f"{number}.jpg", split, person))
    source = Source("made", "made", tmp_path, tmp_path, tmp_path, tuple(rows))
    found = {one.check: one.count for one in picture_findings(source, None, 0, None)}
    copies = {b for a, b in combinations(range(len(files)), 2) if files[a][0] == files[b][0]}
    assert sum(found[f"equal files {kind}"] for kind in ("in two splits", "of two people", "of one person")) == len(
        copies
    )
    firsts = {b: next(a for a in range(b) if files[a][0] == files[b][0]) for b in copies}
    assert found["equal files in two splits"] == sum(files[a][1] != files[b][1] for b, a in firsts.items())
    assert found["unreadable pictures"] == len(files)
    assert found["missing pictures"] == 0


def test_a_finding_shows_a_few_and_counts_all():
    many = finding("things", "warning", [str(number) for number in range(50)], 100, "do something")
    assert (many.count, many.of, many.level, many.examples) == (50, 100, "warning", ("0", "1", "2"))
    none = finding("things", "fatal", [], 100, "do something")
    assert (none.count, none.level, none.advice) == (0, "ok", "")
