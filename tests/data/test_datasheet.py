"""Datasheets: what is measured, what is said of it, and a page that needs nothing beside itself."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crywatch import corpora
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import write_flac
from crywatch.core import params, paths
from crywatch.core.atomic import read_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.corpora.shared.base import is_generated
from crywatch.data import clean, datasheet, split
from crywatch.data.clean import CleanConfig
from crywatch.data.datasheet import DatasheetConfig, figures, measures
from crywatch.data.datasheet.figures import head, spectrum_db
from crywatch.data.split import SplitConfig
from tests.helpers.blazenet_cases import clip_rows

CONF = Path(__file__).parents[2] / "conf"
NAMES = [name for name in corpora.NAMES if name != "esc10"]  # whose samples are ESC-50's
TINY = GeneratorConfig(3, 2, 6, 2, 2, other_infants=3)
CONFIG = DatasheetConfig(2000, clip_level=0.999, clip_run=3, silent_dbfs=-60.0, spectrograms=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """All corpora, generated, cleaned and split; read only."""
    root = tmp_path_factory.mktemp("world")
    config = params.typed(params.compose([], CONF).clean, CleanConfig, "clean")
    for name in NAMES:
        generate(name, root / "raw" / name, TINY)
        if name == "esc50":
            broken = root / "raw" / name / "ESC-50-master" / "audio" / "unlisted <b>.wav"
            broken.write_bytes(b"no sound")
        clean.run(
            corpora.get(name), config, root / "raw" / name, root / "clean" / name, root / "work"
        )
    folders = [root / "clean" / name for name in NAMES]
    composed = params.compose(["split.infants.only=[]"], CONF).split
    config = params.typed(composed, SplitConfig, "split")
    split.run(folders, config, 1, root / "split", root / "split_infants")
    return root


def make(world, name, out, config=CONFIG, generated=True):
    sheet = datasheet.run(
        corpora.get(name),
        config,
        world / "clean" / name,
        world / "split",
        world / "split_infants",
        generated,
        out,
    )
    return sheet, (out / datasheet.PAGE).read_text()


def test_the_conf_fits_the_dataclass():
    config = params.typed(params.compose([], CONF).report.datasheet, DatasheetConfig, "datasheet")
    assert config.max_clips > 0 and config.clip_run > 1


@pytest.mark.parametrize("name", NAMES)
def test_every_corpus_gets_a_page_that_stands_alone(name, world, tmp_path):
    sheet, page = make(world, name, tmp_path / "sheet")
    assert {path.name for path in (tmp_path / "sheet").iterdir()} == {"index.html", "measures.json"}
    sources = re.findall(r'(?:src|srcset|data)="([^"]{0,30})', page) + re.findall(r"url\(", page)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page and "<link" not in page
    corpus = corpora.get(name)
    use = "yes" if corpus.commercial_use else "no"
    assert f"commercial use: {use}</span>" in page
    for text in (corpus.licence, corpus.terms, corpus.citation):
        assert text.replace("'", "&#39;") in page
    assert all(remote.url in page for remote in corpus.remotes)
    measured = read_json(tmp_path / "sheet" / "measures.json")
    assert measured["counts"]["clips"] == sum(measured["counts"]["labels"].values())
    assert sum(one["clips"] for one in measured["sound"]) == measured["counts"]["clips"]
    assert sum(measured["split"]["parts"].values()) == measured["counts"]["clips"]
    assert page.count("data:image/png") == len(measured["counts"]["labels"])
    assert page.count("data:image/svg") == len(measures.QUANTITIES)
    assert all(np.isfinite(value) for value in sheet.as_metrics().values())


def test_the_page_says_whether_the_sounds_are_generated(world, tmp_path):
    assert "Generated sounds" in make(world, "esc50", tmp_path / "a")[1]
    assert "Generated sounds" not in make(world, "esc50", tmp_path / "b", generated=False)[1]
    assert is_generated("generated", "") and is_generated("generated", str(paths.NO_CORPUS))
    assert not is_generated("generated", "some/folder")
    assert not is_generated("mirror", "")


def test_what_was_refused_and_copied_is_told(world, tmp_path):
    sheet, page = make(world, "esc50", tmp_path / "sheet")
    assert sheet.counts.quarantined == {"not listed in meta/esc50.csv": 1}
    assert "<td>not listed in meta/esc50.csv</td><td>1</td>" in page
    assert any(finding.startswith("Refused: 1 file could") for finding in sheet.findings)
    copies = [finding for finding in sheet.findings if finding.startswith("Copies elsewhere")]
    across = sheet.split.duplicates.across
    assert across and copies[0].startswith(f"Copies elsewhere: {across} clips")
    assert "baby_cry_detection (" in copies[0]


def test_equal_inputs_give_equal_bytes(world, tmp_path):
    make(world, "icsd", tmp_path / "a")
    make(world, "icsd", tmp_path / "b")
    assert files_sha256([tmp_path / "a"]) == files_sha256([tmp_path / "b"])


def test_without_a_split_parts_and_copies_are_not_known(world, tmp_path):
    corpus = corpora.get("esc50")
    sheet = datasheet.run(
        corpus,
        CONFIG,
        world / "clean" / "esc50",
        tmp_path / "none",
        tmp_path / "none",
        True,
        tmp_path / "sheet",
    )
    assert sheet.split is None
    assert "parts and copies are not known" in (tmp_path / "sheet" / "index.html").read_text()


def test_a_corpus_that_may_be_missing_gets_a_page_that_says_so(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "MISSING.txt").write_text("gone")
    config = params.typed(params.compose([], CONF).clean, CleanConfig, "clean")
    clean.run(corpora.get("esc50"), config, raw, tmp_path / "clean" / "esc50", tmp_path / "work")
    sheet, page = make(tmp_path, "esc50", tmp_path / "sheet")
    assert sheet.findings == [
        "There is no clip: the corpus could not be had, or every file of it was refused."
    ]
    assert sheet.findings[0] in page and "CC BY-NC 3.0" in page


@pytest.mark.parametrize(
    ("change", "key"),
    [({"max_clips": 0}, "max_clips"), ({"clip_run": 0}, "clip_run"), ({"clip_level": 1.5}, "1.5")],
)
def test_settings_out_of_range_are_named(change, key, world, tmp_path):
    with pytest.raises(ConfigError, match=f"datasheet.*{key}"):
        make(world, "esc50", tmp_path / "sheet", replace(CONFIG, **change))
    assert not (tmp_path / "sheet").exists()


def test_a_category_cannot_break_the_page(world, tmp_path):
    shutil.copytree(world / "clean" / "esc50", tmp_path / "clean" / "esc50")
    file = tmp_path / "clean" / "esc50" / "clips.parquet"
    clips = pd.read_parquet(file)
    clips["category"] = "<script>alert(1)</script>"
    clips["path"] = [path.replace(str(world), str(tmp_path)) for path in clips["path"]]
    clips.to_parquet(file)
    assert "<script>" not in make(tmp_path, "esc50", tmp_path / "sheet")[1]


# Measures


def noise(seconds, gain=0.1, seed=1):
    rng = np.random.default_rng(seed)
    return (gain * rng.standard_normal(round(seconds * RATE_HZ))).clip(-0.9, 0.9)


def sound_of(tmp_path, wave):
    write_flac(tmp_path / "a.flac", wave.astype(np.float32))
    return measures.read_sound(tmp_path / "a.flac", 0.999, 3, -60.0)


@pytest.mark.parametrize(("run", "clipped"), [(2, False), (3, True), (40, True)])
@pytest.mark.parametrize("sign", [1, -1])
# At the start, over the border of two blocks, and at the end.
@pytest.mark.parametrize("at", [0, 30 * RATE_HZ - 1, 31 * RATE_HZ - 40])
def test_a_run_at_full_scale_clips(run, clipped, sign, at, tmp_path, monkeypatch):
    wave = noise(31)
    wave[at : at + run] = sign
    assert sound_of(tmp_path, wave).clipped == clipped


def test_full_scale_here_and_there_is_not_clipping(tmp_path):
    wave = noise(3)
    wave[::2] = 1.0
    assert not sound_of(tmp_path, wave).clipped


@pytest.mark.parametrize(
    ("seconds", "quiet", "expected"),
    [(3, (1, 2), (3, 1)), (0.2, (0, 1), (1, 1)), (2.6, (2, 3), (3, 1)), (2.4, (2, 3), (2, 0)),
     (61, (10, 45), (61, 35))],
)  # fmt: skip
def test_silent_seconds_are_counted_as_seconds_are_everywhere(seconds, quiet, expected, tmp_path):
    wave = noise(seconds)
    wave[quiet[0] * RATE_HZ : quiet[1] * RATE_HZ] *= 1e-3
    found = sound_of(tmp_path, wave)
    assert (found.n_seconds, found.n_silent) == expected


def test_runs_agree_with_a_slow_count():
    rng = np.random.default_rng(2)
    for _ in range(300):
        full = rng.random(rng.integers(1, 12)) < 0.6
        before = int(rng.integers(0, 4))
        longest = here = before
        for value in full:
            here = here + 1 if value else 0
            longest = max(longest, here)
        found = measures._runs(full, before)
        assert found[1] == here
        assert max(found[0], before) == longest


def rows(count, label="cry", **columns):
    return [
        {"clip_id": f"a/{label}{i}", "label": label, "split": "train"}
        | {key: value(i) for key, value in columns.items()}
        for i in range(count)
    ]


def test_a_number_that_tells_the_classes_apart_is_a_shortcut():
    clips = clip_rows(
        rows(10, bandwidth_hz=lambda i: 4000.0 + i, rms_dbfs=lambda i: -20.0 - i)
        + rows(30, "other", bandwidth_hz=lambda i: 8000.0 + i, rms_dbfs=lambda i: -20.0 - i % 10)
    )
    found = {one.column: one for one in measures.separations(clips)}
    assert found["bandwidth_hz"].auc == 1.0 and found["bandwidth_hz"].higher == "other"
    assert found["bandwidth_hz"].is_shortcut
    assert found["rms_dbfs"].auc == found["rate_hz"].auc == 0.5
    assert measures.separations(clips.iloc[:4]) == []


def test_the_draw_is_even_over_labels_and_a_longer_one_holds_the_shorter():
    clips = clip_rows(rows(40) + rows(5, "other"))
    chosen = measures.draw(clips, 12)
    assert chosen["label"].value_counts().to_dict() == {"cry": 7, "other": 5}
    assert set(chosen["clip_id"]) < set(measures.draw(clips, 20)["clip_id"])
    shuffled = clips.sample(frac=1, random_state=1).reset_index(drop=True)
    assert set(measures.draw(shuffled, 12)["clip_id"]) == set(chosen["clip_id"])
    assert len(measures.draw(clips, 1000)) == 45


def test_only_rates_and_durations_are_drawn_as_bars_with_their_values(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "inline_svg", lambda figure: drawn.append(figure.axes[0]))
    clips = clip_rows(
        rows(4, bandwidth_hz=lambda i: 7000.5 + i, rate_hz=lambda i: (8000, 16_000)[i % 2])
    )
    for quantity in measures.QUANTITIES:
        figures.histogram(clips, quantity)
    named = {
        quantity.column: [label.get_text() for label in axes.get_xticklabels()]
        for quantity, axes in zip(measures.QUANTITIES, drawn, strict=True)
    }
    assert named["rate_hz"] == ["8,000", "16,000"] and len(named["duration_s"]) == 1
    assert "7,000.5" not in named["bandwidth_hz"]


def test_hertz_are_told_without_decimals_and_copies_in_words(world, tmp_path):
    page = make(world, "esc50", tmp_path / "a")[1]
    assert "<td>44,100</td>" in page and "44,100.0" not in page
    assert re.search(r"of another one: \d+ \(baby_cry_detection \d+\)\. They form", page)
    assert "None: no clip is a copy of another one." in make(world, "icsd", tmp_path / "b")[1]


def test_fewer_clips_are_measured_where_that_is_asked(world, tmp_path):
    sheet, _ = make(world, "esc50", tmp_path / "sheet", replace(CONFIG, max_clips=4))
    assert [one.clips for one in sheet.sound] == [2, 2]


def test_typical_clips_are_nearest_to_the_median_level_and_of_other_recordings():
    levels = [-50.0, -40.0, -30.0, -29.0, -28.0, -20.0, -10.0]
    recordings = ["a", "b", "c", "d", "d", "e", "f"]
    clips = clip_rows(
        rows(7, rms_dbfs=levels.__getitem__, recording_id=recordings.__getitem__)
    ).sample(frac=1, random_state=3)
    chosen = measures.typical(clips, "cry", 3)
    assert chosen["rms_dbfs"].tolist() == [-29.0, -30.0, -40.0]
    assert len(measures.typical(clips, "cry", 50)) == 6


def test_a_spectrogram_shows_the_tone_that_is_there(tmp_path):
    time = np.arange(12 * RATE_HZ) / RATE_HZ
    write_flac(tmp_path / "a.flac", (0.5 * np.sin(2 * np.pi * 3000 * time)).astype(np.float32))
    wave = head(tmp_path / "a.flac")
    assert len(wave) == 10 * RATE_HZ
    level_db = spectrum_db(wave)
    assert level_db.max() == pytest.approx(0) and level_db.min() == pytest.approx(-80)
    assert (level_db.argmax(axis=0) == 3000 * 512 / RATE_HZ).all()
    assert spectrum_db(np.zeros(10, dtype=np.float32)).max() == pytest.approx(-80)
