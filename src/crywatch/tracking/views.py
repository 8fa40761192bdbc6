"""Saved views of the page of runs: its columns, filters, order and charts, as MLflow keeps them.

MLflow's menu "Views" lists the tags ``mlflow.sharedViewState.ID`` of an experiment: a JSON object
with the view's name, its times, and its state as another JSON text. What this module wrote has an
ID with the digest of that state, so that a view which somebody changed since is left alone, and one
of an earlier version is replaced.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crywatch.core.digest import value_sha256
from crywatch.tracking import describe, parent
from crywatch.tracking.store import Store, tagged

TAG = "mlflow.sharedViewState."
OWN = re.compile(r"crywatch-[a-z]+-(?P<digest>[0-9a-f]{12})")
DIGITS = 12  # of a state's digest
REBUILDS = "rebuilds"
NAME, DATASET = "attributes.`Run Name`", "attributes.`Dataset`"
CREATED, DURATION = "runDateAndNestInfo", "duration"  # as MLflow calls these columns
CHANGED = f"tags.`{describe.CHANGED}`"
WIDTHS_PX = {NAME: 330, CHANGED: 190, DATASET: 220, CREATED: 140, DURATION: 90}
LETTER_PX, MARGIN_PX = 7, 30  # the others are as wide as their heading
KINDS = {REBUILDS: "Rebuilds", "training": "Trainings", "decisions": "Comparisons and promotions"}


@dataclass(frozen=True)
class View:
    """One saved view."""

    key: str  # of `KINDS`
    state: dict[str, Any]

    @property
    def id(self) -> str:
        """Which its address names: ``viewStateShareKey=ID``."""
        return f"crywatch-{self.key}-{value_sha256(self.state)[:DIGITS]}"


def views(columns: Sequence[str]) -> list[View]:
    """All that are kept; ``columns`` are the metrics that tell one rebuild from another."""
    metrics, changed, profile = [*map(_metric, columns)], _tag(describe.CHANGED), _tag("profile")
    rebuilds = tagged(parent.STAGE, "rebuild")
    decisions = f"tags.`{parent.STAGE}` IN ('compare', 'register')"
    return [
        View(
            REBUILDS,
            _state(rebuilds, [*metrics, changed, profile, DATASET])
            | _order([NAME, CREATED, changed, *metrics, DATASET, profile, DURATION])
            | _charts(columns),
        ),
        View(
            "training",
            _state(
                "tags.stage LIKE 'train_%'",
                [_tag("stage"), _tag("variant"), "attributes.`Models`", "attributes.`Description`"],
            ),
        ),
        View("decisions", _state(decisions, ["attributes.`Description`", "attributes.`Models`"])),
    ]


def save(store: Store, columns: Sequence[str]) -> str:
    """Write the views that the experiment lacks; the id of that of rebuilds."""
    client, experiment = store.client, store.experiment_id
    wanted = {view.id: view for view in views(columns)}
    there = {
        name.removeprefix(TAG): text
        for name, text in client.get_experiment(experiment).tags.items()
        if name.startswith(TAG)
    }
    for view_id in there.keys() - wanted.keys():
        if _is_untouched(view_id, there[view_id]):
            client.delete_experiment_tag(experiment, f"{TAG}{view_id}")
    now_ms = int(time.time() * 1000)
    for view_id, view in wanted.items():
        if view_id not in there:
            envelope = {
                "name": KINDS[view.key],
                "createdAt": now_ms,
                "updatedAt": now_ms,
                "state": json.dumps(view.state),
            }
            client.set_experiment_tag(experiment, f"{TAG}{view_id}", json.dumps(envelope))
    return next(view_id for view_id, view in wanted.items() if view.key == REBUILDS)


def _is_untouched(view_id: str, text: str) -> bool:
    """Whether an earlier version wrote it, and nobody since."""
    own = OWN.fullmatch(view_id)
    try:
        state = json.loads(json.loads(text)["state"])
    except (ValueError, KeyError, TypeError):
        return False
    return own is not None and value_sha256(state)[:DIGITS] == own["digest"]


def _state(search: str, columns: list[str]) -> dict[str, Any]:
    """The page's state by MLflow's own keys."""
    return {
        "searchFilter": search,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "FIRST_10_RUNS",
        "hideEmptyCharts": True,
    }


def _order(columns: Sequence[str]) -> dict[str, Any]:
    widths_px = {column: WIDTHS_PX.get(column, _width_px(column)) for column in columns}
    return {"columnOrder": list(columns), "columnWidths": widths_px}


def _width_px(column: str) -> int:
    heading = column.partition("`")[2].rstrip("`")
    return MARGIN_PX + LETTER_PX * len(heading)


def _charts(columns: Sequence[str]) -> dict[str, Any]:
    """First what differs between the runs, then a bar chart a metric; the others are closed."""
    shared = {"metricSectionId": "crywatch", "deleted": False, "isGenerated": False}
    difference = shared | {
        "uuid": "crywatch-difference",
        "type": "DIFFERENCE",
        "chartName": "What differs",
        "compareGroups": ["Parameters"],
        "showChangeFromBaseline": True,
        "showDifferencesOnly": True,
        "baselineColumnUuid": "",
    }
    bars = [
        shared
        | {
            "uuid": f"crywatch-{number}",
            "type": "BAR",
            "runsCountToCompare": 10,
            "displayName": metric,
            "metricKey": metric,
        }
        for number, metric in enumerate(columns)
    ]
    section = {
        "uuid": "crywatch",
        "name": "What a rebuild is judged by",
        "display": True,
        "columns": 2,
        "isReordered": False,
        "deleted": False,
        "isGenerated": False,
    }
    return {
        "compareRunCharts": [difference, *bars],
        "compareRunSections": [section],
        "isAccordionReordered": True,  # else the sections stand by the alphabet
    }


def _metric(name: str) -> str:
    return f"metrics.`{name}`"


def _tag(name: str) -> str:
    return f"tags.`{name}`"
