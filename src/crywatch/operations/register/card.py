"""The card of a registered model: what it is, what it was made of, what it does and what it lacks.

Its measures are those of the gates' own listening and, where they are of this very model, those of
the rebuild's evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crywatch.core import params, paths
from crywatch.core.atomic import read_json
from crywatch.corpora.terms import Terms
from crywatch.detection.decisions import Decision
from crywatch.detection.systems import FOLDERS
from crywatch.operations.register import Gate
from crywatch.operations.register.facts import Origin
from crywatch.operations.register.slices import Slice
from crywatch.report.tables import Table, number


@dataclass(frozen=True)
class Card:
    """Everything that its template needs."""

    name: str
    digest: str
    description: dict[str, Any]
    parameters: int  # of its networks
    terms: Terms
    decision: Decision | None
    origin: Origin
    generated: bool  # whether the sounds are
    corpora: Table
    evaluation: Table | None
    left_out: Table | None
    gates: Table
    reported: Table
    verdict: str
    n_left_out: int  # recordings that the champion was trained on
    champion: str  # what it was compared with, or ""
    alias: str  # to use it by


def render(card: Card) -> str:
    """As Markdown."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crywatch", "operations/register"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("card.md.j2").render(card=card)


def source_of(folder: Path) -> Path:
    """The folder of the model that was calibrated into ``folder``; itself if it was not."""
    models = params.plain("calibrate.models")
    body = models.get(folder.name) if folder.parent == paths.CALIBRATE else None
    return Path(body["folder"]) if body else folder


def evaluated_name(folder: Path) -> str:
    """family/variant of the model that was calibrated into ``folder``; "" if it is none of them."""
    source = source_of(folder)
    for family, base in FOLDERS.items():
        if source.parent == base:
            return f"{family}/{source.name}"
    return ""


def corpora_table(terms: Terms, lineage: dict[str, Any]) -> Table:
    """What it heard, on what terms."""
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
    rows = [
        [
            row["scope"],
            row["unit"],
            f"{row['n']} ({row['n_cry']} cry)",
            _bracketed(row, "auc"),
            _bracketed(row, "average_precision"),
        ]
        for row in read_json(path)
        if row["model"] == name and row["part"] == "test"
    ]
    if not rows:
        return None
    note = (
        f"{name} before calibration, which changes no order. In brackets 95 % intervals of the "
        "bootstrap over recordings and infants; few of those give intervals that are too narrow."
    )
    columns = ["measured on", "unit", "n", "AUC", "average precision"]
    return Table("Measured on the test part", columns, rows, note)


def left_out_table(name: str) -> Table | None:
    """The same training without a corpus, on that corpus: what to expect of an unknown one."""
    found: dict[tuple[str, str], dict] = {}
    evaluation = paths.EVALUATE_DETECTION / "tables.json"
    audit = paths.AUDIT_SHORTCUTS / "tables.json"
    if evaluation.is_file():
        for row in read_json(evaluation):
            if row["part"] == "all" and row["unit"] == "second":
                found[row["model"], row["scope"]] = row
    if audit.is_file():
        for row in read_json(audit).get("left_out", []):
            if (row["channel"], row["unit"]) == ("as recorded", "second"):
                found[row["system"], row["scope"]] = row
    rows = [
        [model, scope, str(row["n"]), _bracketed(row, "auc"), _bracketed(row, "average_precision")]
        for (model, scope), row in sorted(found.items())
        if name and model.startswith(f"{name}_no_")
    ]
    columns = ["model", "measured on", "seconds", "AUC", "average precision"]
    title = "On a corpus that was left out of training"
    return Table(title, columns, rows) if rows else None


def _bracketed(row: dict, metric: str) -> str:
    low, high = row.get(f"{metric}_low"), row.get(f"{metric}_high")
    between = "" if low is None or high is None else f" ({number(low)} to {number(high)})"
    return number(row[metric]) + between


def gates_table(gates: Sequence[Gate]) -> Table:
    """What it had to keep, and whether it did."""
    rows = [["kept" if g.passed else "**failed**", g.name, g.slice, g.said] for g in gates]
    return Table("Gates", ["", "gate", "slice", "numbers"], rows)


def reported_table(found: Sequence[Slice], part: str, alone: bool) -> Table:
    """The same slices on the part that decides nothing."""
    rows = []
    for one in found:
        digits = 1 if one.kind == "false_alarms" else 3
        cells = [one.name, one.measure, f"{one.rows} {one.unit}", number(one.challenger, digits)]
        if not alone:
            between = (
                ""
                if one.low is None or one.high is None
                else f" ({one.low:+.{digits}f} to {one.high:+.{digits}f})"
            )
            cells += [number(one.champion, digits), f"{one.gain:+.{digits}f}{between}"]
        rows.append(cells)
    columns = ["slice", "measure", "on", "this model"]
    columns += [] if alone else ["the champion", "gain, 95 %"]
    return Table(f"The same slices on the {part} part, which decides nothing", columns, rows)
