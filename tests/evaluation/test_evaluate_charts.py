"""Charts of stage ``evaluate``: the test part, decided by the validation part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from crywatch.data.selection import sounds
from crywatch.data.tables import read_table
from crywatch.data.tables.evaluation import MEASURED
from crywatch.evaluation.evaluate.detection import charts as stage_charts
from crywatch.evaluation.evaluate.detection.charts import NAMES, SHOWN
from crywatch.evaluation.evaluate.detection.figures import (
    confusion_figure,
    det_figure,
    histogram_figure,
)
from crywatch.evaluation.evaluate.detection.measures import MAIN_MODELS
from crywatch.evaluation.evaluate.detection.seconds import thresholds
from tests.helpers.compare_cases import THRESHOLD, clips, seconds, summary, write_source

ROOT = Path(__file__).parents[2]
MODELS = {"robust/robust": 1.0, "blazenet/all_1s": 0.5, "blazenet/other": 0.2}
MAIN = ["blazenet/all_1s", "robust/robust"]
TABLE_OF_CLIPS = clips(groups=5)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    told = seconds(TABLE_OF_CLIPS, MODELS)
    source = write_source(folder, TABLE_OF_CLIPS)
    return source, summary(TABLE_OF_CLIPS, told)


@pytest.fixture(scope="module")
def charts(world, tmp_path_factory):
    source, told = world
    out = tmp_path_factory.mktemp("charts")
    return write(told, source, out), out


def write(told, source, out: Path) -> dict[str, float]:
    table = sounds([source.clips])
    paths = dict(zip(table["clip_id"], table["path"], strict=True))
    return stage_charts.write(told.rows, told.measured, paths, THRESHOLD, out)


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / "charts" / f"{name}.csv")


def of_model(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    return frame[frame["model"] == model]


def test_all_files_are_there(charts):
    _, out = charts
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    expected = {f"charts/{name}.csv" for name in NAMES} | {"measured.parquet", "roc.csv", "pr.csv"}
    assert files == expected | {f"charts/worst/{m.replace('/', '_')}.png" for m in MAIN}
    for name, columns in NAMES.items():
        assert tuple(table(out, name).columns) == columns
    assert set(read_table(out / "measured.parquet", MEASURED)["model"]) == set(MODELS)


def test_curves_are_of_the_main_models_and_their_areas_are_the_metrics(world, charts):
    _, told = world
    _, out = charts
    for model in MAIN:
        (row,) = [
            r
            for r in told.rows
            if (r.model, r.scope, r.unit, r.part) == (model, "pooled", "second", "test")
        ]
        roc, pr, det = (of_model(table(out, name), model) for name in ("roc", "pr", "det"))
        assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(row.metrics.auc, abs=1e-3)
        area = np.trapezoid(1 - det["miss"], det["false_alarm"])
        assert area == pytest.approx(row.metrics.auc, abs=1e-3)
        assert (det["false_alarm"].iloc[0], det["miss"].iloc[0]) == (0, 1)
        assert pr["recall"].max() == 1
    assert set(table(out, "roc")["model"]) == set(MAIN)


def test_histograms_count_every_second_of_the_test_part_once(charts):
    _, out = charts
    found = table(out, "histograms").groupby(["model", "label"])[["seconds", "share"]].sum()
    # Two corpora, five recordings of two clips of three seconds.
    assert (found["seconds"] == 2 * 5 * 2 * 3).all() and len(found) == 4
    assert found["share"].to_numpy() == pytest.approx(1, abs=1e-4)


def test_confusion_is_at_the_threshold_of_the_validation_part(world, charts):
    _, told = world
    _, out = charts
    known = told.measured
    chosen = thresholds(known)
    found = table(out, "confusion").set_index(["model", "corpus", "label", "called"])
    assert len(found) == 2 * 2 * 4
    test = known[known["split"] == "test"]
    for model in MAIN:
        for corpus in "ab":
            mine = test[(test["model"] == model) & (test["corpus"] == corpus)]
            missed = (mine["is_cry"] & (mine["score"] < chosen[model])).sum()
            assert found.loc[(model, corpus, "cry", "other"), "seconds"] == missed
    assert (found.groupby(level=[0, 1])["seconds"].sum() == 60).all()


def test_confusion_of_a_corpus_has_its_duplicates_and_nothing_that_was_made(tmp_path):
    frame = clips(groups=5, corpora=("a", "soundscapes"))
    copies = frame.assign(canonical=frame["clip_id"] != "a/test-cry-0x")
    copied = write_source(tmp_path / "sounds", copies)
    made = summary(copies, seconds(copies, {"robust/robust": 1.0}))
    write(made, copied, tmp_path)
    found = table(tmp_path, "confusion")
    assert set(found["corpus"]) == {"a"} and found["seconds"].sum() == 60
    assert table(tmp_path, "histograms")["seconds"].sum() == 57  # pooled: canonical alone


def test_worst_cases_are_the_worst_audible_seconds_one_a_clip(world, charts):
    _, told = world
    _, out = charts
    worst = table(out, "worst")
    known = told.measured
    heard = known[(known["split"] == "test") & (known["start_s"] > 0)]  # the first is silent
    for model in MAIN:
        mine = heard[heard["model"] == model]
        for kind, cry in (("miss", True), ("false alarm", False)):
            found = worst[(worst["model"] == model) & (worst["kind"] == kind)]
            extremes = mine[mine["is_cry"] == cry].groupby("clip_id")["score"]
            expected = extremes.min().nsmallest(SHOWN) if cry else extremes.max().nlargest(SHOWN)
            assert found["clip_id"].tolist() == expected.index.tolist()
            assert found["score"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6)
            assert found["rank"].tolist() == list(range(1, SHOWN + 1))
            assert (found["wrong"] == ((found["score"] >= found["threshold"]) != cry)).all()


def test_the_same_scores_and_sounds_give_the_same_bytes(world, charts, tmp_path):
    source, told = world
    metrics, out = charts
    assert write(told, source, tmp_path) == metrics
    for path in [p for p in out.rglob("*") if p.is_file()]:
        assert path.read_bytes() == (tmp_path / path.relative_to(out)).read_bytes(), path.name


def test_without_main_models_the_charts_are_empty_and_can_be_drawn(world, tmp_path):
    source, _ = world
    told = summary(TABLE_OF_CLIPS, seconds(TABLE_OF_CLIPS, {"miner/m": 1.0}))
    assert write(told, source, tmp_path) == {}
    drawn = {"det": det_figure, "histograms": histogram_figure, "confusion": confusion_figure}
    for name, draw in drawn.items():
        assert table(tmp_path, name).empty
        assert draw(table(tmp_path, name)) is not None


def test_figures_have_a_line_or_a_panel_a_model(charts):
    _, out = charts
    (axes,) = det_figure(table(out, "det")).axes
    assert [line.get_label() for line in axes.lines][:2] == MAIN
    panels = histogram_figure(table(out, "histograms")).axes
    assert [axes.get_title() for axes in panels] == MAIN
    assert len(confusion_figure(table(out, "confusion")).axes) == 4


# DVC


@pytest.mark.parametrize("name", ["roc", "pr", "det", "histograms", "confusion"])
def test_dvc_draws_each_table_by_its_template(charts, name):
    from dvc_render.vega import VegaRenderer

    _, out = charts
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    bodies = [body for plot in plots if isinstance(plot, dict) for body in plot.values()]
    file = f"data/evaluate/detection/charts/{name}.csv"
    (plot,) = [body for body in bodies if file in body["y"]]
    points = table(out, name).assign(rev="workspace").to_dict("records")
    renderer = VegaRenderer(
        points,
        name,
        x=plot["x"],
        y=plot["y"][file],
        template=plot["template"],
        template_dir=ROOT / ".dvc/plots",
    )
    content = renderer.get_filled_template()
    assert content["data"]["values"] == points
    assert "<DVC" not in str(content)
    encoding = content.get("spec", content)["encoding"]
    fields = {channel.get("field") for channel in encoding.values()}
    assert {plot["x"], plot["y"][file], "rev"} <= fields <= {*points[0], None}


def test_dvc_shows_the_pictures_as_files(charts):
    from dvc_render import ImageRenderer

    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    bodies = {name: body for plot in plots for name, body in plot.items()}
    pictures = {name for name in bodies if ImageRenderer.matches(name, None)}
    assert all(list(bodies[name]["y"]) == [name] for name in pictures)
    folder = Path("data/evaluate/detection/charts/worst")
    main = {f"{model.replace('/', '_')}.png" for model in MAIN_MODELS}
    assert {folder / name for name in main} - set(map(Path, pictures)) == {
        folder / "rtfm_untrimmed.png"  # which not every profile trains
    }
    assert {Path(name).name for name in pictures} <= main
