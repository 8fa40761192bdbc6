"""What a rebuild is called, and what its row and its page say."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from crywatch import tracking
from crywatch.tracking import describe, parent
from tests.helpers.tracking_cases import made, rebuild, runs, stage, write_lock

pytest_plugins = ["tests.helpers.tracking_fixtures"]
ROOT = Path(__file__).resolve().parents[2]


def test_a_name_lists_a_few_changes_before_profile_and_commit():
    changed = {f"p{i}": ("0", "x" * 40 if i else "1") for i in range(4)}
    name = describe.name(["demo", "", "f4de4d4+"], changed, 0)
    assert name.startswith(f"p0=1, p1={'x' * describe.LONGEST}…, 2 more, demo f4de4d4+, ")
    assert describe.name(["demo"], {}, 0).startswith("demo, 1 Jan 0")


def test_changes_tell_what_was_added_and_removed():
    changed = describe.changes({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "4"})
    assert changed == {"b": ("2", "9"), "c": ("3", "(none)"), "d": ("(none)", "4")}
    assert describe.changed_line(changed) == "b: 2 → 9; c: 3 → (none); d: (none) → 4"
    assert describe.changed_line({}) == "nothing"
    assert describe.changes({"tracking.uri": "a"}, {"tracking.uri": "b"}) == {}


def test_a_stage_says_what_dvc_yaml_says_of_it(tmp_path):
    assert describe.stage_note("train_rtfm@trimmed", ROOT).startswith("The anomaly head")
    assert describe.stage_note("evaluate", ROOT) and describe.stage_note("no_such", ROOT) == ""
    (tmp_path / "dvc.yaml").write_text("stages: [")
    assert describe.stage_note("evaluate", tmp_path) == ""


def test_two_rebuilds_are_told_apart_by_what_was_changed(project, monkeypatch):
    write_lock({"split": ([], made("data/split", "a,b\n")), "clean": (["data/split"], {})})
    Path("data/split/metrics.json").write_text('{"clips": 396}')
    rebuild(monkeypatch, 1)
    with tracking.stage_run("split"):
        pass
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["mine"]["top_k"], values["clean"] = 3, {"rate_hz": 8000}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    rebuild(monkeypatch, 2)
    for name in ("clean", "report"):
        with tracking.stage_run(name):
            pass
    first, second = runs(**{parent.STAGE: "rebuild"})
    assert second.info.run_name.startswith("clean.rate_hz=8000, mine.top_k=3, tiny, ")
    assert "changed" not in first.data.tags
    assert second.data.tags["changed"] == "clean.rate_hz: 16000 → 8000; mine.top_k: 2 → 3"
    assert first.data.params["mine.top_k"] == "2" and second.data.params["mine.top_k"] == "3"
    assert first.data.params["many.p149"] == "149", "all of params.yaml, for MLflow to compare"
    [data] = second.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.source_type) == ("data/split", "dvc")
    assert json.loads(data.dataset.profile) == {"clips": 396}
    note = second.data.tags["mlflow.note.content"]
    assert f"[{first.info.run_name}](#/experiments/" in note
    assert "| mine.top_k | 2 | 3 |" in note
    assert f"{stage('report').info.run_id}/artifacts/report/detection.html" in note


def test_parameters_that_a_kill_left_out_come_with_the_next_stage(project, monkeypatch):
    rebuild(monkeypatch, 1)
    with monkeypatch.context() as broken:
        broken.setattr(parent, "log_params", lambda *given: None)
        with tracking.stage_run("split"):
            pass
        [found] = runs(**{parent.STAGE: "rebuild"})
    assert found.data.params == {}
    with tracking.stage_run("clean"):
        pass
    [found] = runs(**{parent.STAGE: "rebuild"})
    assert found.data.params["seed"] == "3"
