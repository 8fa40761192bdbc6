"""Stage ``report``: the paper's figures beside the measured ones, in pages that stand alone."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crywatch import corpora
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import write_flac
from crywatch.audio.waves.levels import SILENCE_DBFS
from crywatch.core import charts, params, paths
from crywatch.core.atomic import write_json, write_text
from crywatch.core.errors import TableError
from crywatch.corpora.shared.ledger import FILE as LEDGER
from crywatch.corpora.shared.ledger import Gone, write_ledger
from crywatch.data import clean
from crywatch.data.clean import CleanConfig
from crywatch.data.datasheet import DatasheetConfig
from crywatch.data.tables import conform, write_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.report import (
    CorpusInputs,
    DetectionInputs,
    ReportConfig,
    ReportInputs,
    detection,
    run,
    tables,
)
from crywatch.report.decision_tables import event_tables
from crywatch.report.detection import Results, detection_page
from crywatch.report.pages import ReportOrigin, render
from crywatch.report.tables import Table
from tests.helpers.report_cases import (
    DECISIONS,
    comparison_folder,
    exported_folder,
    infants_inputs,
    shortcuts_folder,
)
from tests.helpers.split_cases import cry_like, noise, row

ROOT = Path(__file__).parents[2]
CONFIG = ReportConfig(
    title="Cries & <others>",
    infants_title="Infants",
    shortcuts_title="Why",
    comparison_title="All",
    results_title="Results",
    results=["a/b"],
    datasheet=DatasheetConfig(10, clip_level=0.999, clip_run=3, silent_dbfs=-60.0, spectrograms=1),
)
ORIGIN = ReportOrigin(profile="demo", source="generated", commit="0123456789ab")


def measured(model: str, scope: str, unit: str, part: str, **values) -> dict:
    """A row of tables.json; what is not given was not defined."""
    names = ("accuracy", "precision", "recall", "false_alarm_rate", "auc", "average_precision")
    names += ("recall_at_1pct", "f1_max", "f1_threshold", "f1_accuracy")
    head = {"model": model, "scope": scope, "unit": unit, "part": part, "n": 40, "n_cry": 12}
    head |= {"cry_groups": 3, "other_groups": 1}
    return head | dict.fromkeys(names) | values


EVENTS = [
    {
        "model": "blazenet/all_1s",
        "scope": "soundscapes",
        "part": "test",
        "threshold_from": "validation",
        "recordings": 30,
        "hours": 0.1,
        "events": 17,
        "threshold": 0.62,
        "event_f1": 0.25,
        "intersection_f1": 0.5,
        "psds1": 0.4,
        "psds2": 0.75,
        "false_alarms_per_hour": 12.34,
        "found": 0.8,
        "latency_s": 1.25,
        "latency_p90_s": None,
    }
]
ROWS = [
    measured("blazenet/all_1s", "pooled", "second", "val", accuracy=0.81111),
    measured("blazenet/all_1s", "pooled", "second", "test", accuracy=0.82222, auc=0.93333),
    measured("blazenet/all_1s", "pooled", "clip", "test", auc=0.94444),
    measured("blazenet/all_1s", "esc50", "second", "test", average_precision=0.75555),
    measured("rtfm/trimmed", "pooled", "second", "test", f1_max=0.86666, f1_threshold=0.97777),
    measured("blazenet/no_esc50", "esc50, left out", "clip", "all", auc=0.71111),
    measured("miner/trimmed", "esc50", "second", "test", average_precision=0.65555),
]


def split_row(folder: Path, clip_id: str, wave: np.ndarray, **columns) -> dict:
    given = {"cluster_id": None, "canonical": True, "group_id": clip_id, "split": "test"}
    return row(folder, clip_id, wave, **(given | columns))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> DetectionInputs:
    folder = tmp_path_factory.mktemp("inputs")
    rows = [
        split_row(folder, f"esc50/cry-{n}", cry_like(n, 2.0), label="cry", split="train")
        for n in range(2)
    ]
    rows += [split_row(folder, f"esc50/other-{n}", noise(n, 3.0)) for n in range(3)]
    rows.append(split_row(folder, "baby_cry_detection/copy", cry_like(0), label="cry"))
    rows[-1]["canonical"] = False
    rows.append(split_row(folder, "donateacry/cry", cry_like(5), label="cry"))
    rows.append(split_row(folder, "donateacry/raw", cry_like(6), label="unknown"))
    write_table(conform(pd.DataFrame(rows), SPLIT_CLIPS), folder / "clips.parquet", SPLIT_CLIPS)
    joined = [split_row(folder, "untrimmed/test-0", noise(9, 4.0))]
    joined = conform(pd.DataFrame(joined), SPLIT_CLIPS)
    write_table(joined, folder / "untrimmed.parquet", SPLIT_CLIPS)
    (folder / "split.csv").write_text("corpus,label,split,clips\nesc50,cry,train,2\n")
    mine = folder / "mine" / "untrimmed"
    write_json(mine / "metrics.json", {"precision": 0.875, "chance": 0.25})
    for dataset, name in (("trimmed", "logmel"), ("untrimmed", "vggish")):
        write_json(folder / "mine" / dataset / "model.json", {"embedder": {"name": name}})
    write_json(folder / "evaluation" / "tables.json", ROWS)
    write_json(folder / "evaluation" / "events.json", EVENTS)
    write_json(folder / "calibrate" / "tables.json", DECISIONS)
    curve = pd.DataFrame({"model": "blazenet/all_1s", "fpr": [0, 0.2, 1], "tpr": [0, 0.9, 1]})
    curve.to_csv(folder / "evaluation" / "roc.csv", index=False)
    pd.DataFrame(columns=["model", "recall", "precision"]).to_csv(
        folder / "evaluation" / "pr.csv", index=False
    )
    return DetectionInputs(
        clips=folder / "clips.parquet",
        split_table=folder / "split.csv",
        untrimmed_clips=folder / "untrimmed.parquet",
        soundscapes_clips=folder / "untrimmed.parquet",
        mine=folder / "mine",
        evaluation=folder / "evaluation",
        decisions=[folder / "calibrate"],
        exported=exported_folder(folder / "export"),
    )


@pytest.fixture
def all_inputs(inputs, tmp_path, monkeypatch) -> ReportInputs:
    """Of the second half only what this stage reads itself; the tables have tests of their own."""
    folder = tmp_path / "stages"
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "MISSING.txt").write_text("gone")
    config = params.section("clean", CleanConfig, ROOT / "params.yaml")
    esc50 = corpora.get("esc50")
    clean.run(esc50, config, folder / "raw", folder / "clean", folder / "work")
    return ReportInputs(
        corpora=[CorpusInputs(esc50, folder / "raw", folder / "clean", generated=True)],
        split=folder / "split",
        split_infants=folder / "split_infants",
        detection=inputs,
        infants=infants_inputs(folder, monkeypatch),
        shortcuts=shortcuts_folder(folder / "shortcuts"),
        systems=comparison_folder(folder / "comparison"),
    )


@pytest.fixture(scope="module")
def report(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    note = "cryceleb could not be had: no token. Set HF_TOKEN\n"
    write_text(folder / "raw" / "cryceleb" / paths.MISSING_NOTE, note)
    gone = [Gone(f"{n}", "private" if n else "removed", "gone", "2026-01-31") for n in range(3)]
    (folder / "raw" / "audioset").mkdir()
    write_ledger(folder / "raw" / "audioset" / LEDGER, gone)
    yields = "class,wanted,had,failed,gone\nbalanced cat,4,1,0,3\nall,6,1,2,3\n"
    write_text(folder / "raw" / "audioset" / "yield.csv", yields)
    counts = {"cryceleb": (0, 0, 0), "audioset": (1, 10, 0), "esc50": (2, 7200, 2)}
    for name, (clips, seconds, refused) in counts.items():
        summary = {"n_clips": clips, "seconds": float(seconds), "n_quarantined": refused}
        write_json(folder / "clean" / name / "summary.json", summary)
    came = [
        CorpusInputs(corpora.get(n), folder / "raw" / n, folder / "clean" / n, generated=False)
        for n in counts
    ]
    return detection_page(inputs, came, CONFIG.title, ORIGIN)


def table(report, start: str) -> Table:
    (found,) = [t for t in report.tables if t.title.startswith(start)]
    return found


def cells(found: Table, first: str) -> dict[str, str]:
    """The row that starts with ``first``, by column."""
    (line,) = [line for line in found.rows if line[0] == first]
    return dict(zip(found.columns, line, strict=True))


# Tables


def test_events_have_a_table_a_scope(report):
    found = table(report, "Events: soundscapes")
    assert found.title.endswith("17 cries in 30 recordings, 360 s together")
    line = cells(found, "blazenet/all_1s")
    assert (line["threshold"], line["event F1"], line["PSDS2"]) == ("0.62 (val)", "0.250", "0.750")
    assert (line["false alarms an hour"], line["latency, median"]) == ("12.3", "1.2 s")
    assert line["latency, 90 %"] == "n/a"


@pytest.mark.parametrize(
    ("value", "text"),
    [(4.76e-05, "4.8e-05"), (0.994, "0.99"), (0.99654, "1 - 0.0035"), (0.999973, "1 - 2.7e-05")],
)
def test_a_threshold_below_1_is_never_printed_as_1(value, text):
    (found,) = event_tables([EVENTS[0] | {"threshold": value, "threshold_from": "fixed"}])
    assert found.rows[0][1] == text


def test_every_table_of_the_paper_is_there(report):
    starts = ["Corpora", "Table 2", "Split", "Table 3", "Table 4", "Table 5", "Table 6"]
    titles = [t.title for t in report.tables]
    assert [t[: len(s)] for s, t in zip(starts, titles, strict=False)] == starts
    for found in report.tables:
        for line in found.rows:
            assert len(line) == len(found.columns), found.title
            assert all(isinstance(cell, str) and cell for cell in line), found.title
            assert not {"nan", "None"} & set(line), found.title


def test_what_came_of_each_corpus_what_did_not_and_what_to_do(report):
    found = table(report, "Corpora: what came")
    lines = {name: cells(found, name) for name in ("cryceleb", "audioset", "esc50")}
    assert [line["came"] for line in lines.values()] == ["nothing", "in part", "all"]
    what = [line["what is missing, and what to do"] for line in lines.values()]
    again = "; then `dvc repro -f -s download@cryceleb` and `crywatch repro`"
    assert what[0] == f"no token. Set HF_TOKEN{again}"
    assert what[1].startswith("gone for good: private 2, removed 1; 2 failed: `dvc repro -f -s ")
    assert what[2] == "2 files refused: data/clean/esc50/quarantine.parquet says why"
    esc50, videos = lines["esc50"], lines["audioset"]
    assert (esc50["clips"], esc50["hours"], esc50["files refused"]) == ("2", "2.00", "2")
    assert (videos["clips gone"], videos["failed"]) == ("3", "2")
    assert esc50["licence"] == corpora.get("esc50").licence


def test_what_was_exported_stands_beside_torch(report):
    found = table(report, "Devices: the files of robust")
    (onnx, golden), (whole,) = (
        [dict(zip(found.columns, line, strict=True)) for line in found.rows if line[0] == name]
        for name in ("onnx", "int8")
    )
    assert (onnx["sound"], onnx["seconds"], golden["seconds"]) == ("test", "300", "9")
    assert (onnx["logits within"], onnx["torch's"]) == ("3e-06", "0.9070")
    columns = ("AUC", "decided otherwise", "arena")
    assert [golden[name] for name in columns] == ["n/a"] * 3
    costs = [row["multiply-adds"] for row in (onnx, whole)]
    assert costs == ["24.0 million", "6.1 million"]  # C makes the picture of whole numbers
    assert (onnx["bytes"], whole["bytes"]) == ("1,483,574", "167,400")
    assert whole["decided otherwise"] == "0.51 %"
    assert whole["arena"] == "121,696"


def test_sources_are_measured(report):
    found = cells(table(report, "Table 2"), "esc50")
    assert found["paper"] == "5 s; 40 cry, 1960 other; clean"
    assert found["cleaned"] == "2 cry, 3 other"
    assert found["lengths (5 to 95 %)"] == "2.0 to 3.0 s"
    assert (found["unlabelled"], found["duplicates"], found["refused"]) == ("0", "0", "2")
    assert found["seconds"] == "13"
    assert cells(table(report, "Table 2"), "donateacry")["unlabelled"] == "1"
    assert cells(table(report, "Table 2"), "baby_cry_detection")["duplicates"] == "1"


def test_the_papers_sources_stand_there_where_the_corpus_does_not(report):
    found = cells(table(report, "Table 2"), "audioset")
    assert found["paper"] == "untrimmed; 1364 cry, a lot of others; noisy"
    assert found["cleaned"] == found["seconds"] == "n/a"
    names = [line[0] for line in table(report, "Table 2").rows]
    assert names == sorted(set(names))


def test_a_network_on_an_embedder_is_called_by_what_ran(report):
    lines = table(report, "Table 3").rows
    assert [line[0] for line in lines] == [
        "log-mel stand-in, 5 s audios",
        "VGGish, untrimmed audios",
    ]
    found = table(report, "Average precision per second")
    assert cells(found, "log-mel stand-in, trimmed")["esc50"] == "0.656"
    assert "miner/trimmed" not in str(report.tables)


def test_a_corpus_without_any_label_has_no_numbers(inputs, tmp_path):
    line = split_row(tmp_path, "donateacry/raw", cry_like(6), label="unknown")
    clips = conform(pd.DataFrame([line]), SPLIT_CLIPS)
    found = cells(detection.sources(clips, {}), "donateacry")
    assert "nan" not in " ".join(found.values())
    assert found["unlabelled"] == "1"


def test_background_is_the_level_of_the_quiet_frames(tmp_path):
    rng = np.random.default_rng(4)
    wave = (0.001 * rng.standard_normal(4 * RATE_HZ)).astype(np.float32)  # -60 dBFS
    wave[RATE_HZ : 3 * RATE_HZ] += 0.3  # half of it is loud
    write_flac(tmp_path / "wave.flac", wave)
    write_flac(tmp_path / "silence.flac", np.zeros(RATE_HZ, dtype=np.float32))
    assert detection.background_dbfs([str(tmp_path / "wave.flac")]) == pytest.approx(-60, abs=1.0)
    assert detection.background_dbfs([str(tmp_path / "silence.flac")]) == SILENCE_DBFS


def test_the_papers_figures_stand_beside_the_measured_ones(report):
    assert cells(table(report, "Table 4"), "All 1 s segments, our reading") == {
        "data set": "All 1 s segments, our reading",
        "paper, val": "0.8868",
        "here, val": "0.8111",
        "paper, test": "0.8820",
        "here, test": "0.8222",
        "AUC, test": "0.9333",
        "AP, test": "n/a",
    }
    # Both readings stand beside the same figures; the other was not evaluated.
    other = cells(table(report, "Table 4"), "All 1 s segments, the authors' code")
    assert (other["paper, test"], other["here, test"]) == ("0.8820", "n/a")
    found = cells(table(report, "Table 6"), "Anomaly, 5 s audios")
    assert (found["paper, F1-max"], found["here, F1-max"]) == ("0.9241", "0.8667")
    assert (found["threshold"], found["here, accuracy"]) == ("0.9778", "n/a")
    # A model that was not evaluated.
    assert table(report, "Table 5").rows[0][1:3] == ["0.9457", "n/a"]


def test_accuracies_say_what_a_constant_answer_has(report):
    note = table(report, "Table 4").note
    assert "40 seconds, 12 of them cry" in note and "accuracy of 0.7000" in note
    assert table(report, "Table 3").note == ""  # not measured


def test_scopes_are_columns(report):
    found = table(report, "Average precision per second")
    assert found.columns == ["model", "pooled", "esc50"]
    assert cells(found, "blazenet/all_1s")["esc50"] == "0.756"
    assert cells(found, "rtfm/trimmed")["esc50"] == "n/a"
    assert cells(table(report, "AUC per clip"), "blazenet/all_1s")["pooled"] == "0.944"


def test_corpora_left_out_say_how_many(report):
    found = cells(table(report, "Corpora left out"), "blazenet/no_esc50")
    assert (found["measured on"], found["unit"]) == ("esc50, left out", "clip")
    assert (found["cries of all"], found["AUC"], found["AP"]) == ("12 of 40", "0.711", "n/a")
    assert found["groups, cry / other"] == "3 / 1"
    note = table(report, "Corpora left out").note
    assert "fewer than two groups" in note and "too narrow" in note
    assert "Untrimmed recordings share clips" in note and "soundscapes too" in note


def test_mining(report):
    assert [line[1] for line in table(report, "Mining").rows] == ["0.875", "0.250"]


@pytest.mark.parametrize(
    "value, text", [(None, "n/a"), (float("nan"), "n/a"), (0.12345, "0.123"), (1, "1.000")]
)
def test_numbers(value, text):
    assert tables.number(value) == text


def test_an_interval_stands_beside_its_number():
    row = {"auc": 0.9, "auc_low": 0.8125, "auc_high": 0.95, "average_precision": None}
    assert tables.interval("auc")(row) == "0.900 (0.812 to 0.950)"
    assert tables.interval("average_precision")(row) == "n/a"


def test_results_of_nothing():
    results = Results([])
    assert (results.get("m", "auc"), results.models(), results.scopes("test")) == (None, [], [])
    assert detection.best_f1(results).rows[0][2] == "n/a"


def test_models_of_the_papers_tables_are_trained():
    config = params.compose(["profile=paper"], ROOT / "conf")
    names = {f"miner/{name}" for name in config.mine.datasets}
    for family in ("blazenet", "rtfm"):
        names |= {f"{family}/{name}" for name in config[f"train_{family}"].variants}
    lines = (*detection.TABLE3, *detection.TABLE4, *detection.TABLE5, *detection.TABLE6)
    assert {line[1] for line in lines} <= names
    assert set(charts.NAMES) <= names


# Pages


class Page(HTMLParser):
    """Tags that are left open, the text, and every address."""

    VOID = {"meta", "img"}

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self.tables = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tables += tag == "table"
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_stands_alone(report):
    html = render("detection.html", report)
    page = Page(html)
    assert page.open == []
    assert page.tables == len(report.tables)
    assert len(page.addresses) == 3
    assert all(a.startswith("data:image/svg+xml;base64,") for a in page.addresses)
    assert "http" not in html.replace("http-equiv", "") and "<script" not in html
    assert "Cries & <others>" in page.text
    assert "Cries &amp; &lt;others&gt;" in html
    assert "Profile demo, commit 0123456789ab, 7 labelled clips" in page.text
    assert "1 untrimmed recordings" in page.text


def test_markdown_tables_are_tables(report):
    text = render("detection.md", report)
    assert text.startswith("# Cries & <others>\n")
    for found in report.tables:
        section = text.split(f"## {found.title}\n")[1].split("\n## ")[0]
        lines = [line for line in section.splitlines() if line.startswith("|")]
        assert len(lines) == 2 + len(found.rows)
        assert lines[1] == "|" + "---|" * len(found.columns)
        assert {line.count("|") for line in lines} == {len(found.columns) + 1}
        # One block: a blank line would end the table.
        assert "\n".join(lines) in section
        if found.note:
            assert section.rstrip().endswith(f"|\n\n{found.note}")
    assert "\n\n\n\n" not in text


@pytest.mark.parametrize("name", ["detection.html", "detection.md"])
def test_generated_sounds_are_called_generated(report, name):
    assert "Generated sounds." in render(name, report)
    # By the sounds, not by the profile: -S profile=local -S data=generated is generated too.
    local = replace(ORIGIN, profile="local")
    assert "Generated sounds." in render(name, replace(report, origin=local))
    real = replace(local, source="mirror")
    assert "enerated" not in render(name, replace(report, origin=real))


@pytest.mark.parametrize("name", ["detection.html", "detection.md"])
def test_pages_say_how_to_read_them_and_what_is_not_committed(report, name):
    text = render(name, report)
    assert "Pooled numbers mostly tell corpora apart" in text
    assert "uncommitted" not in text
    changed = replace(report, origin=replace(ORIGIN, dirty=True))
    assert "commit 0123456789ab with uncommitted changes," in render(name, changed)


def test_no_commit_no_clips_nothing_measured(report):
    bare = replace(
        report, origin=replace(ORIGIN, commit=""), tables=[], figures={}, n_clips=0, n_seconds=0.0
    )
    for name in ("detection.html", "detection.md"):
        text = render(name, bare)
        assert "commit n/a, 0 labelled clips" in text
        assert "None" not in text


def test_the_same_inputs_give_the_same_bytes(all_inputs, tmp_path):
    for name in ("one", "two"):
        run(all_inputs, CONFIG, ORIGIN, tmp_path / name)
    found = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    files = sorted(path.relative_to(tmp_path / "one").as_posix() for path in found)
    pages = ("comparison", "detection", "infants", "results", "shortcuts")
    sheet = [f"datasheets/esc50/{name}" for name in ("index.html", "measures.json")]
    assert files == sorted([f"{page}.{end}" for page in pages for end in ("html", "md")] + sheet)
    for name in files:
        text = (tmp_path / "one" / name).read_bytes()
        assert text == (tmp_path / "two" / name).read_bytes()
        assert not re.search(rb"20[0-9]{2}-[0-9]{2}-[0-9]{2}", text)


def test_every_corpus_has_a_datasheet(all_inputs, tmp_path):
    (sheet,) = run(all_inputs, CONFIG, ORIGIN, tmp_path / "out")
    page = (tmp_path / "out" / "datasheets" / "esc50" / "index.html").read_text()
    assert sheet.corpus.name == "esc50" and sheet.corpus.licence in page
    assert "Generated sounds" in page and sheet.findings[0] in page


def test_a_missing_table_is_named_and_the_old_report_stays(inputs, all_inputs, tmp_path):
    run(all_inputs, CONFIG, ORIGIN, tmp_path / "out")
    before = (tmp_path / "out" / "detection.md").read_bytes()
    with pytest.raises(TableError, match=r"gone\.parquet is missing"):
        broken = replace(inputs, clips=tmp_path / "gone.parquet")
        run(replace(all_inputs, detection=broken), CONFIG, ORIGIN, tmp_path / "out")
    assert (tmp_path / "out" / "detection.md").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "stages"]


# Figures


def test_curves_have_a_line_a_model(inputs):
    (axes,) = charts.curve_figure(inputs.evaluation / "roc.csv", "fpr", "tpr").axes
    assert [line.get_label() for line in axes.lines] == ["BlazeNet, all seconds"]
    assert axes.lines[0].get_ydata().tolist() == [0, 0.9, 1]
    (axes,) = charts.curve_figure(inputs.evaluation / "pr.csv", "recall", "precision").axes
    assert len(axes.lines) == 0
    assert axes.get_xlabel() == "recall"


@pytest.mark.filterwarnings("error")
def test_scores_have_a_histogram_a_model():
    rng = np.random.default_rng(5)
    seconds = pd.DataFrame({"model": "rtfm/trimmed", "score": rng.random(50), "is_cry": True})
    figure = charts.score_figure(seconds)
    assert [axes.get_title() for axes in figure.axes] == list(charts.NAMES.values())
    assert "validation and test" in figure.get_suptitle()  # says on what
    heights = [sum(patch.get_height() for patch in axes.patches) for axes in figure.axes]
    assert heights == [0, 50, 0]
    assert charts.inline_svg(figure) == charts.inline_svg(charts.score_figure(seconds))
