"""The report's tables of verification: is it the same infant, by which network, on which pairs."""

from __future__ import annotations

from pathlib import Path

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.report.tables import Table, number

NAMES = {
    "ge2e": "ECAPA-TDNN, GE2E",
    "ge2e_contrast": "ECAPA-TDNN, GE2E (contrast)",
    "ntxent": "ECAPA-TDNN, NT-Xent",
    "aam": "ECAPA-TDNN, AAM-softmax",
    "ge2e_aam": "ECAPA-TDNN, GE2E and AAM-softmax",
    "off-the-shelf": "ECAPA-TDNN off the shelf",
    "random": "ECAPA-TDNN, random weights",
    "logmel": "log-mel, mean and deviation",
    "mfcc": "MFCC, mean and deviation",
}
# CryCeleb2023, test trials: the challenge's paper and its leader board.
PUBLISHED = (
    ("published: ECAPA-TDNN off the shelf", 0.3792),
    ("published: ECAPA-TDNN fine-tuned on CryCeleb", 0.282),
    ("published: best of the challenge", 0.258),
)
ICLAS = "ICLAS: 21.38 % fine-tuned, 25.04 % the network it is compared with, on other recordings."
NOT_AT_HAND = (
    "ECAPA-TDNN off the shelf: weights not at hand (evaluate_verification.off_the_shelf names them)"
)
INTERVALS = "In brackets: 95 % intervals of the bootstrap over infants."


def verification_tables(folder: Path) -> list[Table]:
    """Tables from the stage's folder: pooled, by corpus, and CryCeleb's trials where there are any.

    TableError where tables.json is missing.
    """
    path = folder / "tables.json"
    if not path.is_file():
        raise TableError(f"{path} is missing: run stage evaluate_verification (dvc repro)")
    told = read_json(path)
    found = [_pooled(told), *_by_corpus(told["rows"]), *_cryceleb(told["rows"])]
    return [table for table in found if table.rows]


def _pooled(told: dict) -> Table:
    rows, choice = told["rows"], told["choice"]
    lines = dict.fromkeys(row["line"] for row in rows)
    cells = []
    for line in lines:
        name = _name(rows, line)
        if line == choice["network"] and choice["protocol"]:
            name += " (best on the validation part)"
        cells.append(
            [
                name,
                percent(_row(rows, line, "across", part="val").get("eer")),
                interval(_row(rows, line, "within"), "eer"),
                interval(_row(rows, line, "across"), "eer"),
                number(_row(rows, line, "within").get("min_dcf")),
                number(_row(rows, line, "across").get("min_dcf")),
            ]
        )
    columns = ["network", "EER across sessions, val", "EER within a session, test"]
    columns += ["EER across sessions, test", "minDCF within", "minDCF across"]
    notes = [_counts(told), _averaging(told["averaging"]), INTERVALS]
    if not choice["protocol"]:
        notes.append("The validation part has no pairs: no network is called best.")
    if not told["off_the_shelf"]:
        notes.append(f"{NOT_AT_HAND}.")
    return Table("Verification of infants", columns, cells, " ".join([*notes, ICLAS]))


def _counts(told: dict) -> str:
    line = told["rows"][0]["line"]
    within, across = (_row(told["rows"], line, protocol) for protocol in ("within", "across"))
    return (
        f"Test part, pooled over corpora: {within.get('n_same', 0)} pairs of one infant within a "
        f"session, {across.get('n_same', 0)} across sessions ({told['gap_s'] / 3600:g} h or more "
        f"apart), {across.get('n_other', 0)} of two infants of a corpus; "
        f"{told['parts'].get('test', {}).get('infants', 0)} infants. Within a session the room and "
        "the phone give the answer away."
    )


def _averaging(averaging: dict) -> str:
    if not averaging["crops"]:
        return "A recording is embedded whole."
    return (
        f"A recording's vector is the mean over {averaging['crops']} shuffled crops of "
        f"{averaging['crop_s']:g} s of its cries; that of the statistics is of the whole."
    )


def _by_corpus(rows: list[dict]) -> list[Table]:
    """A table a corpus where there are several."""
    shown = [row for row in rows if row["part"] == "test" and row["protocol"] != "cryceleb"]
    corpora = list(dict.fromkeys(row["scope"] for row in shown if row["scope"] != "pooled"))
    if len(corpora) < 2:
        return []
    cells = []
    for corpus in corpora:
        here = [row for row in shown if row["scope"] == corpus]
        for line in dict.fromkeys(row["line"] for row in here):
            within, across = (_row(here, line, p, corpus) for p in ("within", "across"))
            cells.append(
                [
                    corpus,
                    _name(rows, line),
                    str(across["n_infants"]),
                    f"{within['n_same']} / {across['n_same']} / {across['n_other']}",
                    interval(within, "eer"),
                    interval(across, "eer"),
                ]
            )
    columns = ["corpus", "network", "infants", "pairs within / across / of two infants"]
    columns += ["EER within a session", "EER across sessions"]
    return [Table("Verification of infants within each corpus, test part", columns, cells)]


def _cryceleb(rows: list[dict]) -> list[Table]:
    shown = [row for row in rows if row["protocol"] == "cryceleb"]
    if not shown:
        return []
    trials = {"val": "dev", "test": "test"}
    cells = [
        [
            _name(rows, row["line"]),
            trials[row["part"]],
            f"{row['n_same']} / {row['n_other']}",
            interval(row, "eer"),
            number(row["min_dcf"]),
        ]
        for row in shown
    ]
    cells += [[name, "test", "n/a", percent(eer), "n/a"] for name, eer in PUBLISHED]
    columns = ["network", "trials", "pairs of one / of two infants", "EER", "minDCF"]
    note = (
        "Birth against discharge, a baby's cries of either joined. The babies of the dev trials "
        "are in the validation part, on which the best network was chosen. Its scores of the test "
        f"trials are in cryceleb_submission.csv. {INTERVALS}"
    )
    return [Table("CryCeleb2023: the challenge's trials", columns, cells, note)]


def _row(
    rows: list[dict], line: str, protocol: str, scope: str = "pooled", part: str = "test"
) -> dict:
    """That row, or an empty one."""
    key = line, protocol, scope, part
    of = ("line", "protocol", "scope", "part")
    return next((row for row in rows if tuple(row[name] for name in of) == key), {})


def network_name(network: str) -> str:
    """A network as the page calls it; its own name where there is no other."""
    return NAMES.get(network, network)


def _name(rows: list[dict], line: str) -> str:
    network = next(row["network"] for row in rows if row["line"] == line)
    name = network_name(network)
    return name if line == network else f"{name}, not averaged"


def percent(value: float | None) -> str:
    """A share as text."""
    return "n/a" if value is None else f"{100 * value:.1f} %"


def interval(row: dict, name: str) -> str:
    """A share and its interval, where there is one."""
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        return percent(value)
    return f"{percent(value)} ({100 * low:.1f} to {100 * high:.1f})"
