"""The report's tables of verification: is it the same infant, by which network, on which pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crywatch.report.pages import note
from crywatch.report.tables import JsonRow, Table, distinct, num, number, read_output, table

NAMES = {
    "ge2e": "ECAPA-TDNN, GE2E",
    "ge2e_contrast": "ECAPA-TDNN, GE2E (contrast)",
    "ntxent": "ECAPA-TDNN, NT-Xent",
    "ntxent_views": "ECAPA-TDNN, NT-Xent of two views",
    "aam": "ECAPA-TDNN, AAM-softmax",
    "ge2e_aam": "ECAPA-TDNN, GE2E and AAM-softmax",
    "off-the-shelf": "ECAPA-TDNN off the shelf",
    "random": "ECAPA-TDNN, random weights",
    "logmel": "log-mel, mean and deviation",
    "mfcc": "MFCC, mean and deviation",
}
# CryCeleb2023, test trials: the challenge's paper and its leader board.
PUBLISHED_OFF_THE_SHELF = 0.3792
PUBLISHED = (
    ("published: ECAPA-TDNN off the shelf", PUBLISHED_OFF_THE_SHELF),
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
    results = read_output(folder / "tables.json", "evaluate_verification")
    rows = results["rows"]
    tables = [_pooled(results), _by_corpus(rows), _cryceleb(rows)]
    return [each for each in tables if each.rows]


def _pooled(results: JsonRow) -> Table:
    rows, choice = results["rows"], results["choice"]

    def name(line: str) -> str:
        best = line == choice["network"] and choice["protocol"]
        return _name(rows, line) + (" (best on the validation part)" if best else "")

    def shown(cell: Callable[[JsonRow], str], protocol: str) -> Callable[[str], str]:
        return lambda line: cell(_row(rows, line, protocol))

    has_phone = any(row["protocol"] == "phone" for row in rows)
    phone = {"one of two through a phone": shown(equal_error_rate, "phone")} if has_phone else {}
    columns = {
        "network": name,
        "EER across sessions, val": lambda line: percent(
            _row(rows, line, "across", part="val").get("eer")
        ),
        "EER within a session, test": shown(equal_error_rate, "within"),
        "EER across sessions, test": shown(equal_error_rate, "across"),
        **phone,
        "minDCF within": shown(num("min_dcf"), "within"),
        "minDCF across": shown(num("min_dcf"), "across"),
    }
    notes = [_counts(results), _averaging(results["averaging"]), INTERVALS]
    if not choice["protocol"]:
        notes.append("The validation part has no pairs: no network is called best.")
    if not results["off_the_shelf"]:
        notes.append(f"{NOT_AT_HAND}.")
    text = " ".join([*notes, ICLAS])
    return table("Verification of infants", columns, distinct(rows, "line"), text)


def _counts(results: JsonRow) -> str:
    line = results["rows"][0]["line"]
    within, across = (_row(results["rows"], line, protocol) for protocol in ("within", "across"))
    gap_h, test = results["gap_s"] / 3600, results["parts"].get("test", {})
    return (
        f"Test part, pooled over corpora: {within.get('n_same', 0)} pairs of one infant within a "
        f"session, {across.get('n_same', 0)} across sessions ({gap_h:g} h or more apart), "
        f"{across.get('n_other', 0)} of two infants of a corpus; {test.get('infants', 0)} infants. "
        "Within a session the room and the phone give the answer away."
    )


def _averaging(averaging: dict) -> str:
    if not averaging["crops"]:
        return "A recording is embedded whole."
    return (
        f"A recording's vector is the mean over {averaging['crops']} shuffled crops of "
        f"{averaging['crop_s']:g} s of its cries; that of the statistics is of the whole."
    )


def _by_corpus(rows: list[JsonRow]) -> Table:
    """A row a corpus and network, where there are several corpora."""
    tests = [row for row in rows if row["part"] == "test" and row["protocol"] != "cryceleb"]
    corpora = [scope for scope in distinct(tests, "scope") if scope != "pooled"]
    cells = []
    for corpus in corpora if len(corpora) > 1 else []:
        inside = [row for row in tests if row["scope"] == corpus]
        for line in distinct(inside, "line"):
            within, across = (_row(inside, line, p, corpus) for p in ("within", "across"))
            cells.append(
                [
                    corpus,
                    _name(rows, line),
                    str(across["n_infants"]),
                    f"{within['n_same']} / {across['n_same']} / {across['n_other']}",
                    equal_error_rate(within),
                    equal_error_rate(across),
                ]
            )
    columns = ["corpus", "network", "infants", "pairs within / across / of two infants"]
    columns += ["EER within a session", "EER across sessions"]
    return Table("Verification of infants within each corpus, test part", columns, cells)


def _cryceleb(rows: list[JsonRow]) -> Table:
    trials = [row for row in rows if row["protocol"] == "cryceleb"]
    cells = [
        [
            _name(rows, row["line"]),
            {"val": "dev", "test": "test"}[row["part"]],
            f"{row['n_same']} / {row['n_other']}",
            equal_error_rate(row),
            _published(row),
            number(row["min_dcf"]),
        ]
        for row in trials
    ]
    if cells:
        cells += [[name, "test", "n/a", "n/a", percent(eer, 2), "n/a"] for name, eer in PUBLISHED]
    columns = ["network", "trials", "pairs of one / of two infants", "EER"]
    columns += ["EER published, test trials", "minDCF"]
    return Table(
        "CryCeleb2023: the challenge's trials", columns, cells, f"{note('trials')} {INTERVALS}"
    )


def _published(row: JsonRow) -> str:
    """What the challenge's paper says of the same network in the same protocol."""
    same = row["network"] == "off-the-shelf" and not row["crops"]
    return percent(PUBLISHED_OFF_THE_SHELF if same else None, 2)


def _row(
    rows: list[JsonRow], line: str, protocol: str, scope: str = "pooled", part: str = "test"
) -> JsonRow:
    """That row, or an empty one."""
    key = line, protocol, scope, part
    of = ("line", "protocol", "scope", "part")
    return next((row for row in rows if tuple(row[name] for name in of) == key), {})


def network_name(network: str) -> str:
    """A network as the page calls it; its own name where there is no other."""
    return NAMES.get(network, network)


def _name(rows: list[JsonRow], line: str) -> str:
    network = next(row["network"] for row in rows if row["line"] == line)
    name = network_name(network)
    return name if line == network else f"{name}, not averaged"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as text."""
    return "n/a" if value is None else f"{100 * value:.{digits}f} %"


def equal_error_rate(row: JsonRow) -> str:
    """The row's EER and its interval, where there are any."""
    value, low, high = (row.get(f"eer{end}") for end in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        return percent(value)
    return f"{percent(value)} ({100 * low:.1f} to {100 * high:.1f})"
