"""Stage ``timeline``: its files, numbers and tables of the report."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from crywatch.core import params
from crywatch.core.atomic import read_json, write_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import TableError
from crywatch.data.tables import read_table, write_table
from crywatch.data.tables.infants import BANDS, FOLLOWED
from crywatch.data.tables.timelines import TIMELINE, TIMELINE_SESSIONS
from crywatch.infants import gate, timeline
from crywatch.infants.evaluation.division import DivisionConfig
from crywatch.infants.follow import BANDS_TABLE
from crywatch.infants.follow import METRICS as FOLLOW_METRICS
from crywatch.infants.follow import TABLE as FOLLOWED_TABLE
from crywatch.infants.timeline.charts import timelines_figure
from crywatch.infants.timeline.config import TimelineConfig
from crywatch.infants.timeline.summary import STATUSES, by_urgency
from crywatch.report.timeline_tables import timeline_tables
from crywatch.speaker.cries.store import CryRow, write_cries
from tests.helpers.embedded_cases import embedding_info, recordings_table, write_store
from tests.helpers.infants_cases import conformal, models_config
from tests.helpers.timeline_cases import CONFIG, infant, together

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Followed infants, and cries of all their recordings; read only."""
    root = tmp_path_factory.mktemp("world")
    followed, bands = together(
        infant("changed", new=20, shift=3.0, shift_from=10, remark="planted pitch +20 %"),
        infant("calm", new=20, seed=4),
        infant("few $", baseline=5, new=4),
    )
    (root / "follow").mkdir()
    write_table(followed, root / "follow" / "followed.parquet", FOLLOWED)
    write_table(bands, root / "follow" / "bands.parquet", BANDS)
    rows = followed.assign(corpus="made", recording_id=followed["clip_id"], cluster_id=None)
    rows["category"] = rows["remark"].fillna("pain")
    write_cries(root / "cries", cries(rows.assign(split="test")))
    return root


def cries(recordings):
    """A cry of noise in each."""
    rng = np.random.default_rng(0)
    for clip in recordings.to_dict("records"):
        wave = 0.1 * rng.standard_normal(3000)
        yield CryRow(clip, 0.0, len(wave) / 16000, "detector", -20.0, wave)


def make(world, out, generated=("made",)):
    out.mkdir(parents=True)
    return timeline.draw(world / "follow", world / "cries", CONFIG, 1, generated, out)


def run_stage(folder):
    """The whole stage, of two infants that are followed first."""
    frame = recordings_table({"a": 24, "b": 24}, {"a": "test", "b": "val"})
    write_store(folder / "store", frame)
    write_cries(folder / "cries", cries(frame))
    digest = embedding_info().digest
    gate.save(folder / "gate", gate.BaselineGate(None, None, 0.02), {"digest": digest})
    return timeline.run(
        folder / "store",
        folder / "gate",
        folder / "cries",
        CONFIG,
        conformal(smoothed=True),
        DivisionConfig(0.5, 2, 4, 1),
        models_config(2),
        1,
        [],
        folder / "out",
    )


def test_the_stage_follows_infants_and_draws_them(tmp_path, monkeypatch):
    monkeypatch.setattr(CONFIG.follow, "model", "one_class_svm")
    followed, drawn = run_stage(tmp_path)
    out = tmp_path / "out"
    assert {row.infant_id for row in followed.rows} == {"a", "b"}
    assert [one.infant_id for one in drawn.timelines] == ["a", "b"]
    table = read_table(out / timeline.FOLLOW / FOLLOWED_TABLE, FOLLOWED)
    rows = read_table(out / timeline.TABLE, TIMELINE)
    assert len(table) == len(rows) == 48 and set(table["clip_id"]) == set(rows["clip_id"])
    assert read_table(out / timeline.FOLLOW / BANDS_TABLE, BANDS)["infant_id"].nunique() == 2
    assert len(read_json(out / timeline.FOLLOW / FOLLOW_METRICS)["rows"]) == 6
    assert read_json(out / timeline.METRICS) == drawn.as_metrics()


def test_the_stage_leaves_all_or_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(CONFIG.follow, "model", "one_class_svm")
    monkeypatch.setattr("crywatch.infants.timeline.write_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_stage(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"store", "gate", "cries"}


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "timeline"
    return make(world, out), out


def test_the_conf_fits_the_dataclass():
    composed = params.compose([], CONF)
    OmegaConf.resolve(composed)
    config = params.typed(composed.timeline, TimelineConfig, "timeline")
    assert config == CONFIG


def test_tables_hold_every_recording_and_session(world, made):
    _, out = made
    followed = read_table(world / "follow" / "followed.parquet", FOLLOWED)
    rows = read_table(out / timeline.TABLE, TIMELINE)
    assert sorted(rows["clip_id"]) == sorted(followed["clip_id"])
    sessions = read_table(out / timeline.SESSIONS, TIMELINE_SESSIONS)
    assert sessions["recordings"].sum() == len(rows)
    assert sessions.groupby("infant_id").size().to_dict() == {"calm": 40, "changed": 40, "few $": 9}


def test_numbers_are_those_of_the_tables(made):
    result, out = made
    metrics = read_json(out / timeline.METRICS)
    assert metrics == result.as_metrics()
    rows = pd.read_parquet(out / timeline.TABLE)
    judged = rows[(rows["phase"] == "new") & rows["promised"]]
    assert metrics["judged_recordings"] == len(judged) == 40
    assert metrics["marked_recordings"] == judged["alarm"].sum()
    assert metrics["marked_share"] == pytest.approx(judged["alarm"].mean(), abs=1e-6)
    assert metrics["marks_expected"] == pytest.approx(4.0)
    assert metrics["infants"] == 3 and metrics["infants_promised"] == 2
    assert metrics["remarks"] == metrics["remarks_passed"] == 1
    assert metrics["lasting_changes"] == 1 and metrics["lasting_changes_unremarked"] == 0
    assert 2 <= metrics["delay_sessions_median"] <= 5


def test_summaries_say_who_changed(made):
    result, out = made
    written = {one["infant_id"]: one for one in read_json(out / timeline.SUMMARY)}
    assert written["changed"]["status"] == "changed"
    assert written["calm"]["status"] == "as usual"
    assert written["calm"]["status_text"] == "As usual"
    assert written["few $"]["status"] == "nothing promised"
    assert written["few $"]["reason"] == "5 clips cannot reach 0.1"
    (remark,) = written["changed"]["remarks"]
    assert remark["remark"] == "planted pitch +20 %" and remark["recordings"] == 10
    assert remark["begin"] == "2025-04-30T08:00:00+00:00"
    order = [result.summaries[at].infant_id for at in by_urgency(result.summaries)]
    assert order == ["changed", "calm", "few $"]
    assert {one.status for one in result.summaries} <= set(STATUSES)


def test_equal_inputs_give_equal_folders(world, made, tmp_path):
    make(world, tmp_path / "again")
    assert files_sha256([tmp_path / "again"]) == files_sha256([made[1]])


def test_the_page_says_what_is_generated(world, made, tmp_path):
    assert timeline.GENERATED in (made[1] / timeline.PAGE).read_text()
    make(world, tmp_path / "real", generated=("other",))
    page = (tmp_path / "real" / timeline.PAGE).read_text()
    assert timeline.GENERATED not in page and timeline.PARTLY_GENERATED not in page
    assert timeline.notes_on({"a", "b"}, {"a"}) == [timeline.PARTLY_GENERATED]
    assert page.count("data:image/png;base64,") > 3


def test_tables_of_the_report(made, tmp_path):
    infants, remarks = timeline_tables(made[1])
    for table in (infants, remarks):
        assert all(len(row) == len(table.columns) for row in table.rows)
    by_infant = {row[0]: dict(zip(infants.columns, row, strict=True)) for row in infants.rows}
    assert list(by_infant) == ["changed", "calm", "few $"]
    assert by_infant["changed"]["lasting changes"] == "1"
    assert by_infant["calm"]["expected if unchanged"] == "2.0"
    assert by_infant["few $"]["marked"] == "not judged"
    assert by_infant["few $"]["promised rate"] == "none"
    assert [row[0] for row in remarks.rows] == ["planted pitch +20 %"]
    assert remarks.rows[0][4] == "1 of 1"
    summaries = read_json(made[1] / "summary.json")
    write_json(tmp_path / "bare" / "summary.json", [one | {"remarks": []} for one in summaries])
    assert [table.title for table in timeline_tables(tmp_path / "bare")] == ["Timelines"]
    with pytest.raises(TableError, match="run `dvc repro timeline`"):
        timeline_tables(tmp_path)


def test_the_figure_has_every_infant(made, tmp_path):
    result, _ = made
    figure = timelines_figure(result.timelines, result.summaries)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 3 and titles[0].startswith("changed: a lasting change")
    figure.savefig(tmp_path / "timelines.png")
    timelines_figure([], []).savefig(tmp_path / "none.png")
