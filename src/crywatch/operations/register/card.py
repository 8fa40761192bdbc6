"""The card of a registered model: what it is, what it was made of, what it does and what it lacks.

Its measures are those of the gates' own detections and, where they are of this very model, those of
the rebuild's evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crywatch.core import params, paths
from crywatch.core.atomic import read_json
from crywatch.core.models import load
from crywatch.corpora.terms import Terms, terms_of_model
from crywatch.detection.decisions import Decision, decision_of
from crywatch.detection.detectors import load_detector
from crywatch.detection.systems import FOLDERS
from crywatch.operations.register import PromotionGate
from crywatch.operations.register.challenge import REPORTED, ChallengeResult
from crywatch.operations.register.config import RegisterConfig
from crywatch.operations.register.facts import ModelOrigin, is_current
from crywatch.operations.register.listening import Model
from crywatch.operations.register.slices import Slice
from crywatch.report.tables import Columns, JsonRow, Table, interval, number, table
from crywatch.tracking.registry import CHALLENGER, CHAMPION, ModelVersion


def render(
    config: RegisterConfig,
    model: Model,
    origin: ModelOrigin,
    lineage: dict[str, Any],
    champion: ModelVersion | None,
    result: ChallengeResult,
    promoted: bool,
    why: str,
    for_devices: bool,
) -> str:
    """The card of ``model``, a copy of ``config.model``, as Markdown."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crywatch", "operations/register"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    folder = Path(config.model)
    description = load(model.folder).description
    terms = terms_of_model(description)
    current = is_current("score", source_of(folder)) and is_current("evaluate", paths.SCORE)
    name = evaluated_name(folder) if current else ""
    return environment.get_template("card.md.j2").render(
        name=config.name,
        digest=model.digest,
        description=description,
        parameters=load_detector(model.folder).n_parameters,
        terms=terms,
        decision=decision_of(description),
        origin=origin,
        generated=params.plain("data.source") == "generated",
        corpora=corpora_table(terms, lineage),
        evaluation=evaluation_table(name),
        left_out=left_out_table(name),
        unmeasured=unmeasured_kinds(decision_of(description), name),
        gates=gates_table(result.gates),
        reported=reported_table(result.reported, REPORTED, champion is None),
        verdict=f"{why[:1].upper()}{why[1:]}.",
        n_left_out=result.left_out,
        champion=f"version {champion.version}" if champion else "",
        alias=CHAMPION if promoted else CHALLENGER,
        for_devices=for_devices,
    )


def source_of(folder: Path) -> Path:
    """The folder of the model that was calibrated into ``folder``; itself if it was not."""
    return Path(_calibrated(folder).get("folder", folder))


def _calibrated(folder: Path) -> dict[str, Any]:
    """The entry of ``calibrate.models`` that makes ``folder``; empty if there is none."""
    models = params.plain("calibrate.models")
    return models.get(folder.name, {}) if folder.parent == paths.CALIBRATE else {}


def evaluated_name(folder: Path) -> str:
    """family/variant of the model that was calibrated into ``folder``; "" if it is none of them."""
    source = source_of(folder)
    if _calibrated(folder).get("yamnet"):
        return f"fused/{source.name}"
    for family, base in FOLDERS.items():
        if source.parent == base:
            return f"{family}/{source.name}"
    return ""


def corpora_table(terms: Terms, lineage: dict[str, Any]) -> Table:
    """What it was trained on, on what terms."""
    rows = [
        [name, licence, (lineage["corpora"][name]["clean"] or "n/a")[:12]]
        for name, licence in zip(terms.corpora, terms.licences, strict=True)
    ]
    return Table("Trained and validated on", ["corpus", "licence", "DVC digest, cleaned"], rows)


def evaluation_table(name: str, folder: Path = paths.EVALUATE_DETECTION) -> Table | None:
    """The rebuild's measures of the test part, with their intervals; None without any."""
    path = folder / "tables.json"
    if not name or not path.is_file():
        return None
    rows = [row for row in read_json(path) if row["model"] == name and row["part"] == "test"]
    columns: Columns = {
        "measured on": "scope",
        "unit": "unit",
        "n": lambda row: f"{row['n']} ({row['n_cry']} cry)",
        "AUC": interval("auc"),
        "average precision": interval("average_precision"),
    }
    note = (
        f"{name} before calibration, which changes no order. In brackets 95 % intervals of the "
        "bootstrap over recordings and infants; few of those give intervals that are too narrow."
    )
    return table("Measured on the test part", columns, rows, note) if rows else None


def left_out_table(name: str) -> Table | None:
    """The same training without a corpus, on that corpus: what to expect of an unknown one."""
    by_model: dict[tuple[str, str], JsonRow] = {}
    evaluation = paths.EVALUATE_DETECTION / "tables.json"
    audit = paths.EVALUATE_SHORTCUTS / "tables.json"
    if evaluation.is_file():
        for row in read_json(evaluation):
            if row["part"] == "all" and row["unit"] == "second":
                by_model[row["model"], row["scope"]] = row
    if audit.is_file():
        for row in read_json(audit).get("left_out", []):
            if (row["channel"], row["unit"]) == ("as recorded", "second"):
                by_model[row["system"], row["scope"]] = row
    rows = [
        {**row, "model": model}
        for (model, _), row in sorted(by_model.items())
        if name and model.startswith(f"{name}_no_")
    ]
    columns: Columns = {
        "model": "model",
        "measured on": "scope",
        "seconds": "n",
        "AUC": interval("auc"),
        "average precision": interval("average_precision"),
    }
    title = "On a corpus that was left out of training"
    return table(title, columns, rows) if rows else None


def unmeasured_kinds(decision: Decision | None, name: str) -> list[str]:
    """Kinds of sound of conf/kinds.yaml that neither its decision nor the evaluation heard."""
    heard = {"infant_cry", "other", *(decision.fitted_on.get("kinds", ()) if decision else ())}
    tables = paths.EVALUATE_SYSTEMS / "tables.json"
    if name and tables.is_file():
        heard |= {row["kind"] for row in read_json(tables)["kinds"] if row["system"] == name}
    kinds = params.plain(path=paths.KINDS) if paths.KINDS.is_file() else {}
    return [kind for kind in kinds if kind not in heard]


def gates_table(gates: Sequence[PromotionGate]) -> Table:
    """What it had to keep, and whether it did."""
    rows = [["kept" if g.passed else "**failed**", g.name, g.slice, g.said] for g in gates]
    return Table("Gates", ["", "gate", "slice", "numbers"], rows)


def reported_table(slices: Sequence[Slice], part: str, alone: bool) -> Table:
    """The same slices on the part that decides nothing; ``alone`` without the champion."""

    def gain(each: Slice) -> str:
        between = each.interval()
        return f"{each.gain:+.{each.digits}f}" + (f" ({between})" if between else "")

    columns: dict[str, Callable[[Slice], str]] = {
        "slice": lambda each: each.name,
        "measure": lambda each: each.measure,
        "on": lambda each: f"{each.rows} {each.unit}",
        "this model": lambda each: number(each.challenger, each.digits),
    }
    if not alone:
        columns["the champion"] = lambda each: number(each.champion, each.digits)
        columns["gain, 95 %"] = gain
    title = f"The same slices on the {part} part, which decides nothing"
    return table(title, columns, slices)
