"""`crywatch evaluate`: somebody else's detector measured as ours are, on the same pages.

Its scores, by `crywatch.evaluation.own`, stand beside those of stage ``score``; tables and pages
are those of stages ``evaluate`` and ``report``, written to a folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crywatch.core import params, paths
from crywatch.core.atomic import atomic_dir
from crywatch.core.errors import ConfigError
from crywatch.core.gate import NAME
from crywatch.data.selection import Source
from crywatch.detection.systems import System
from crywatch.evaluation import own
from crywatch.evaluation.evaluate import EvaluateConfig, shortcuts, systems
from crywatch.evaluation.evaluate.systems.measures import ComparedRow
from crywatch.evaluation.scopes import POOLED, SECOND
from crywatch.evaluation.score import ScoreConfig
from crywatch.evaluation.scored import AS_RECORDED, SHORTCUTS, SYSTEMS, Scored, ScoredSystem
from crywatch.operations.register.card import evaluated_name
from crywatch.report import ReportConfig, ReportOrigin
from crywatch.report.pages import write_page
from crywatch.report.shortcuts import shortcuts_page
from crywatch.report.systems import systems_page
from crywatch.report.tables import bracketed
from crywatch.tracking import runs
from crywatch.tracking.lineage import commit

LINES = ".jsonl"
PAGES = ("comparison", SHORTCUTS)
WRITTEN = {SYSTEMS, SHORTCUTS, *(f"{page}.{suffix}" for page in PAGES for suffix in ("html", "md"))}
OURS = ("headline", "case_study")  # sections of pages: of our systems alone
ELSEWHERE = "What a system of family own was trained on is not known here."


@dataclass(frozen=True)
class OwnOptions:
    """What the command was asked for."""

    name: str  # of the system: own/NAME
    against: tuple[str, ...]  # differences are to the first; () for the usual ones
    partial: bool  # clips without scores are left out, of the others too
    track: bool


@dataclass(frozen=True)
class OwnEvaluation:
    """What was measured, for the terminal."""

    lines: list[str]
    run_id: str  # "" where it was not recorded


def run(given: Sequence[Path | str], options: OwnOptions, out_dir: Path) -> OwnEvaluation:
    """Measure ``given`` in the working directory's project; writes the pages to ``out_dir``.

    ``given`` is one or more files of scores (.jsonl), one description (.yaml), or one
    module:function. ConfigError where it is not, or where ``out_dir`` holds anything but pages.
    """
    name = f"{own.FAMILY}/{NAME(options.name, '--name')}"
    lines = [Path(each) for each in given if Path(each).suffix == LINES]
    if lines and len(lines) < len(given) or not lines and len(given) != 1:
        raise ConfigError("name one .yaml file or module:function, or files of scores (.jsonl)")
    _check_replaceable(out_dir)
    sources, scored = rebuild()
    config = params.section("evaluate", EvaluateConfig)
    against = options.against or _usual(scored, config.systems.peer)
    others = own.others(scored, against)
    with tempfile.TemporaryDirectory() as temp, atomic_dir(out_dir) as pages:
        work, folder = Path(temp, "work"), Path(temp, "score")
        work.mkdir()
        folder.mkdir()
        if lines:
            tables = own.read_scores(lines, name, scored, sources, options.partial)
            n_parameters = 0
        else:
            system = System(name, str(given[0]), "", name)
            tables, n_parameters = own.hear_own(system, scored, *_channels(), work)
        about = ScoredSystem(name, name, "", 1.0, n_parameters, "", (SHORTCUTS, SYSTEMS))
        joined = own.beside(about, tables, others, scored, sources, folder)
        main = list(dict.fromkeys([name, *(other.row for other in others)]))
        compared = replace(config.systems, peer=against[0], main=main)
        audited = replace(config.shortcuts, main=[name])
        seed, threshold = params.plain("seed"), config.threshold
        audit = shortcuts.run(joined, threshold, audited, seed, pages / SHORTCUTS)
        summary = systems.run(joined, compared, pages / SYSTEMS)
        _write_pages(pages, options.name)
    headlines = {
        SYSTEMS: systems.headlines(summary.rows, [name]),
        SHORTCUTS: shortcuts.headlines(audit, [name]),
    }
    metrics = {
        f"{part}/{metric}": value
        for part, by_row in headlines.items()
        for metric, value in by_row.get(name, {}).items()
    }
    run_id = ""
    if options.track:
        run_id = _track(name, ", ".join(map(str, given)), against, metrics, out_dir)
    mine = [row for row in summary.rows if row.row == name and row.unit == SECOND]
    mine = [row for row in mine if row.scope == POOLED or row.channel == AS_RECORDED]
    return OwnEvaluation([_line(row, against[0]) for row in mine], run_id)


def _check_replaceable(folder: Path) -> None:
    """ConfigError where ``folder``, which pages replace as a whole, holds anything else."""
    others = sorted({path.name for path in folder.iterdir()} - WRITTEN) if folder.is_dir() else []
    if others or folder.is_file():
        raise ConfigError(
            f"--out: {folder} would be replaced, and {others[0] if others else 'it'} is no page "
            "of an evaluation: name another folder"
        )


def rebuild() -> tuple[list[Source], Scored]:
    """Clips and scores of the project's last rebuild."""
    sources = list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES))
    return sources, Scored(paths.SCORE, sources)


def write_sounds(folder: Path) -> int:
    """All that a file of scores is to hold, as files; their number."""
    return own.write_sounds(rebuild()[1], *_channels(), folder)


def _channels() -> tuple[ScoreConfig, dict[str, Any]]:
    return params.section("score", ScoreConfig), params.plain("channels")


def _usual(scored: Scored, peer: str) -> tuple[str, ...]:
    """The project's default detector and the peer of the comparison, where they were compared."""
    default = evaluated_name(Path(params.plain("detect.model")))
    compared = {system.name for system in own.compared(scored)}
    usual = tuple(name for name in dict.fromkeys([default, peer]) if name in compared)
    if not usual:
        raise ConfigError(
            f"neither detect.model nor {peer} was compared: name a system with --against; there "
            f"are {', '.join(sorted(compared)) or 'none'}"
        )
    return usual


def _write_pages(folder: Path, name: str) -> None:
    here = commit()
    origin = ReportOrigin(
        params.plain("profile"), params.plain("data.source"), here.sha[:12], here.dirty
    )
    config = params.section("report", ReportConfig)
    pages = (
        systems_page(folder / SYSTEMS, config.comparison_title, origin),
        shortcuts_page(folder / SHORTCUTS, config.shortcuts_title, origin),
    )
    for page_name, page in zip(PAGES, pages, strict=True):
        # Nothing was left out of its training, and no probe is given what it makes of a second.
        measured = [each for each in page.sections if any(table.rows for table in each.tables)]
        measured = [each for each in measured if each.name not in OURS]
        title, caution = f"{name}: {page.title}", f"{page.caution} {ELSEWHERE}"
        shown = replace(page, title=title, caution=caution, sections=measured)
        write_page(folder, page_name, "sections", shown)


def _line(row: ComparedRow, peer: str) -> str:
    """A row for the terminal."""
    ap = row.metrics["average_precision"]
    through = "" if row.channel == AS_RECORDED else f", {row.channel}"
    text = f"{row.scope}{through}: average precision {bracketed(ap.mean, ap.low, ap.high)}"
    if ap.difference is None:
        return text
    less = bracketed(ap.difference, ap.difference_low, ap.difference_high)
    return f"{text}, less that of {peer}: {less}"


def _track(
    name: str, source: str, against: Sequence[str], metrics: dict[str, float], pages: Path
) -> str:
    tags = {"crywatch.own.source": source, "crywatch.own.against": ",".join(against)}
    with runs.project_store() as store:
        files = [*pages.glob("*.html"), pages / SYSTEMS / "tables.json"]
        return runs.log_command(store, f"evaluate {name}", "evaluate_own", files, metrics, tags)
