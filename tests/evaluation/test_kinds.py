"""False alarms by kind of sound: thresholds, runs, bounds, and the rate of a day."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from crywatch.core import params, paths
from crywatch.core.errors import ConfigError
from crywatch.evaluation.evaluate.systems import SystemsConfig
from crywatch.evaluation.evaluate.systems.kinds import (
    TEST,
    UNSEEN,
    alarms,
    kind_rows,
    mix_rows,
    recall_threshold,
)
from crywatch.metrics.intervals import poisson_upper
from tests.helpers.score_cases import scored_system

ROOT = Path(__file__).parents[2]


def clip(clip_id: str, scores: list[float], kind: str = "cry", split: str = "test", **columns):
    return pd.DataFrame(
        {
            "clip_id": clip_id,
            "start_s": [float(second) for second in range(len(scores))],
            "score": scores,
            "kind": kind,
            "split": split,
            "is_cry": kind == "cry",
            "unknown": False,
            "label": "cry" if kind == "cry" else "other",
            "corpus": "a",
            "group_id": clip_id,
            "canonical": True,
            "duration_s": float(len(scores)),
        }
        | columns
    )


VAL = clip("val_cry", [0.9, 0.8, 0.7, 0.6, 0.1], split="val")
CRIES = clip("cry", [0.9, 0.1])
DOGS = [clip("dog1", [0.7, 0.8, 0.1, 0.6], "dog"), clip("dog2", [0.2, 0.2], "dog")]
BIRD = clip("bird", [0.9] * 6, "bird", "train")


def test_the_threshold_is_what_a_share_of_crying_seconds_reach_whatever_else_there_is():
    loud = clip("val_dog", [1.0] * 50, "dog", "val")
    copy = clip("val_copy", [0.0] * 9, split="val", canonical=False)
    for recall, expected in ((0.8, 0.6), (0.81, 0.1), (1.0, 0.1), (0.2, 0.9)):
        assert recall_threshold(pd.concat([VAL, loud, copy, CRIES]), recall) == expected
    assert recall_threshold(pd.concat([loud, CRIES]), 0.8) is None
    assert recall_threshold(CRIES, 0.8) is None


def test_a_run_of_seconds_is_one_alarm_and_ends_with_its_clip():
    frame = pd.concat([clip("a", [0.9, 0.9, 0.1, 0.9]), clip("b", [0.9, 0.1])])
    assert alarms(frame, 0.5) == 3
    assert alarms(frame.sample(frac=1, random_state=1), 0.5) == 3
    assert alarms(frame, 0.95) == 0


def test_rates_are_by_kind_of_canonical_clips_of_the_test_part():
    copy = clip("dog_copy", [0.9], "dog", canonical=False)
    made = clip("mixed", [0.9], "dog", corpus="soundscapes")
    seconds = pd.concat([VAL, CRIES, *DOGS, copy, made, BIRD])
    (row,) = kind_rows(scored_system("robust/r"), seconds, [], 0.8)
    assert (row.part, row.kind, row.alarms, row.sources) == (TEST, "dog", 2, 2)
    assert row.hours == pytest.approx(6 / 3600)
    assert row.per_hour == pytest.approx(1200)
    assert row.low < row.per_hour < row.high
    assert (row.recall_second, row.recall_clip) == (0.5, 1.0)


def test_kinds_that_were_left_out_are_counted_in_all_parts_and_alone():
    seconds = pd.concat([VAL, CRIES, *DOGS, BIRD])
    system = scored_system("robust/r", "kind:bird")
    (row,) = kind_rows(system, seconds, ["kind:bird"], 0.8)
    assert (row.part, row.kind, row.alarms, row.hours) == (UNSEEN, "bird", 1, 6 / 3600)
    # The untrained are counted on both, and a corpus left out adds none.
    untrained = list(kind_rows(scored_system("yamnet/z"), seconds, ["a", "kind:bird"], 0.8))
    assert [(row.part, row.kind) for row in untrained] == [(TEST, "dog"), (UNSEEN, "bird")]


def rows():
    return list(kind_rows(scored_system("robust/r"), pd.concat([VAL, CRIES, *DOGS]), [], 0.8))


def test_a_day_has_a_rate_where_all_its_kinds_were_measured():
    (both,) = mix_rows(rows(), {"dog": 1.0, "cat": 2.0})
    assert (both.per_hour, both.upper_per_hour, both.missing) == (None, None, ("cat",))
    (dogs,) = mix_rows(rows(), {"dog": 2.0})
    assert dogs.per_hour == pytest.approx(1200)
    assert dogs.upper_per_hour == pytest.approx(poisson_upper(2) * 600)


def test_the_bound_of_a_day_holds_as_often_as_it_says():
    """Against counts drawn at known rates: of all draws 95 % or more lie below their bound."""
    import numpy as np

    from crywatch.evaluation.evaluate.systems.kinds import KindRow

    rng = np.random.default_rng(1)
    mix, hours = {"a": 1.0, "b": 3.0, "c": 20.0}, {"a": 0.2, "b": 1.0, "c": 0.5}
    rates = {"a": 100.0, "b": 5.0, "c": 1.0}
    true = sum(mix[k] * rates[k] for k in mix) / sum(mix.values())
    held = []
    for _ in range(300):
        counts = {kind: int(rng.poisson(rates[kind] * hours[kind])) for kind in mix}
        drawn = [
            KindRow("r", "r", TEST, k, hours[k], 1, n, n / hours[k], 0, 0, None, None)
            for k, n in counts.items()
        ]
        (day,) = mix_rows(drawn, mix)
        held.append(day.upper_per_hour >= true)
    assert np.mean(held) >= 0.95


def test_settings_are_checked_and_the_day_has_kinds_of_24_hours():
    with pytest.raises(ConfigError, match=r"systems\.recall: 0 is not"):
        SystemsConfig("p", [], recall=0).check()
    with pytest.raises(ConfigError, match=r"systems\.mix\.dog: -1 hours"):
        SystemsConfig("p", [], mix={"dog": -1.0}).check()
    mix = params.compose([], ROOT / "conf").evaluate.systems.mix
    assert set(mix) <= set(yaml.safe_load((ROOT / paths.KINDS).read_text(encoding="utf-8")))
    assert sum(mix.values()) == pytest.approx(24)
