"""Stage ``calibrate``: probabilities that can be believed, and rules that keep a stated rate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from crywatch.audio.waves.cleaned import write_flac
from crywatch.cli import main as cli
from crywatch.core import params
from crywatch.core.atomic import read_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError
from crywatch.core.models import ModelFolder, load, save
from crywatch.detection.blazenet.network import BlazeNet
from crywatch.detection.calibrate import CalibrateConfig, CalibratedModel, run
from crywatch.detection.calibrate.choosing import Choices, choose_rules, count_allowed_alarms
from crywatch.detection.calibrate.fitting import agreement, choose, fit, reliability
from crywatch.detection.calibrate.listening import Seconds, known_clips, known_seconds, listen
from crywatch.detection.calibrate.measures import Hearing, measure
from crywatch.detection.decisions import (
    KEY,
    Calibration,
    Rule,
    decision_of,
    expit,
    logit,
    merge_events,
)
from crywatch.detection.detectors import load_detector
from tests.helpers.blazenet_cases import ONE_SECOND
from tests.helpers.calibrate_cases import Peaks, recording, steps, write_sources
from tests.helpers.robust_model_cases import CONTEXT, write_robust

ROOT = Path(__file__).parents[2]
SAME = Calibration("temperature")
RULE = Rule(0.8, 0.4, 1.0, 1.0)


# What is listened to


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("sounds"))


def test_recordings_know_what_is_true_of_them(sources):
    heard = {r.clip_id: r for r in listen(Peaks(), known_clips(sources, "val"), sources, "val")}
    assert len(heard) == 18, "a duplicate and an unlabelled clip count for nothing"
    made, other, weak = (
        heard[name] for name in ("soundscapes/val-0", "a/other-val-0", "a/cry-val-0")
    )
    assert made.is_cry.tolist() == [False, False, True, True, False, False]
    assert (made.quiet_s, made.n_cries, made.strong) == (4.0, 1, True)
    assert (other.quiet_s, other.n_cries, other.strong) == (4.0, 0, True)
    assert (weak.quiet_s, weak.n_cries, weak.strong) == (0.0, 1, False)
    assert weak.scores.shape == (4,)


def test_silent_seconds_of_a_cry_without_onsets_teach_nothing(sources, tmp_path):
    clips = known_clips(sources, "val").set_index("clip_id", drop=False)
    weak = clips.loc[["a/cry-val-0", "a/other-val-0"]].assign(weak=True)
    known = {r.clip_id: r.known for r in listen(Peaks(), weak, sources, "val")}
    assert not known["a/cry-val-0"].any() and known["a/other-val-0"].all()
    weak = recording("a/cry", [0.9, 0.1], weak=True, known=np.array([True, False]))
    other = recording("a/other", [0.2, 0.3])
    seconds = known_seconds([weak, other])
    assert seconds.scores.tolist() == [0.9, 0.2, 0.3]
    assert seconds.labels.tolist() == [True, False, False]
    assert seconds.groups.tolist() == ["a/cry", "a/other", "a/other"]


def test_sound_between_cries_is_measured():
    one = recording("made/a", [0.1] * 10, [(1.0, 2.5), (6.0, 7.0)])
    assert one.quiet_s == 7.5
    assert one.quiet_between(2.0, 8.0) == pytest.approx(6 - 0.5 - 1)
    assert (
        one.touched(2.0, 6.0) == [0] and one.touched(2.5, 6.0) == [] and one.touched(0, 9) == [0, 1]
    )


# Probabilities


def drawn(slope: float, offset: float, n: int = 20_000):
    """Scores and labels whose probability is a line in the logit of the score."""
    rng = np.random.default_rng(4)
    scores = expit(rng.normal(0, 2, n))
    return scores, rng.random(n) < expit(slope * logit(scores) + offset)


def test_lines_find_what_made_the_labels():
    scores, labels = drawn(0.5, 0.0)
    assert fit("temperature", scores, labels).slope == pytest.approx(0.5, abs=0.03)
    scores, labels = drawn(0.6, -1.5)
    found = fit("platt", scores, labels)
    assert (found.slope, found.offset) == (
        pytest.approx(0.6, abs=0.03),
        pytest.approx(-1.5, abs=0.05),
    )


def test_isotonic_steps_follow_any_rise():
    scores = np.repeat([0.1, 0.3, 0.5, 0.7], 1000)
    labels = np.concatenate([np.arange(1000) < 1000 * share for share in (0.0, 0.2, 0.1, 0.6)])
    said = fit("isotonic", scores, labels)(np.array([0.1, 0.3, 0.5, 0.7]))
    np.testing.assert_allclose(said, [0.0, 0.15, 0.15, 0.6], atol=2e-3)


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_classes_apart_or_upside_down_keep_order_and_stay_finite(method):
    scores = np.linspace(0.05, 0.95, 40)
    for labels in (scores > 0.5, scores < 0.5, np.zeros(40, bool)):
        said = fit(method, scores, labels)(scores)
        assert np.isfinite(said).all() and (np.diff(said) > 0).all()


def test_the_method_nearest_to_groups_left_out_is_taken():
    scores, labels = drawn(0.6, -1.5, 2000)
    seconds = Seconds(scores, labels, np.array([f"g{n // 20}" for n in range(2000)]))
    fitted = choose(["temperature", "platt", "isotonic"], seconds)
    assert fitted.calibration.method == "platt"
    assert fitted.tried["platt"].nll < fitted.tried["temperature"].nll
    # Steps are about as near: the one that is named first is taken.
    assert abs(fitted.tried["isotonic"].nll - fitted.tried["platt"].nll) < 0.02
    assert choose(["temperature"], seconds).calibration.method == "temperature"


def test_groups_are_whole_in_a_fold():
    # Labels are a matter of the group alone: seen from within, steps would know them by heart.
    rng = np.random.default_rng(0)
    scores = np.repeat(np.linspace(0.1, 0.9, 40), 25) + rng.normal(0, 1e-4, 1000)
    labels = np.repeat(rng.random(40) < 0.5, 25)
    groups = np.repeat([f"g{n}" for n in range(40)], 25)
    tried = choose(["isotonic", "temperature"], Seconds(scores, labels, groups)).tried
    assert (
        tried["isotonic"].nll
        > agreement(labels, fit("isotonic", scores, labels)(scores)).nll + 0.05
    )


def test_too_few_groups_take_the_first_method():
    scores, labels = drawn(1.0, 0.0, 200)
    fitted = choose(["isotonic", "platt"], Seconds(scores, labels, np.full(200, "g")))
    assert fitted.calibration.method == "isotonic" and fitted.tried == {}


def test_one_class_and_unknown_methods_are_refused():
    seconds = Seconds(np.full(4, 0.5), np.ones(4, bool), np.array(list("abcd")))
    with pytest.raises(ConfigError, match="no cry or nothing else"):
        choose(["platt"], seconds)
    with pytest.raises(ConfigError, match="'beta' is none of temperature"):
        fit("beta", seconds.scores, seconds.labels)
    with pytest.raises(ConfigError, match=r"calibrate\.methods is empty"):
        choose([], seconds)


def test_agreement_against_a_slow_reference():
    rng = np.random.default_rng(1)
    said, labels = rng.random(500), rng.random(500) < 0.3
    found = agreement(labels, said)
    ece = 0.0
    for low in np.arange(10) / 10:
        inside = (said >= low) & (said < low + 0.1)
        ece += inside.sum() / 500 * abs(said[inside].mean() - labels[inside].mean())
    assert found.ece == pytest.approx(ece)
    assert found.brier == pytest.approx(
        np.mean([(p - y) ** 2 for p, y in zip(said, labels, strict=True)])
    )
    nll = [-np.log(p if y else 1 - p) for p, y in zip(said, labels, strict=True)]
    assert found.nll == pytest.approx(np.mean(nll))
    assert sum(one.seconds for one in reliability(labels, said)) == 500
    assert reliability(np.array([True]), np.array([1.0]))[0].high == 1.0


# Rules


def test_how_many_alarms_a_promise_allows():
    # Bounds of 0, 1 and 2 alarms, one-sided 95 %: 3.00, 4.74 and 6.30.
    assert [count_allowed_alarms(10.0, hours) for hours in (0.0, 0.29, 0.3, 0.48, 0.64)] == [
        -1,
        -1,
        0,
        1,
        2,
    ]


def hour(scores) -> list:
    """An hour of other sound: each of ``scores`` for a second, amid 0.05."""
    long = np.full(3600, 0.05)
    long[10 + 20 * np.arange(len(scores))] = scores
    return [recording("b/other", long)]


def cry(score: float, n: int) -> list:
    return [
        recording(f"made/{score}-{i}", [0.05, score, score, 0.05], [(1.0, 3.0)]) for i in range(n)
    ]


def rules(recordings, rates, offs=(0.1,), shortest=(1.0,)):
    return choose_rules(recordings, SAME, rates, Choices(offs, shortest, 0.0))


def test_a_promised_rate_is_kept_with_the_lowest_threshold():
    heard = hour([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]) + cry(0.75, 3) + cry(0.95, 1)
    few, many = rules(heard, [8.0, 5.0])
    # 5 an hour allows one alarm, 8 an hour three.
    assert (few.false_alarms_per_hour, few.alarms, few.promised) == (5.0, 1, True)
    assert (many.false_alarms_per_hour, many.alarms, many.promised) == (8.0, 3, True)
    assert 0.8 < few.rule.on < 0.9 and 0.6 < many.rule.on < 0.7
    for rated in (few, many):
        assert rated.upper_per_hour <= rated.false_alarms_per_hour
        rows = list(measure(heard, SAME, rated.rule, 1.0, "val", Hearing()))
        assert rows[0].alarms == rated.alarms


def test_the_rule_that_finds_most_is_taken():
    # Alarms last a second, cries two: a shortest event of 2 s needs no high threshold.
    heard = hour([0.9, 0.85, 0.8]) + cry(0.6, 4)
    (found,) = rules(heard, [4.0], shortest=(1.0, 2.0))
    assert found.rule.min_event_s == 2.0 and found.rule.on <= 0.6 and found.alarms == 0
    (only,) = rules(heard, [4.0])
    assert only.rule.on > 0.9


def test_events_that_run_on_are_no_way_to_keep_a_rate():
    # At 0.1 all is one event that touches the cry: no alarm, and everything is called.
    long = np.full(3600, 0.2)
    long[100:103] = 0.7
    heard = [recording("made/long", long, [(100.0, 103.0)])]
    (found,) = rules(heard, [4.0], offs=(0.1, 0.5))
    assert found.rule.off == 0.5


def test_too_few_hours_promise_nothing_and_the_tail_decides():
    peaks = expit(np.linspace(0.0, 3.0, 31))
    heard = hour(peaks) + cry(0.99, 3)
    rated = rules(heard, [0.1, 1.0, 2.0])
    assert [one.promised for one in rated] == [False] * 3
    assert [one.alarms for one in rated] == [0] * 3
    ons = [float(logit(one.rule.on)) for one in rated]
    assert ons[0] > ons[1] >= ons[2] > 3.0
    # Ten excesses of 0.1, 0.2 to 1.0 nats over 2.0: a tail of 0.55 nats.
    hours = sum(one.quiet_s for one in heard) / 3600
    assert ons[0] == pytest.approx(2.0 + 0.55 * np.log(10 / (0.1 * hours)), abs=1e-6)
    assert rated[0].upper_per_hour == pytest.approx(2.9957 / hours, rel=1e-4)


def test_cries_that_no_event_reaches_are_not_found():
    # At 0.9 nothing is called at all: that is no reason to take it.
    heard = [*hour([0.7, 0.6, 0.5]), *cry(0.8, 3)]
    for rate in (1.0, 8.0):
        (found,) = rules(heard, [rate], offs=(0.1, 0.9))
        assert found.rule.off == 0.1 and found.rule.on < 0.8, rate


def test_alarms_at_the_highest_score_there_is_are_not_let_through():
    heard = [*hour([1.0, 1.0, 1.0, 0.5]), *cry(1.0, 3), *cry(0.7, 3)]
    for calibration in (SAME, Calibration("platt", 0.2, -1.4)):
        for rated in choose_rules(heard, calibration, [1.0, 4.0], Choices([0.05], [1.0], 0.0)):
            (row, *_) = measure(heard, calibration, rated.rule, 1.0, "val", Hearing())
            assert row.alarms == rated.alarms == 0, rated


def test_without_other_sound_nothing_is_promised():
    (found,) = rules(cry(0.9, 2) + [recording("a/weak", [0.9], weak=True)], [10.0])
    assert not found.promised or found.upper_per_hour <= 10.0
    weak = [recording("a/weak", [0.9], weak=True)]
    (found,) = rules(weak, [10.0])
    assert not found.promised and np.isfinite(found.upper_per_hour)


def test_a_calibration_moves_thresholds_and_no_decision():
    heard = hour([0.9, 0.8, 0.7, 0.6]) + cry(0.75, 3)
    line = Calibration("platt", 0.5, -1.0)
    offs = [0.1, float(line(np.array([0.1]))[0])]
    (plain,) = rules(heard, [8.0], offs[:1])
    (moved,) = choose_rules(heard, line, [8.0], Choices(offs[1:], [1.0], 0.0))
    assert moved.rule.on == pytest.approx(float(line(np.array([plain.rule.on]))[0]))
    assert moved.alarms == plain.alarms


# What rules do


def test_alarms_hours_cries_and_latencies_by_hand():
    heard = [
        # An alarm that counts one, a cry that is found late, another that is not found.
        recording("made/a", [0.9, 0.5, 0.1, 0.5, 0.9, 0.1, 0.1, 0.1], [(3.2, 5.0), (6.0, 7.0)]),
        recording("b/other", [0.5, 0.1, 0.9, 0.1, 0.9]),
        recording("a/cry", [0.1, 0.9], weak=True),
        recording("a/lost", [0.5, 0.5], weak=True),
    ]
    rows = {
        r.scope: r for r in measure(heard, None, Rule(0.8, 0.4, 1.0, 0.0), 2.0, "test", Hearing())
    }
    assert list(rows) == ["all", "made", "b", "a"]
    everything = rows["all"]
    assert (everything.alarms, rows["made"].alarms, rows["b"].alarms) == (3, 1, 2)
    quiet_s = 8 - 1.8 - 1 + 5
    assert everything.hours == pytest.approx(quiet_s / 3600)
    assert everything.per_hour == pytest.approx(3 * 3600 / quiet_s)
    assert everything.low * quiet_s / 3600 == pytest.approx(0.619, abs=1e-3)  # Garwood, 3
    assert everything.high * quiet_s / 3600 == pytest.approx(8.767, abs=1e-3)
    # Two seconds of the first alarm, 0.2 before the cry, one each of the others.
    assert everything.called == pytest.approx((2 + 0.2 + 2) / quiet_s)
    assert (everything.cries, everything.found) == (4, 0.5)
    assert rows["a"].per_hour is None and rows["a"].found == 0.5
    # The event is sure when the second from 4 to 5 s is over.
    assert everything.latency_s == pytest.approx(5 - 3.2)


def latency(scores, cries, rule, **hearing):
    heard = [recording("made/a", scores, cries)]
    return next(iter(measure(heard, None, rule, 1.0, "test", Hearing(**hearing)))).latency_s


def test_an_event_is_called_when_it_is_long_enough():
    scores = [0.1, 0.9, 0.9, 0.9, 0.1]
    assert latency(scores, [(1.0, 4.0)], Rule(0.8, 0.8, 1.0, 0.0)) == 1.0
    assert latency(scores, [(1.0, 4.0)], Rule(0.8, 0.8, 3.0, 0.0)) == 3.0
    assert latency(scores, [(1.0, 4.0)], Rule(0.8, 0.8, 4.0, 0.0)) is None
    # What is heard at once is over together, and the recording's end decides everything.
    assert latency(scores, [(1.0, 4.0)], Rule(0.8, 0.8, 1.0, 0.0), segment_s=5.0) == 4.0
    assert latency(scores, [(1.0, 4.0)], Rule(0.8, 0.8, 1.0, 0.0), lookahead_s=0.5) == 1.5
    # In an event that is known already the cry's own first second is waited for.
    assert latency([0.9] * 6, [(3.5, 6.0)], Rule(0.8, 0.8, 1.0, 0.0)) == 0.5


# The stage


CONFIG = CalibrateConfig(
    models={"loud": CalibratedModel("m")},
    methods=["temperature", "platt", "isotonic"],
    false_alarms_per_hour=[1.0, 600.0],
    default_per_hour=600.0,
    off_probabilities=[0.1, 0.3, 0.5],
    min_events_s=[1.0, 2.0],
    max_gap_s=1.0,
)


def write_model(folder: Path, **told) -> Path:
    weights = {f"backbone.{name}": value for name, value in BlazeNet().state_dict().items()}
    description = {"kind": "blazenet", "name": "loud", "segment_s": 1.0}
    description |= {"frontend": ONE_SECOND.as_dict(), "corpora": ["esc50"]}
    save(folder, ModelFolder(description | told, weights))
    return folder


@pytest.fixture
def by_peak(monkeypatch):
    monkeypatch.setattr("crywatch.detection.calibrate.load_detector", lambda folder: Peaks())


def changed(**values) -> CalibrateConfig:
    return CalibrateConfig(**(vars(CONFIG) | values))


def test_the_folder_is_the_model_with_its_decision(sources, by_peak, tmp_path):
    model = write_model(tmp_path / "m")
    summary = run("loud", CONFIG, model, sources, tmp_path / "out")
    before, after = load(model), load(tmp_path / "out")
    assert {name for name in after.description if name not in before.description} == {KEY}
    assert after.description["corpora"] == ["a", "b", "esc50"]  # what the soundscapes hold too
    assert decision_of(after.description) == summary.decision
    assert before.weights.keys() == after.weights.keys()
    detector = load_detector(tmp_path / "out")
    assert detector.decision == summary.decision
    fitted_on = summary.decision.fitted_on
    assert (fitted_on["part"], fitted_on["recordings"], fitted_on["cries"]) == ("val", 18, 12)
    assert fitted_on["non_cry_hours"] == pytest.approx((6 * 4 + 6 * 4) / 3600)
    assert set(fitted_on["kinds"]) == {"other"} and fitted_on["kinds"]["other"] > 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.json", "model.safetensors", "metrics.json", "tables.json"}
    assert read_json(tmp_path / "out" / "metrics.json") == summary.as_metrics()
    assert {"false_alarms_per_hour", "found", "ece_before", "ece_after"} <= set(
        summary.as_metrics()
    )
    tables = read_json(tmp_path / "out" / "tables.json")
    assert [
        row["stated"] for row in tables["rates"] if row["part"] == "test" and row["scope"] == "all"
    ] == [
        None,
        1.0,
        600.0,
    ]
    rated = {one.false_alarms_per_hour: one for one in summary.decision.rates}
    assert not rated[1.0].promised and rated[600.0].promised
    assert rated[1.0].rule.on >= rated[600.0].rule.on
    (val,) = (
        r for r in tables["rates"] if (r["part"], r["scope"], r["stated"]) == ("val", "all", 600.0)
    )
    assert val["alarms"] == rated[600.0].alarms


def test_a_robust_model_is_calibrated_with_what_it_waits_for(sources, tmp_path):
    model = write_robust(tmp_path / "m")
    run("robust", CONFIG, model, sources, tmp_path / "out")
    detector = load_detector(tmp_path / "out")
    assert detector.decision is not None and detector.lookahead_s == CONTEXT.after_s
    wave = steps([0.1, 0.9, 0.5])
    np.testing.assert_array_equal(detector.score(wave), load_detector(model).score(wave))


def test_equal_inputs_give_equal_bytes_and_the_test_part_decides_nothing(by_peak, tmp_path):
    model = write_model(tmp_path / "m")
    for name, test_seed in (("one", 0), ("two", 0), ("other", 5)):
        folder = tmp_path / "sounds" / name
        run("loud", CONFIG, model, write_sources(folder, test_seed=test_seed), tmp_path / name)
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    assert files_sha256([one]) == files_sha256([two])
    assert (one / "model.json").read_bytes() == (other / "model.json").read_bytes()
    assert (one / "tables.json").read_bytes() != (other / "tables.json").read_bytes()


def test_detect_decides_by_the_folder_alone(sources, by_peak, tmp_path, monkeypatch):
    summary = run("loud", CONFIG, write_model(tmp_path / "m"), sources, tmp_path / "out")

    class Decided(Peaks):
        decision = decision_of(load(tmp_path / "out").description)

    monkeypatch.setattr("crywatch.detection.detectors.load_detector", lambda folder: Decided())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(
        "detect: {model: out, threshold: null, min_event_s: 1.0, max_gap_s: 1.0}\n"
    )
    levels = [0.1, 0.2, 0.9, 0.6, 0.1, 0.1, 0.55, 0.1]
    write_flac(tmp_path / "a.flac", steps(levels))
    said = summary.decision.calibration(Peaks().score(steps(levels)))
    for rated in summary.decision.rates:
        rate = ["--false-alarms-per-hour", f"{rated.false_alarms_per_hour:g}"]
        result = CliRunner().invoke(cli.app, ["detect", "a.flac", "--format", "jsonl", *rate])
        record = json.loads(result.stdout)
        shown = [second["cry"] for second in record["seconds"]]
        np.testing.assert_allclose(shown, said, atol=1e-3)
        expected = merge_events(np.array(shown), 8.0, rated.rule)
        assert record["events"] == [vars(event) for event in expected]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"default_per_hour": 2.0}, r"calibrate\.default_per_hour: 2 is not among"),
        ({"false_alarms_per_hour": [0.0, 600.0]}, "rates above 0"),
        ({"off_probabilities": [1.0]}, r"calibrate\.off_probabilities"),
        ({"min_events_s": []}, r"calibrate\.min_events_s"),
    ],
)
def test_what_cannot_be_kept_is_refused(sources, by_peak, tmp_path, values, message):
    with pytest.raises(ConfigError, match=message):
        run("loud", changed(**values), write_model(tmp_path / "m"), sources, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_leaves_a_corpus_out_is_not_calibrated_on_it(sources, by_peak, tmp_path):
    model = write_model(tmp_path / "m", trained_on={"leave_out": "a"})
    with pytest.raises(ConfigError, match=r"calibrate\.models\.loud: .* never heard 'a'"):
        run("loud", CONFIG, model, sources, tmp_path / "out")


def test_the_conf_calibrates_what_stages_make_and_detect_uses_it():
    conf = params.compose(["profile=full"])
    config = params.typed(conf.calibrate, CalibrateConfig, "calibrate")
    config.check()
    assert conf.detect.model in {f"data/calibrate/{name}" for name in config.models}
    # By its folder: detect.model may be an alias, on which no stage can depend.
    assert conf.cries.detector == conf.detect.model
    variants = {
        f"data/train_{family}/{name}"
        for family in ("blazenet", "robust", "rtfm")
        for name in conf[f"train_{family}"].variants
    }
    assert {model.folder for model in config.models.values()} <= variants
    with pytest.raises(ConfigError, match=r"calibrate\.models has no 'best'"):
        config.model("best")
    body = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["calibrate"]
    assert body["foreach"] == "${calibrate.models}"
    # The folder of its own model, not all models there are.
    assert "${item.folder}" in body["do"]["deps"]
    assert not [dep for dep in body["do"]["deps"] if dep.startswith("data/train")]
