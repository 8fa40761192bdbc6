"""Systems compared: the same seconds for all, seeds as one row, pairs with the peer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.segments import cut
from crywatch.core.atomic import read_json, write_json
from crywatch.data.selection import is_left_out
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.data.truth import silent_seconds
from crywatch.detection.detectors import Detector
from crywatch.detection.systems import System
from crywatch.evaluation.evaluate.systems import SystemsConfig, headlines, run
from crywatch.evaluation.evaluate.systems.measures import UNSEEN_KINDS
from crywatch.evaluation.scored import AS_RECORDED
from crywatch.evaluation.scored import SYSTEMS as COMPARED
from crywatch.metrics.curves import binary_metrics, max_f1
from crywatch.report.pages import ReportOrigin, render
from crywatch.report.systems import SystemResults, case_study_table, systems_page
from tests.helpers import score_cases
from tests.helpers.baseline_cases import made, world
from tests.helpers.score_cases import score, scored, with_models

MIX = {"rain": 3.0, "silence": 1.0}
CONFIG = SystemsConfig(peer="yamnet/zero_shot", main=["robust/r"], mix=MIX)
TWO_PHONES = replace(
    score_cases.CONFIG,
    compared=replace(score_cases.CONFIG.compared, shifts=["phone", "phone_pcm"]),
)


class Loud(Detector):
    """The level of a second, and a little noise by seed: what knows corpora, not crying."""

    def __init__(self, name: str, seed: int):
        super().__init__(name, 10 + seed)
        self.seed = seed

    def score_stream(self, chunks):
        seconds = cut(np.concatenate(list(chunks)))
        level = np.sqrt(np.mean(seconds**2, axis=1))
        noise = np.random.default_rng(self.seed).random(len(level))
        return np.clip(level + 0.02 * noise, 0, 1)


class Tonal(Loud):
    """Share of the power around a cry's pitch, whatever the level: what knows crying."""

    def score_stream(self, chunks):
        seconds = cut(np.concatenate(list(chunks)))
        spectrum = np.abs(np.fft.rfft(seconds, axis=1)) ** 2
        noise = 0.05 * np.random.default_rng(self.seed).random(len(seconds))
        return 0.9 * spectrum[:, 250:650].sum(axis=1) / (spectrum.sum(axis=1) + 1e-9) + noise


SYSTEMS = [
    System("yamnet/zero_shot", "file", "", "yamnet/zero_shot"),
    System("robust/r", "a", "", "robust/r"),
    System("robust/r_s2", "b", "", "robust/r"),
    System("blazenet/x", "c", "", "blazenet/x"),
    System("blazenet/x_phone", "c", "", "blazenet/x_phone"),
    System("blazenet/x_no_mixed", "d", "mixed", "blazenet/x_no_mixed"),
    System("blazenet/x_no_cries", "d", "cries", "blazenet/x_no_cries"),
    System("blazenet/x_no_rain", "e", "kind:rain", "blazenet/x_no_kinds"),
    System("blazenet/x_no_quiet", "f", "kind:silence+kind:baby_laugh", "blazenet/x_no_kinds"),
]


def detector(system: System) -> Detector:
    kind = Loud if system.family == "blazenet" else Tonal
    return kind(system.name, len(system.name))


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Of the bootstrap."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crywatch.metrics.intervals.RESAMPLES", 60)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"))


def compare(source, folder, systems=SYSTEMS):
    """Score into ``folder``/score, compare into ``folder``/out."""
    models = {COMPARED: with_models(folder / "models", systems)}
    score(folder / "score", [source], models, detector, TWO_PHONES)
    return run(scored(folder / "score", [source]), CONFIG, folder / "out")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("compared") / "out"


@pytest.fixture(scope="module")
def summary(source, out):
    return compare(source, out.parent)


def row(summary, name, scope="pooled", channel=AS_RECORDED, unit="second"):
    key = (name, scope, channel, unit)
    (found,) = (r for r in summary.rows if (r.row, r.scope, r.channel, r.unit) == key)
    return found


def scores_of(out, source, system, channel=AS_RECORDED):
    """Seconds with what is known of their clips."""
    return scored(out.parent / "score", [source]).seconds(system, channel)


def test_every_system_is_measured_on_the_same_seconds(summary):
    for channel in (AS_RECORDED, "dull", "phone"):
        places = {
            name: {
                (r.scope, r.unit, r.n, r.n_cry)
                for r in summary.rows
                if r.row == name and r.channel == channel and "left out" not in r.scope
            }
            for name in ("yamnet/zero_shot", "robust/r", "blazenet/x")
        }
        assert len(set(map(frozenset, places.values()))) == 1
        scopes = {scope for scope, *_ in places["robust/r"]}
        expected = {"pooled", "mixed", "sounds", "cries cries, mixed others"}
        assert scopes == expected | {"cries cries, sounds others"}


def test_numbers_are_those_of_the_stored_scores(summary, out, source):
    seconds = scores_of(out, source, "blazenet/x")
    test = seconds[(seconds["split"] == "test") & ~seconds["silent"]]
    val = seconds[(seconds["split"] == "val") & ~seconds["silent"]]
    chosen = max_f1(val["is_cry"].to_numpy(), val["score"].to_numpy()).threshold
    expected = binary_metrics(test["is_cry"], test["score"], chosen)
    found = row(summary, "blazenet/x").metrics
    assert found["auc"].mean == pytest.approx(expected.auc)
    assert found["average_precision"].mean == pytest.approx(expected.average_precision)
    assert found["accuracy"].mean == pytest.approx(expected.accuracy)
    f1 = 2 * expected.precision * expected.recall / (expected.precision + expected.recall)
    assert found["f1"].mean == pytest.approx(f1)
    by_clip = test.groupby("clip_id").agg(s=("score", "max"), label=("label", "first"))
    expected = binary_metrics(by_clip["label"] == "cry", by_clip["s"], 0.5)
    assert row(summary, "blazenet/x", unit="clip").metrics["auc"].mean == expected.auc


def test_the_threshold_of_the_recorded_sound_is_kept_on_the_phone(summary, out, source):
    """20 dB down, what goes by level calls nothing any more; its order is as it was."""
    before, after = (row(summary, "blazenet/x", channel=c) for c in (AS_RECORDED, "phone"))
    assert after.metrics["f1"].mean < 0.2 < before.metrics["f1"].mean
    assert after.metrics["auc"].mean > 0.5 * before.metrics["auc"].mean


def test_seeds_are_one_row_with_mean_and_deviation(summary, out, source):
    found = row(summary, "robust/r", "mixed")
    assert found.systems == 2
    values = []
    for system in ("robust/r", "robust/r_s2"):
        seconds = scores_of(out, source, system)
        mine = seconds[(seconds["split"] == "test") & (seconds["corpus"] == "mixed")]
        mine = mine[~mine["silent"]]
        values.append(binary_metrics(mine["is_cry"], mine["score"], 0.5).auc)
    estimate = found.metrics["auc"]
    assert estimate.mean == pytest.approx(np.mean(values))
    assert estimate.sd == pytest.approx(np.std(values, ddof=1))
    assert estimate.low <= estimate.mean <= estimate.high
    assert row(summary, "blazenet/x").metrics["auc"].sd is None


def test_differences_are_to_the_peer_on_the_same_seconds(summary):
    peer, other = (row(summary, n) for n in ("yamnet/zero_shot", "blazenet/x"))
    found = other.metrics["average_precision"]
    expected = found.mean - peer.metrics["average_precision"].mean
    assert found.difference == pytest.approx(expected)
    assert found.difference_low <= found.difference <= found.difference_high < 0
    assert peer.metrics["average_precision"].difference is None
    alike = row(summary, "robust/r").metrics["average_precision"]
    assert abs(alike.difference) < 0.1 < abs(found.difference)


def test_a_corpus_left_out_is_measured_whole_and_beside_the_peer(summary, source):
    clips = read_table(source.clips, SPLIT_CLIPS)
    found = row(summary, "blazenet/x_no_mixed", "mixed, left out", unit="clip")
    peer = row(summary, "yamnet/zero_shot", "mixed, left out", unit="clip")
    assert found.n == peer.n == (clips["corpus"] == "mixed").sum()
    assert found.metrics["average_precision"].difference is not None
    # What never heard one corpus is in no table of the test part of all.
    assert {r.scope for r in summary.rows if r.row == "blazenet/x_no_mixed"} == {"mixed, left out"}
    # Cries alone: against the other sounds of the test part.
    scope = "cries, left out, against test others"
    found = row(summary, "blazenet/x_no_cries", scope, unit="clip")
    others = clips[(clips["label"] == "other") & (clips["split"] == "test")]
    assert (found.n_cry, found.n) == (9, 9 + len(others))
    assert row(summary, "yamnet/zero_shot", scope, unit="clip").n == found.n


def test_folds_that_leave_kinds_out_are_measured_together_on_every_kind(summary, source, out):
    clips = read_table(source.clips, SPLIT_CLIPS)
    test_cries = (clips["label"] == "cry") & (clips["split"] == "test")
    others = clips[clips["label"] == "other"]
    found = row(summary, "blazenet/x_no_kinds", UNSEEN_KINDS, unit="clip")
    assert (found.n_cry, found.n) == (test_cries.sum(), test_cries.sum() + len(others))
    fold = row(summary, "blazenet/x_no_kinds", "rain, left out, against test cries", unit="clip")
    assert fold.n - fold.n_cry == (clips["kind"] == "rain").sum()
    # Each kind by the fold that never heard it, and cries by the mean of both.
    frames = {}
    for name, leave_out in (("rain", "kind:rain"), ("quiet", "kind:silence+kind:baby_laugh")):
        frame = scores_of(out, source, f"blazenet/x_no_{name}")
        heard = is_left_out(frame, leave_out) | (frame["label"] == "cry") & (
            frame["split"] == "test"
        )
        frames[name] = frame[heard & ~frame["silent"]]
    both = pd.concat(frames.values()).groupby(["clip_id", "start_s"])
    frame = both.agg(score=("score", "mean"), is_cry=("is_cry", "first"))
    second = row(summary, "blazenet/x_no_kinds", UNSEEN_KINDS)
    expected = binary_metrics(frame["is_cry"].to_numpy(), frame["score"].to_numpy(), 0.5)
    assert second.metrics["auc"].mean == pytest.approx(expected.auc)
    peer = row(summary, "yamnet/zero_shot", UNSEEN_KINDS)
    difference = second.metrics["average_precision"].difference
    assert difference == pytest.approx(
        second.metrics["average_precision"].mean - peer.metrics["average_precision"].mean
    )


def test_false_alarms_are_counted_by_kind_of_all_systems(summary):
    test = {
        row.kind: row for row in summary.kinds if row.row == "blazenet/x" and row.part == "test"
    }
    assert set(test) == {"silence", "baby_laugh", "rain"}
    assert (test["rain"].sources, test["rain"].hours) == (6, pytest.approx(6 * 6 / 3600))
    # What never heard kinds is counted on these, in all parts, and so is the peer.
    for name in ("blazenet/x_no_kinds", "yamnet/zero_shot"):
        unseen = {r.kind: r for r in summary.kinds if (r.row, r.part) == (name, "unseen")}
        assert {kind: row.sources for kind, row in unseen.items()} == {
            "silence": 9,
            "baby_laugh": 9,
            "rain": 18,
        }
    assert all(row.missing == () and row.upper_per_hour > row.per_hour for row in summary.mixes)
    assert {row.row for row in summary.mixes} >= {"blazenet/x_no_kinds", "robust/r"}


def test_nothing_is_decided_where_the_validation_part_is_measured(summary):
    left = [r for r in summary.rows if "left out" in r.scope]
    assert {r.row for r in left} >= {"yamnet/zero_shot", "blazenet/x_no_mixed"}
    for name in ("accuracy", "f1", "false_alarm_rate"):
        assert all(r.metrics[name].mean is None for r in left), name
        assert all(r.metrics[name].mean is not None for r in summary.rows if r not in left), name


def test_what_is_trained_on_is_never_scored(out, source):
    seconds = scores_of(out, source, "robust/r")
    assert set(seconds["split"]) == {"val", "test"}
    assert set(scores_of(out, source, "robust/r", "phone")["split"]) == {"test"}
    left_out = scores_of(out, source, "blazenet/x_no_mixed")
    assert set(left_out.loc[left_out["split"] == "train", "corpus"]) == {"mixed"}


def test_without_the_peer_there_are_no_differences(source, tmp_path):
    summary = compare(source, tmp_path, SYSTEMS[1:2])
    assert summary.rows
    assert all(r.metrics["auc"].difference is None for r in summary.rows)
    page = render("sections.md", systems_page(tmp_path / "out", "Title", ORIGIN))
    assert "robust/r" in page
    assert "yamnet/zero_shot was not at hand" in page and "AP less that of" not in page


def test_equal_inputs_give_equal_bytes(summary, source, out, tmp_path):
    compare(source, tmp_path)
    names = {path.name for path in out.iterdir()}
    assert names == {"tables.json", "metrics.json", "comparison.svg"}
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes(), name


def test_the_headline_has_the_main_rows_alone(summary, out):
    found = read_json(out / "metrics.json")
    assert set(found) == {"robust/r"}
    assert found["robust/r"]["auc_pooled_dull"] == round(
        row(summary, "robust/r", channel="dull").metrics["auc"].mean, 6
    )
    assert "average_precision_clip_mixed" in found["robust/r"]
    assert headlines(summary.rows, CONFIG.main)["robust/r"]["auc_pooled"] > 0.5


def test_silence_of_the_world_counts_for_nothing():
    assert not silent_seconds(made("crying_baby", 1)).any()
    wave = made("crying_baby", 1)
    wave[:16_000] *= 0.001
    assert silent_seconds(wave).tolist() == [True] + 5 * [False]


ORIGIN = ReportOrigin(profile="demo", source="generated", commit="0123456789ab")


def test_the_page_has_every_measure_and_system(summary, out):
    report = systems_page(out, "All <systems>", ORIGIN)
    tables = {table.title: table for section in report.sections for table in section.tables}
    main = tables["Every system on the same seconds"]
    assert main.columns == ["measure", *(n for n in summary.parameters if "_no_" not in n)]
    cells = {cells[0]: dict(zip(main.columns, cells, strict=True)) for cells in main.rows}
    estimate = row(summary, "robust/r", "mixed").metrics["average_precision"]
    found = cells["mixed, AP per second"]["robust/r"]
    assert found == f"{estimate.mean:.3f} ± {estimate.sd:.3f}"
    assert cells["parameters"]["blazenet/x"] == str(summary.parameters["blazenet/x"])
    assert "dull: pooled, recall at 1 % false alarms per second" in cells
    assert any("left out" in title for title in tables)
    assert "AP less that of yamnet/zero_shot" in tables["mixed, per second"].columns
    assert "not at hand" not in report.facts
    html = render("sections.html", report)
    assert "All &lt;systems&gt;" in html and "data:image/svg+xml" in html


def test_the_page_shows_before_after_and_re_recorded(summary, out):
    report = systems_page(out, "Title", ORIGIN)
    tables = {table.title: table for section in report.sections for table in section.tables}
    shift = tables["Before and after channel phone, pooled, per second"]
    cells = {cells[0]: dict(zip(shift.columns, cells, strict=True)) for cells in shift.rows}
    again = row(summary, "blazenet/x_phone", channel="phone").metrics["auc"].mean
    assert cells["blazenet/x"]["AUC, re-recorded"] == f"{again:.3f}"
    assert cells["robust/r"]["AUC, re-recorded"].startswith("n/a")
    # The phone without a codec is another channel: measured apart, and x_phone was not on it.
    pcm = tables["Before and after channel phone_pcm, pooled, per second"]
    line = next(cells for cells in pcm.rows if cells[0] == "blazenet/x")
    cells = dict(zip(pcm.columns, line, strict=True))
    assert cells["AUC, re-recorded"] == "n/a"
    after = row(summary, "blazenet/x", channel="phone_pcm").metrics["auc"].mean
    assert cells["AUC, after"] == f"{after:.3f}"


def test_the_case_studys_figures_stand_beside_ours(tmp_path):
    """As it gives them, with the data they are of; a row that was not measured is none."""

    def measured(name, channel, scope, unit, accuracy):
        metrics = {"accuracy": {"mean": accuracy, "sd": 0.01}}
        return {"row": name, "channel": channel, "scope": scope, "unit": unit, "metrics": metrics}

    rows = [
        measured("baselines/svc", "as recorded", "pooled", "clip", 0.9),
        measured("baselines/svc", "as recorded", "baby_cry_detection", "clip", 0.7),
        measured("baselines/app_phone_pcm", "as recorded", "pooled", "clip", 0.1),
        measured("baselines/app_phone_pcm", "phone_pcm", "pooled", "clip", 0.8),
    ]
    content = {"rows": rows, "parameters": [], "peer": "", "shifts": ["phone_pcm"]}
    content |= {"kinds": [], "mixes": [], "main": [], "recall": 0.8, "mix": {}}
    write_json(tmp_path / "tables.json", content)
    table = case_study_table(SystemResults(tmp_path))
    assert [line[1] for line in table.rows] == ["0.98", "0.96", "0.80", "0.80", "0.95"]
    cells = [dict(zip(table.columns, line, strict=True)) for line in table.rows]
    small, downloaded, phone = cells[0], cells[3], cells[4]
    assert "four classes" in small["measured on"] and "as downloaded" in downloaded["measured on"]
    assert "on a phone" in phone["measured on"]
    assert small["accuracy here, pooled, per clip"] == "0.900 ± 0.010"
    assert small["within baby_cry_detection, per clip"] == "0.700 ± 0.010"
    assert phone["accuracy here, pooled, per clip"] == "0.800 ± 0.010"  # heard on the phone
    assert downloaded["accuracy here, pooled, per clip"] == "n/a"
