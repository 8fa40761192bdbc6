"""The headline of the page on all systems: what was seen and unseen, beside the peer."""

import pytest

from crywatch.core.atomic import write_json
from crywatch.report.systems import SystemResults, headline_table

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
        ("unseen kinds", "robust/robust_no_kinds", "n/a"),  # the peer was not measured there
        ("unseen: esc50, left out", "robust/robust_no_esc50", "0.900"),
        ("telephone", "robust/robust", "0.900"),
    ]
    found = [(cells[0], cells[1], cells[6]) for cells in lines]
    assert found == expected[: 2 + len(channels)]
    assert lines[0][5] == "0.900 (0.800 to 1.000)" and lines[0][7] == "-0.100 (-0.200 to 0.100)"
