"""The page on all systems: what was seen and unseen beside the peer, and kinds of sound."""

import pytest

from crywatch.core.atomic import write_json
from crywatch.report.systems import SystemResults, headline_table, kind_tables, main_table

PEER = "yamnet/zero_shot"
FOLD = "a+b, left out, against test cries"  # one fold of the kinds: only all together are a line
PLACES = {
    PEER: [("as recorded", "pooled"), ("telephone", "pooled"), ("as recorded", "esc50, left out")],
    "robust/robust": [("as recorded", "pooled"), ("telephone", "pooled"), ("telephone", "esc50")],
    "robust/robust_no_esc50": [("as recorded", "esc50, left out")],
    "robust/robust_no_kinds": [
        ("as recorded", FOLD),
        ("as recorded", "kinds of sound, left out"),
    ],
    "fused/robust": [("as recorded", "pooled"), ("telephone", "pooled")],
    "fused/robust_no_kinds": [("as recorded", FOLD), ("as recorded", "kinds of sound, left out")],
}


def row(name, channel, scope):
    value = {"mean": 0.9, "sd": None, "low": 0.8, "high": 1.0}
    value |= {"difference": -0.1, "difference_low": -0.2, "difference_high": 0.1}
    counts = {"n": 9, "n_cry": 4, "cry_groups": 3, "other_groups": 2, "systems": 1}
    place = {"row": name, "channel": channel, "scope": scope, "unit": "clip"}
    return place | counts | {"metrics": {"average_precision": value, "recall_at_1pct": value}}


@pytest.mark.parametrize("channels", [{"as recorded", "telephone"}, {"as recorded"}])
def test_the_headline_has_seen_kinds_unseen_kinds_unseen_corpora_and_channels(tmp_path, channels):
    rows = [
        row(name, *place)
        for name, places in PLACES.items()
        for place in places
        if place[0] in channels
    ]
    tables = {"rows": rows, "peer": PEER, "shifts": [], "kinds": [], "mixes": [], "main": []}
    tables["parameters"] = [{"row": name, "parameters": 1} for name in PLACES]
    write_json(tmp_path / "tables.json", tables | {"recall": 0.8, "mix": {}})
    lines = headline_table(SystemResults(tmp_path)).rows
    expected = [
        ("seen kinds", "robust/robust", "0.900"),
        ("seen kinds", "fused/robust", "0.900"),
        ("unseen kinds", "robust/robust_no_kinds", "n/a"),  # the peer was not measured there
        ("unseen kinds", "fused/robust_no_kinds", "n/a"),
        ("unseen: esc50, left out", "robust/robust_no_esc50", "0.900"),
        ("telephone", "robust/robust", "0.900"),
        ("telephone", "fused/robust", "0.900"),
    ]
    found = [(cells[0], cells[1], cells[6]) for cells in lines]
    assert found == (expected if "telephone" in channels else expected[:5])
    assert lines[0][5] == "0.900 (0.800 to 1.000)" and lines[0][7] == "-0.100 (-0.200 to 0.100)"


def of_kind(name, kind, per_hour, part="test"):
    place = {"row": name, "kind": kind, "part": part, "hours": 0.5, "sources": 3}
    rates = {"per_hour": per_hour, "low": per_hour / 2, "high": 2 * per_hour}
    return place | rates | {"recall_second": 0.8, "recall_clip": None}


def test_kinds_have_a_column_a_row_by_its_first_seed(tmp_path):
    kinds = [
        *(of_kind(name, "dog", rate) for name, rate in (("a/main", 4.0), ("a/main", 8.0))),
        *(of_kind(name, "cat", 6.0) for name in (PEER, "b/aside")),
        of_kind("b/aside", "horn", 2.0, "unseen"),
    ]
    day = {"row": "a/main", "part": "test", "per_hour": None, "upper_per_hour": None}
    tables = {"rows": [], "peer": PEER, "shifts": [], "kinds": kinds, "main": ["a/main"]}
    tables |= {"mixes": [day | {"missing": ["cat"]}], "recall": 0.8, "mix": {"cat": 24.0}}
    write_json(tmp_path / "tables.json", tables | {"parameters": []})
    test, unseen, nursery = kind_tables(SystemResults(tmp_path))
    assert test.columns == ["kind", "seconds", "sources", "a/main", PEER]
    assert test.rows == [
        ["cat", "1800", "3", "n/a", "6 (3 to 12)"],
        ["dog", "1800", "3", "4 (2 to 8)", "n/a"],
    ]
    assert unseen.columns[3:] == ["b/aside"]
    assert unseen.rows == [["horn", "1800", "3", "2 (1 to 4)"]]
    assert "a/main 0.80 of seconds, n/a of clips" in test.note
    assert nursery.rows == [["a/main", "test", "n/a", "n/a", "no", "cat"]]
    assert nursery.note == "Hours: cat 24."


def test_the_table_of_systems_has_the_chosen_rows_in_their_order_where_they_were_measured(tmp_path):
    names = ("a/one", "b/two", "c/three")
    rows = [row(name, "as recorded", "pooled") | {"unit": "second"} for name in names]
    for each in rows:
        each["metrics"]["auc"] = each["metrics"]["average_precision"]
    tables = {"rows": rows, "peer": PEER, "shifts": [], "kinds": [], "mixes": [], "main": []}
    tables["parameters"] = [{"row": name, "parameters": 1} for name in names]
    write_json(tmp_path / "tables.json", tables | {"recall": 0.8, "mix": {}})
    results = SystemResults(tmp_path)
    assert main_table(results).columns == ["measure", *names]
    assert main_table(results, ["c/three", PEER, "a/one"]).columns == [
        "measure",
        "c/three",
        "a/one",
    ]
