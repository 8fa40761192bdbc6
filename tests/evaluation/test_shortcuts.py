"""Shortcuts: who knows the level alone is found out, who knows crying is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.segments import RATE_HZ, cut
from crywatch.audio.waves.cleaned import write_flac
from crywatch.audio.waves.levels import level_dbfs
from crywatch.core.atomic import read_json
from crywatch.data.selection import Source
from crywatch.data.tables import write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.data.truth import silent_seconds
from crywatch.detection.systems import System, load_system
from crywatch.evaluation.evaluate.shortcuts import ShortcutsConfig, headlines, run
from crywatch.evaluation.evaluate.shortcuts.measures import alarm_threshold, logit
from crywatch.evaluation.evaluate.shortcuts.probe import ProbeConfig
from crywatch.evaluation.score.renderings import BackgroundConfig, pauses
from crywatch.evaluation.scored import AS_RECORDED, SHORTCUTS
from crywatch.metrics.rows import flat
from crywatch.report.pages import ReportOrigin, render
from crywatch.report.shortcuts import mean_of_seeds, shortcuts_page
from tests.helpers.blazenet_cases import clip_rows
from tests.helpers.score_cases import score, scored, with_models
from tests.helpers.split_cases import noise

CONFIG = ShortcutsConfig(main=["blazenet/level"], probe=ProbeConfig(folds=2, permutations=1))
SYSTEMS = [
    System("blazenet/level", "", "", "blazenet/level"),
    System("blazenet/tone", "", "", "blazenet/tone"),
    System("blazenet/tone_no_far", "", "far", "blazenet/tone_no_far"),
]


def tone(seconds: float, level: float, seed: int) -> np.ndarray:
    """A cry of these tests: a tone of 500 Hz, every other half second a pause 46 dB below it."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    on = np.where((t % 2.0) < 1.0, 1.0, 0.005)
    return (level * on * np.sin(2 * np.pi * 500 * t + seed)).astype(np.float32)


class Level:
    """Takes what is loud for a cry: the shortcut."""

    n_parameters = 1

    def score(self, wave: np.ndarray) -> np.ndarray:
        rms = np.sqrt(np.mean(np.square(cut(wave)), axis=1))
        return np.clip(1.0 + np.array([level_dbfs(value) for value in rms]) / 60, 0.0, 1.0)

    def features(self, wave: np.ndarray) -> np.ndarray:
        return self.score(wave)[:, None]


class Tone:
    """Knows the tone, at any level."""

    n_parameters = 1

    def score(self, wave: np.ndarray) -> np.ndarray:
        spectra = np.abs(np.fft.rfft(cut(wave))) ** 2
        return spectra[:, 490:511].sum(axis=1) / (spectra.sum(axis=1) + 1e-12)


DETECTORS = {"blazenet/level": Level(), "blazenet/tone": Tone(), "blazenet/tone_no_far": Tone()}


def clips(folder: Path) -> pd.DataFrame:
    """Corpus near: loud cries, quiet others. Corpus far: cries and others alike, 20 dB lower."""
    rows = []
    for part, count in (("train", 3), ("val", 3), ("test", 4)):
        for n in range(count):
            for corpus, label, level in (
                ("near", "cry", 0.5),
                ("near", "other", 0.01),
                ("far", "cry", 0.05),
                ("far", "other", 0.05),
            ):
                stem = f"{label}-{part}-{n}"
                seed = sum(stem.encode())
                wave = tone(4.0, level, seed) if label == "cry" else 10 * level * noise(seed)
                path = folder / corpus / f"{stem}.flac"
                path.parent.mkdir(exist_ok=True)
                write_flac(path, wave)
                given = {"label": label, "split": part, "duration_s": 4.0, "path": str(path)}
                given["infant_id"] = f"{corpus} {n % 2}" if label == "cry" else None
                given["category"] = "silence" if label == "other" and n == 0 else label
                rows.append({"clip_id": f"{corpus}/{stem}", "canonical": n != 3} | given)
    return clip_rows(rows)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    folder = tmp_path_factory.mktemp("clips")
    write_table(clips(folder), folder / "clips.parquet", SPLIT_CLIPS)
    columns = {"clip_id": [], "onset_s": [], "offset_s": [], "label": []}
    write_table(pd.DataFrame(columns), folder / "events.parquet", EVENTS)
    return Source(folder / "clips.parquet", folder / "events.parquet")


def audit(source: Source, folder: Path, systems=SYSTEMS):
    """Score into ``folder``/score, measure into ``folder``/out."""
    listed = with_models(folder / "models", systems)
    score(folder / "score", [source], {SHORTCUTS: listed}, lambda system: DETECTORS[system.name])
    return run(scored(folder / "score", [source]), 0.5, CONFIG, 1, folder / "out")


@pytest.fixture(scope="module")
def audited(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    return audit(source, folder), folder / "out"


def auc(summary, system: str, channel: str, scope: str = "pooled", unit: str = "second") -> float:
    (row,) = [
        row
        for row in summary.channels
        if (row.system, row.channel, row.scope, row.unit) == (system, channel, scope, unit)
    ]
    return row.metrics.auc


def test_silent_seconds_of_a_wave():
    wave = np.concatenate([np.full(RATE_HZ, a, np.float32) for a in (0.5, 0.0051, 0.0049, 0.0)])
    assert silent_seconds(wave).tolist() == [False, False, True, True]
    assert silent_seconds(np.full(RATE_HZ, 1e-4, np.float32)).tolist() == [True]  # -80 dBFS
    assert silent_seconds(np.zeros(0, np.float32)).shape == (0,)


# Measures


def test_a_matched_channel_takes_the_shortcut_away(audited):
    summary, _ = audited
    # Within corpus near the loud ones cry; at one level nothing is left of that.
    assert auc(summary, "blazenet/level", AS_RECORDED, "near") == 1.0
    assert auc(summary, "blazenet/level", "matched", "near") != pytest.approx(1.0, abs=0.2)
    for channel in (AS_RECORDED, "matched"):
        for scope in ("pooled", "near", "far"):
            assert auc(summary, "blazenet/tone", channel, scope) == 1.0
            assert auc(summary, "blazenet/tone", channel, scope, "clip") == 1.0


def test_duplicates_count_within_their_corpus_alone(audited):
    summary, _ = audited
    counts = {
        row.scope: row.metrics.n
        for row in summary.channels
        if (row.system, row.channel, row.unit) == ("blazenet/tone", AS_RECORDED, "clip")
    }
    assert counts == {"pooled": 12, "near": 8, "far": 8}


def test_rows_have_intervals_of_groups(audited):
    row = audited[0].channels[0]
    assert (row.intervals.cry_groups, row.intervals.other_groups) == (6, 6)
    assert row.intervals.auc_low is not None and flat(row)["auc_low"] <= row.metrics.auc


def test_a_corpus_left_out_is_measured_whole(audited):
    rows = audited[0].left_out
    assert {row.system for row in rows} == {"blazenet/tone_no_far"}
    clip = next(row for row in rows if row.unit == "clip")
    # All test clips and all of part train; of part val too, by what was left out.
    assert (clip.scope, clip.metrics.n, clip.metrics.n_cry) == ("far, left out", 20, 10)


def test_one_factor_moves_who_listens_to_it(audited):
    by_system = {row.system: row for row in audited[0].factors}
    level, tone_row = by_system["blazenet/level"], by_system["blazenet/tone"]
    assert (level.factor, level.channel) == ("level", "quiet")
    assert level.flipped > 0.2 and level.logit_change_cry < -1
    assert tone_row.flipped == 0 and abs(tone_row.logit_change_cry) < 0.5
    assert tone_row.auc == 1.0 and tone_row.auc_change == 0.0


def test_logits_are_finite():
    found = logit(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite(found).all() and found[1] == 0 and found[2] == pytest.approx(-found[0])


@pytest.mark.parametrize(("rate", "alarms"), [(0.0, 0), (0.1, 1), (0.25, 2), (0.99, 9)])
def test_the_threshold_is_the_lowest_that_keeps_the_rate(rate, alarms):
    values = np.arange(10) / 10
    frame = pd.DataFrame({"corpus": "near", "score": values})
    frame = frame.assign(split="val", label="other", canonical=True)
    test_part = frame.assign(split="test", score=1.0)
    copies = frame.assign(canonical=False, score=1.0)
    made = frame.assign(corpus="soundscapes", score=1.0)
    chosen = alarm_threshold(pd.concat([frame, test_part, copies, made]), rate)
    assert (values >= chosen).sum() == alarms


def test_a_corpus_never_heard_chooses_no_threshold():
    frame = pd.DataFrame({"corpus": ["near", "far"], "score": [0.2, 0.8]})
    frame = frame.assign(canonical=True, split="val", label="other")
    assert alarm_threshold(frame, 0.0) == pytest.approx(0.8)
    assert alarm_threshold(frame, 0.0, "far") == pytest.approx(0.2)
    assert alarm_threshold(frame[:0], 0.0) is None


# Background


def test_background_that_is_loud_is_called_by_who_listens_to_the_level(audited):
    rows = {(row.system, row.corpus, row.kind, row.heard): row for row in audited[0].background}
    quiet = rows["blazenet/level", "near", "clip", "as recorded"]
    loud = rows["blazenet/level", "near", "clip", "scaled"]
    assert (quiet.n, quiet.clips) == (4, 1)
    assert (quiet.called, loud.called) == (0.0, 1.0)
    # Two pauses of a second in each of the four crying clips.
    pause = rows["blazenet/tone", "near", "pause", "as recorded"]
    assert (pause.n, pause.clips, pause.called) == (8, 4, 1.0)
    assert all(row.called_at_1pct is not None for row in rows.values())


def test_pauses_are_long_quiet_and_filled_with_themselves():
    config = BackgroundConfig([], below_db=25.0, min_s=0.5, level_dbfs=-26.0)
    rng = np.random.default_rng(0)
    parts = [(1.0, 0.5), (0.7, 0.01), (1.0, 0.5), (0.4, 0.001), (0.6, 0.5), (1.7, 0.02)]
    wave = np.concatenate([a * rng.choice([-1.0, 1.0], round(s * RATE_HZ)) for s, a in parts])
    found = list(pauses(config, wave.astype(np.float32)))
    assert [round(one.onset_s, 3) for one in found] == [1.0, 3.7]  # 0.4 s are too short
    assert [len(one.wave) / RATE_HZ for one in found] == [1.0, 2.0]
    assert [np.abs(one.wave).min() for one in found] == pytest.approx([0.01, 0.02])
    assert list(pauses(config, np.zeros(RATE_HZ, np.float32))) == []
    assert list(pauses(config, np.zeros(0, np.float32))) == []


# Outputs


def test_files_and_bytes(audited, source, tmp_path):
    _, out = audited
    audit(source, tmp_path)
    names = {"channels.svg", "means.json", "metrics.json", "probe.svg", "tables.json"}
    assert {path.name for path in out.iterdir()} == names
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


def test_the_headline_is_of_the_main_rows(audited):
    summary, out = audited
    (row,) = read_json(out / "metrics.json").items()
    assert row[0] == "blazenet/level"
    assert {"auc_as_recorded", "auc_matched", "background_called", "probe_cry"} == set(row[1])
    assert row[1]["background_called"] == 1.0
    assert headlines(summary, ["blazenet/tone"])["blazenet/tone"]["auc_matched"] == 1.0
    assert headlines(summary, ["blazenet/tone_no_far"])["blazenet/tone_no_far"][
        "auc_left_out"
    ] == pytest.approx(1.0)
    assert headlines(summary, ["robust/robust"]) == {}


def test_seeds_of_a_row_are_one_line(source, tmp_path):
    systems = [replace(system, row="blazenet/both") for system in SYSTEMS[:2]]
    summary = audit(source, tmp_path, systems)
    lines = [line for line in summary.means()["channels"] if line["scope"] == "near"]
    line = next(one for one in lines if (one["channel"], one["unit"]) == ("matched", "second"))
    values = [auc(summary, system.name, "matched", "near") for system in systems]
    assert (line["row"], line["seeds"]) == ("blazenet/both", 2)
    assert line["auc"] == pytest.approx(np.mean(values))
    assert line["auc_sd"] == pytest.approx(np.std(values, ddof=1))


def test_a_system_is_loaded_from_its_folder(monkeypatch):
    monkeypatch.setattr(
        "crywatch.detection.systems.load_detector", lambda folder: f"model in {folder}"
    )
    assert load_system(replace(SYSTEMS[0], source="data/x")) == "model in data/x"


# Page


ORIGIN = ReportOrigin(profile="demo", source="generated", commit="0123456789ab")


def test_the_page_has_every_part(audited):
    _, out = audited
    report = shortcuts_page(out, "Crying, or <corpora>?", ORIGIN)
    names = ["channels", "within", "left_out", "probe", "factors", "background", "recall"]
    assert [section.name for section in report.sections] == names
    html, text = (render(f"sections.{suffix}", report) for suffix in ("html", "md"))
    assert "Crying, or &lt;corpora&gt;?" in html and "Generated sounds." in text
    assert html.count("data:image/svg+xml;base64,") == 2
    for section in report.sections:
        assert section.tables, section.name
        for table in section.tables:
            assert table.rows, table.title
            for line in table.rows:
                assert len(line) == len(table.columns), table.title
                assert all(isinstance(cell, str) and cell for cell in line), table.title
                assert not {"nan", "None"} & set(line), table.title


def test_numbers_of_the_page_are_those_of_the_stage(audited):
    summary, out = audited
    report = shortcuts_page(out, "t", ORIGIN)
    table = report.sections[0].tables[0]
    assert table.columns == ["system", "unit", AS_RECORDED, "matched"]
    (line,) = [one for one in table.rows if one[:2] == ["blazenet/level", "second"]]
    assert line[3].startswith(f"{auc(summary, 'blazenet/level', 'matched'):.3f}")


def test_deviation_and_interval_stand_behind_a_mean():
    row = {"auc": 0.9, "auc_sd": 0.0123, "auc_low": 0.8, "auc_high": 0.95}
    assert mean_of_seeds("auc")(row) == "0.900 ± 0.012 (0.800 to 0.950)"
    assert mean_of_seeds("auc")(row | {"auc_sd": None}) == "0.900 (0.800 to 0.950)"
    assert mean_of_seeds("auc")({"auc": None, "auc_sd": None}) == "n/a"
