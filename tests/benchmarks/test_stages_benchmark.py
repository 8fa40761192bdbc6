"""The benchmark of stages, on three of them; how long they took is not asserted."""

from __future__ import annotations

import pytest

from benchmarks import stages
from crywatch.core.atomic import read_json
from tests.helpers.dvc_cases import CHAIN, make_project

pytest_plugins = ["tests.helpers.tracking_fixtures"]
pytestmark = pytest.mark.nightly


def test_every_stage_has_a_row_of_its_costs(tmp_path, new_project, capsys):
    project = make_project(tmp_path / "project", 0.2, new_project.folder / "mlflow.db")
    target = tmp_path / "stages.json"
    assert stages.main(["--project", str(project), "--json", str(target)]) == 0
    rows = read_json(target)["runs"]
    assert [row["stage"].partition("@")[0] for row in rows] == list(CHAIN)
    printed = capsys.readouterr().out
    for row in rows:
        assert f"| {row['stage']} |" in printed
        assert row["wall_s"] >= 0.2 and row["cpu_s"] > 0 and row["peak_mb"] > 1
        assert row["imports_s"] > 0 and row["dvc_s"] > 0
        assert 0 <= row["mlflow_s"] <= row["imports_s"]
        assert sum(row["heaviest"].values()) <= row["imports_s"] * 1.01


def test_a_rebuild_that_fails_is_an_error_with_its_output(tmp_path, new_project):
    project = make_project(tmp_path / "project", 0.0, new_project.folder / "mlflow.db")
    (project / "pipelines" / "second.py").write_text("raise ValueError('no sounds')\n")
    with pytest.raises(SystemExit, match="no sounds"):
        stages.measure(project)
