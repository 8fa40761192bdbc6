"""What the pages on shortcuts and on infants read, without the stages that make it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from crywatch.core.atomic import write_json
from crywatch.report.infants import InfantsInputs
from crywatch.report.tables import Table
from crywatch.speaker.cries.store import CryRow, write_cries

TABLES = (
    "verification_tables",
    "infant_tables",
    "state_tables",
    "gate_tables",
    "follow_tables",
    "timeline_tables",
)
RULE = {"on": 0.81, "off": 0.35, "min_event_s": 2.0, "max_gap_s": 1.0}


def rate_row(scope: str, stated: float | None, **values: object) -> dict:
    """A row of "rates" in the tables.json of a calibrated model."""
    measured = {"alarms": 3, "hours": 1.5, "per_hour": 2.0, "low": 0.41, "high": 5.84}
    measured |= {"called": 0.0125, "cries": 17, "found": 0.8125, "latency_s": 2.25}
    rule = {name: RULE[name] for name in ("on", "off", "min_event_s")}
    head = {"scope": scope, "part": "test", "stated": stated, "latency_p90_s": None}
    return head | rule | measured | values


DECISIONS = {
    "model": "robust",
    "decision": {
        "calibration": {"method": "platt", "slope": 0.5, "offset": -1.0},
        "default_per_hour": 10.0,
        "rates": [
            {
                "false_alarms_per_hour": stated,
                "rule": RULE,
                "alarms": 0,
                "upper_per_hour": 6.66,
                "promised": stated > 6.66,
            }
            for stated in (1.0, 10.0)
        ],
    },
    "rates": [
        rate_row("all", None, on=0.5, off=0.5, min_event_s=1.0, alarms=77),
        rate_row("all", 1.0),
        rate_row("all", 10.0),
        rate_row("all", 10.0, part="val", alarms=987),
        rate_row("donateacry", 10.0, alarms=0, hours=0.0, per_hour=None, low=None, high=None),
    ],
    "calibration": [
        {"part": "test", "when": when, "seconds": 345, "share": 0.25}
        | {"ece": ece, "brier": 0.111, "nll": 0.222}
        for when, ece in (("before", 0.321), ("after", 0.043))
    ],
    "reliability": [
        {"part": "test", "when": when, "low": 0.0, "high": 0.1, "seconds": 345}
        | {"probability": 0.05, "share": share}
        for when, share in (("before", 0.4), ("after", 0.06))
    ],
    "held_out": [],
}
SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'


def exported_folder(folder: Path) -> Path:
    """What the report reads of stage `export`."""

    def row(name: str, sound: str, seconds: int, difference: float, **values: float) -> dict:
        about = {"format": name, "sound": sound, "seconds": seconds, "windows": 4 * seconds}
        about |= {"logit_difference": difference, "mean_difference": difference / 9}
        return about | {"torch_auc": None, "auc": None, "decisions_differ": 0.0} | values

    parity = [
        row("onnx", "test", 300, 3.34e-6, auc=0.907, torch_auc=0.907),
        row("onnx", "golden", 9, 1.4e-6),
        row("int8", "test", 300, 0.364, auc=0.915, torch_auc=0.9147, decisions_differ=0.00506),
    ]
    write_json(folder / "parity.json", parity)
    about = {"name": "robust", "bytes": {"onnx": 1_483_574, "int8": 167_400}}
    about["products"] = {"network_products": 6_133_984, "picture_products": 17_895_424}
    write_json(folder / "sidecar.json", about | {"int8": {"arena_bytes": 121_696}})
    return folder


def infants_inputs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> InfantsInputs:
    """Folders with cries and figures; each function of tables gives one that names it."""
    for name in TABLES:
        made = [Table(f"of {name}", ["model", "EER"], [["<ge2e>", "0.25"]], f"Note on {name}.")]
        for page in ("infants", "results"):
            module = import_module(f"crywatch.report.{page}")
            monkeypatch.setattr(module, name, lambda *_, made=made: made, raising=page == "infants")
    clip = {
        "clip_id": "toy/a",
        "corpus": "toy",
        "infant_id": "toy/mia",
        "session_id": "s",
        "recorded_at": None,
        "recording_id": "r",
        "cluster_id": None,
        "split": "test",
        "category": "cry",
    }
    wave = np.zeros(16_000, dtype=np.float32)
    cries = [CryRow(clip, n, n + 1.0, "detector", -3.0, wave) for n in (0.0, 2.0)]
    write_cries(folder / "cries", cries)
    charts = "fitted/gate/charts"
    for name in (
        *("verification/det", "verification/embedding_map"),
        *(f"{charts}/roc", f"{charts}/scores"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_text(SVG)
    names = ("cries", "verification", "fitted", "timeline")
    return InfantsInputs(
        **{name: folder / name for name in names},
        models=["cosine"],
        model="cosine",
        network="ge2e_aam",
    )


def ablations_folder(folder: Path) -> Path:
    """Two recipes of ``ablate_robust``."""
    for name, value in (("base", 0.5), ("no_room", 0.4)):
        metrics = {
            f"{scope}/{heard}/{unit}/average_precision": value
            for scope in ("pooled", "toy")
            for heard in ("clean", "channel")
            for unit in ("second", "clip")
        }
        write_json(folder / name / "metrics.json", metrics | {"toy/clean/second/auc": 0.9})
    return folder


def comparison_folder(folder: Path) -> Path:
    """As ``evaluate`` writes it where nothing was measured."""
    tables = {"rows": [], "parameters": [], "peer": "yamnet/zero_shot", "shifts": ["phone"]}
    tables |= {"kinds": [], "mixes": [], "main": [], "recall": 0.8, "mix": {}}
    write_json(folder / "tables.json", tables)
    (folder / "comparison.svg").write_text(SVG)
    return folder


def shortcuts_folder(folder: Path) -> Path:
    """As ``evaluate`` writes it where nothing was measured."""
    tables = ("channels", "left_out", "factors", "background", "recall", "probes")
    write_json(folder / "means.json", {name: [] for name in tables})
    for name in ("channels", "probe"):
        (folder / f"{name}.svg").write_text(SVG)
    return folder
