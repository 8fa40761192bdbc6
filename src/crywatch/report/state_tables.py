"""The report's table of infants in two states: baths and a vaccination, hunger and discomfort."""

from __future__ import annotations

from pathlib import Path

from crywatch.report.infant_tables import NAMES
from crywatch.report.pages import note
from crywatch.report.tables import JsonRow, Table, interval, number, read_output, table
from crywatch.report.verification_tables import network_name

PLACE = ("corpus", "baseline", "other", "vectors", "model")


def state_tables(folder: Path) -> list[Table]:
    """The table from the folder of fit_infants; none where no infant has both states of a pair.

    TableError where states.json is missing.
    """
    rows = read_output(folder / "states.json", "fit_infants")
    chosen_on = {tuple(row[name] for name in PLACE): row for row in rows if row["part"] == "val"}

    def on_val(row: JsonRow) -> str:
        return number(chosen_on.get(tuple(row[name] for name in PLACE), {}).get("auc"))

    tested = [row for row in rows if row["part"] == "test"]
    states = table(
        "Infants in two states, test part",
        {
            "corpus": "corpus",
            "normal, other": lambda row: f"{row['baseline']}, {row['other']}",
            "vectors": lambda row: network_name(row["vectors"].removeprefix("ecapa ")),
            "model": lambda row: NAMES[row["model"]],
            "infants (occasions apart)": lambda row: f"{row['infants']} ({row['apart']})",
            "recordings": lambda row: f"{row['baseline_recordings']}, {row['other_recordings']}",
            "AUC, val": on_val,
            "AUC": interval("auc"),
            "with a promise": lambda row: f"{row['promised']} at {row['rate_promised']:g}",
            "false alarms": interval("false_alarms"),
            "detected": interval("detected"),
        },
        tested,
        note("two_states"),
    )
    return [states] if tested else []
