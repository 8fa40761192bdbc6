"""Views of the page of runs: what is written, what is left alone, and what a browser shows."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys

import pytest
import yaml

from crywatch import tracking
from crywatch.tracking import store, views
from tests.helpers.tracking_cases import rebuild, runs

pytest_plugins = ["tests.helpers.tracking_fixtures"]
COLUMNS = ("robust/robust/auc", "verification/eer_across")


def saved() -> dict[str, dict]:
    """Id to view, as the experiment has them."""
    opened = store.open_store()
    tags = opened.client.get_experiment(opened.experiment_id).tags
    return {
        name.removeprefix(views.TAG): json.loads(text)
        for name, text in tags.items()
        if name.startswith(views.TAG)
    }


def test_views_are_written_once_as_mlflow_writes_them(project):
    opened = store.open_store()
    shown = views.save(opened, COLUMNS)
    first = saved()
    assert sorted(view["name"] for view in first.values()) == sorted(views.KINDS.values())
    assert set(first[shown]) == {"name", "createdAt", "updatedAt", "state"}
    state = json.loads(first[shown]["state"])
    assert state["searchFilter"] == "tags.`crywatch.stage` = 'rebuild'"
    assert "metrics.`robust/robust/auc`" in state["selectedColumns"]
    bars = [c["metricKey"] for c in state["compareRunCharts"] if c["type"] == "BAR"]
    assert tuple(bars) == COLUMNS
    assert views.save(opened, COLUMNS) == shown and saved() == first


def test_an_earlier_view_is_replaced_and_what_somebody_changed_is_left_alone(project):
    opened = store.open_store()
    earlier = views.save(opened, COLUMNS[:1])
    own = {"name": "Mine", "createdAt": 1, "updatedAt": 1, "state": "{}"}
    for name, view in (("17960516338mine", own), ("crywatch-rebuilds-0123456789ab", own)):
        opened.client.set_experiment_tag(
            opened.experiment_id, f"{views.TAG}{name}", json.dumps(view)
        )
    opened.client.set_experiment_tag(opened.experiment_id, f"{views.TAG}odd", "deflate;x")
    views.save(opened, COLUMNS)
    tags = opened.client.get_experiment(opened.experiment_id).tags
    left = {name.removeprefix(views.TAG) for name in tags if name.startswith(views.TAG)}
    assert earlier not in left
    assert {"17960516338mine", "crywatch-rebuilds-0123456789ab", "odd"} < left


@pytest.mark.nightly
def test_the_page_opens_with_the_view_and_without_an_assistant(project, monkeypatch):
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium: `apt-get install -y chromium` brings it")
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["tracking"]["columns"] = list(COLUMNS)
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    rebuild(monkeypatch, 1)
    with tracking.stage_run("split") as log:
        log.headline({COLUMNS[0]: 0.9125, "other/auc": 0.5})
    [made] = runs(**{"crywatch.stage": "rebuild"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from crywatch import tracking; tracking.ui({port})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-3, text=True) as server:
        try:
            address = next(line for line in server.stdout if line.startswith("crywatch: http"))
            with playwright.sync_playwright() as started:
                chromium = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
                page = chromium.new_page(viewport={"width": 1400, "height": 900})
                page.goto(address.split()[1])
                page.get_by_text("0.9125").wait_for()
                text = page.inner_text("body")
                chromium.close()
        finally:
            server.terminate()
    assert made.info.run_name in text and COLUMNS[0] in text and "other/auc" not in text
    assert "Rebuilds" in text, "the view's name stands above"
    assert "MLflow Assistant" not in text
