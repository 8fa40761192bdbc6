"""What stage `export` wrote, as a table: how far each format is from torch, and what it costs."""

from __future__ import annotations

from pathlib import Path

from crywatch.report.pages import note
from crywatch.report.tables import Columns, JsonRow, Table, num, read_output, table

WHOLE = "int8"  # the format whose pictures C makes, outside of the network
STAGE = "export"


def device_tables(folder: Path) -> list[Table]:
    """Of parity.json and sidecar.json in the ``folder`` of the stage."""
    about = read_output(folder / "sidecar.json", STAGE)
    products, arena = about["products"], (about["int8"] or {}).get("arena_bytes")
    network, picture = products["network_products"], products["picture_products"]

    def cost(row: JsonRow) -> str:
        return f"{(network + (row['format'] != WHOLE) * picture) / 1e6:.1f} million"

    columns: Columns = {
        "format": "format",
        "sound": "sound",
        "seconds": "seconds",
        "windows": "windows",
        "logits within": lambda row: f"{row['logit_difference']:.1g}",
        "AUC": num("auc", 4),
        "torch's": num("torch_auc", 4),
        "decided otherwise": lambda row: (
            "n/a" if row["auc"] is None else f"{100 * row['decisions_differ']:.2f} %"
        ),
        "bytes": lambda row: f"{about['bytes'][row['format']]:,}",
        "multiply-adds": cost,
        "arena": lambda row: f"{arena:,}" if arena and row["format"] == WHOLE else "n/a",
    }
    rows = read_output(folder / "parity.json", STAGE)
    title = f"Devices: the files of {about['name']} beside torch"
    return [table(title, columns, rows, note("devices"))]
