"""The tables of the generated year."""

from __future__ import annotations

from pathlib import Path

from crywatch.report.follow_tables import INTERVALS, METRICS, by_way
from crywatch.report.pages import note
from crywatch.report.tables import Table, read_output

HOSTILE = {
    "infants": "other infants' cries",
    "sounds": "noise and silence",
    "repeats": "one recording again and again",
    "drip": "one other infant, every other session",
}
GENERATED = "Voices are generated in every profile: no corpus follows an infant for a year."


def year_tables(folder: Path) -> list[Table]:
    """A table a scenario, from the folder of ``simulate_year``."""
    metrics = read_output(folder / METRICS, "studies/dvc.yaml:simulate_year")
    infants = f"{metrics['infants']} infants, {metrics['rate']:g} false alarms promised"
    slow = f"{INTERVALS} {note('slow').format(trimming_p=metrics['trimming_p'])}"
    attack = {HOSTILE.get(kind, kind): ways for kind, ways in metrics["attack"].items()}
    return [
        by_way(f"Generated year, {title}: {infants}", name, heads, kinds, f"{GENERATED} {text}")
        for title, name, heads, kinds, text in (
            ("slow development", "slow", [], metrics["slow"], slow),
            ("a change that stays", "change", ["change"], metrics["change"], note("change")),
            ("a hostile stream", "attack", ["what comes"], attack, note("attack")),
        )
    ]
