"""The `crywatch infant` commands: thin, the logic is in `crywatch.infants`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crywatch.core.errors import CrywatchError
from crywatch.core.project import root, say

if TYPE_CHECKING:
    from crywatch.infants.answers import Failed, ScoredFile
    from crywatch.infants.conformal import Promise
    from crywatch.infants.enrolment import Infants

app = typer.Typer(
    help="Your own infants: what is normal for each, and what is not.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(help="The infant's id: any text.", metavar="ID")]
Paths = Annotated[list[Path] | None, typer.Argument(help="Audio files, or folders of them.")]
Table = Annotated[
    Path | None,
    typer.Option(help="A recordings.csv with times; without PATHS its rows of the infant."),
]
At = Annotated[str | None, typer.Option(help="When PATHS were recorded, ISO 8601.")]


class Format(StrEnum):
    """Output of `crywatch infant score`."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


@app.command()
def enroll(infant_id: Id, paths: Paths = None, table: Table = None, at: At = None) -> None:
    """Learn what is normal for an infant from PATHS; more of them later extend it.

    Without PATHS the infant is fitted again on what it has. Exit code 1 if a file cannot be read.
    """
    from crywatch.infants.user_files import user_files

    infants = _infants()
    files = user_files(paths or [], infant_id, table, at, say)
    found = infants.enroll(infant_id, files)
    typer.echo(
        f"{found.infant_id}: {found.new} recording(s) enrolled; the baseline has "
        f"{found.recordings} in {found.sessions} session(s), model version {found.version}"
    )
    typer.echo(_promise(found.promise))
    _end(found.failed)


@app.command()
def score(
    infant_id: Id,
    paths: Paths = None,
    table: Table = None,
    at: At = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.table,
) -> None:
    """Say how far new recordings of an infant are from its normal, in the order of time.

    What is normal enters the baseline. Exit code 1 if a file cannot be read.
    """
    from crywatch.infants.user_files import user_files

    if not paths and table is None:
        raise CrywatchError("name the recordings to score, or a table of them by --table")
    infants = _infants()
    infants.must_have(infant_id)
    files = user_files(paths or [], infant_id, table, at, say)
    found = infants.score(infant_id, files)
    for line in _FORMATS[format](found.files):
        typer.echo(line)
    if not found.promise.promised:
        say(_promise(found.promise))
    _end(found.failed)


@app.command()
def timeline(
    infant_id: Id,
    out: Annotated[Path | None, typer.Option(help="The HTML page to write.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="The table to write.")] = None,
) -> None:
    """Write an infant's timeline as a page that needs no network, and as a table."""
    from crywatch.core import params
    from crywatch.infants.pages import write_timeline
    from crywatch.infants.timeline.config import TimelineConfig

    if out is None and parquet is None:
        raise CrywatchError("name the page to write by --out, or the table by --parquet")
    if out is not None and parquet is not None and out.resolve() == parquet.resolve():
        raise CrywatchError(f"--out and --parquet are both {out}: name two files")
    config = params.section("timeline", TimelineConfig, root() / params.PARAMS_FILE)
    made = write_timeline(_infants(), infant_id, config, out, parquet)
    for path in (out, parquet):
        if path is not None:
            typer.echo(f"{path}: {len(made.recordings)} recordings of {made.infant_id}")


@app.command("list")
def list_infants() -> None:
    """Show the infants of the store."""
    with _infants().store.reading() as reader:
        listed = reader.listed()
    typer.echo(f"{'recordings':>10}  {'sessions':>8}  {'version':>7}  {'latest':<20}  infant")
    for one in listed:
        typer.echo(
            f"{one.recordings:>10}  {one.sessions:>8}  {one.version:>7}  "
            f"{one.last:%Y-%m-%dT%H:%M:%SZ}  {one.infant_id}"
        )


@app.command()
def forget(
    infant_id: Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove every trace of an infant, search the store's bytes for it, and say what was found."""
    from crywatch.infants.store import forget

    infants = _infants()
    if not yes:
        typer.confirm(f"Remove all that is kept of infant {infant_id!r}?", abort=True, err=True)
    gone = forget(infants.store, infant_id)
    typer.echo(
        f"{gone.infant_id}: removed {gone.recordings} recording(s) with their vectors, "
        f"{gone.versions} model(s) in {gone.files} files, {len(gone.pages)} page(s) and table(s)"
    )
    for path in gone.pages:
        typer.echo(f"removed {path}")
    for path in gone.changed_pages:
        say(f"{path}: was changed since it was written, so it is left to you")
    what = "its id, digests and vectors" if gone.id_searched else "its digests and vectors"
    typer.echo(
        f"nothing is left: {gone.searched_bytes} bytes of {gone.searched_files} file(s) in "
        f"{infants.store.folder} were searched for {what} ({gone.searched_for})"
    )
    if not gone.id_searched:
        typer.echo("the id itself is too short to be told from chance; its digest was searched for")


def _infants() -> Infants:
    from crywatch.core import params
    from crywatch.infants.enrolment import InfantConfig, Infants

    here = root()
    file = here / params.PARAMS_FILE
    config = params.section("infant", InfantConfig, file)
    return Infants(config, params.plain("seed", file), here, say)


def _end(failed: Iterable[Failed]) -> None:
    failed = list(failed)
    for one in failed:
        say(one.error)
    if failed:
        raise typer.Exit(1)


def _promise(promise: Promise) -> str:
    if promise.promised:
        return (
            f"promised: {promise.rate:g} of its normal recordings alarm ({promise.method} on "
            f"{promise.n} recordings; {promise.reachable:.3g} could be reached)"
        )
    return f"no false alarm rate is promised, so nothing alarms: {promise.reason}"


def _to_table(files: Iterable[ScoredFile]) -> Iterable[str]:
    yield f"{'recorded':<20}  {'score':>7}  {'p':>5}  {'alarm':<5}  {'baseline':<8}  path"
    for one in files:
        enters = "enters" if one.accepted else "not"
        yield (
            f"{one.recorded_at:%Y-%m-%dT%H:%M:%SZ}  {one.score:7.3f}  {one.p:5.3f}  "
            f"{'ALARM' if one.alarm else '-':<5}  {enters:<8}  {one.path}"
            + (f"  ({one.reason})" if one.reason else "")
        )


def _to_jsonl(files: Iterable[ScoredFile]) -> Iterable[str]:
    import json
    from dataclasses import asdict

    for one in files:
        values = asdict(one) | {"recorded_at": one.recorded_at.isoformat()}
        yield json.dumps(values, ensure_ascii=False)


def _to_csv(files: Iterable[ScoredFile]) -> Iterable[str]:
    import csv
    import io
    from dataclasses import asdict

    from crywatch.infants.answers import ScoredFile

    buffer = io.StringIO()
    names = list(ScoredFile.__dataclass_fields__)
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) | {"recorded_at": one.recorded_at.isoformat()} for one in files)
    yield buffer.getvalue().rstrip("\n")


_FORMATS: dict[str, Callable[[Iterable[ScoredFile]], Iterable[str]]] = {
    "table": _to_table,
    "jsonl": _to_jsonl,
    "csv": _to_csv,
}
