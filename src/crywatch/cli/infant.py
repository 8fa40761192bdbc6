"""The `crywatch infant` commands: class `crywatch.infants.enrolment.infants.Infants` in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crywatch.core.errors import CrywatchError
from crywatch.core.names import json_line, shown
from crywatch.core.project import say, tell

if TYPE_CHECKING:
    from crywatch.infants.conformal import Promise
    from crywatch.infants.enrolment.infants import Infants
    from crywatch.infants.enrolment.mending import Merger, RecordingRemoval
    from crywatch.infants.enrolment.results import FailedFile, ScoredFile
    from crywatch.infants.store.forgetting import Erasure
    from crywatch.infants.store.moving import MovedInfant

app = typer.Typer(
    help="Your own infants: what is normal for each, and what is not.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(help="The infant's id: any text.", metavar="ID")]
NewId = Annotated[str, typer.Argument(help="Its new id.", metavar="NEW")]
OtherId = Annotated[str, typer.Argument(help="Another id of the infant.", metavar="OTHER")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
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
    found = _infants().enroll(infant_id, paths or (), table=table, at=at)
    tell(
        f"{found.infant_id}: {found.new} recording(s) enrolled; the baseline has "
        f"{found.recordings} in {found.sessions} session(s), model version {found.version}"
    )
    if found.corrected:
        tell(f"{found.corrected} known recording(s) have another time now")
    tell(_promise(found.promise))
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
    if not paths and table is None:
        raise CrywatchError("name the recordings to score, or a table of them by --table")
    found = _infants().score(infant_id, paths or (), table=table, at=at)
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
    if out is None and parquet is None:
        raise CrywatchError("name the page to write by --out, or the table by --parquet")
    if out is not None and parquet is not None and out.resolve() == parquet.resolve():
        raise CrywatchError(f"--out and --parquet are both {out}: name two files")
    made = _infants().timeline(infant_id, out, parquet)
    for path in (out, parquet):
        if path is not None:
            tell(f"{path}: {len(made.recordings)} recordings of {made.infant_id}")


@app.command("list")
def list_infants() -> None:
    """Show the infants of the store."""
    tell(f"{'recordings':>10}  {'sessions':>8}  {'version':>7}  {'latest':<20}  infant")
    for infant in _infants().list():
        tell(
            f"{infant.recordings:>10}  {infant.sessions:>8}  {infant.version:>7}  "
            f"{infant.last:%Y-%m-%dT%H:%M:%SZ}  {infant.infant_id}"
        )


@app.command()
def show(infant_id: Id) -> None:
    """List an infant's recordings, with their digests, and the versions of its model."""
    history = _infants().show(infant_id)
    tell(f"{'recorded':<20}  {'session':>7}  {'baseline':<8}  {'digest':<12}  path")
    for record in history.records:
        enters = "in" if record.accepted else "not"
        tell(
            f"{record.recorded_at:%Y-%m-%dT%H:%M:%SZ}  {record.session_id:>7}  {enters:<8}  "
            f"{record.digest[:12]}  {record.path}"
        )
    tell(f"{'since':<20}  {'version':>7}  {'recordings':>10}  {'sessions':>8}  files")
    for version in history.versions:
        band = version.band
        tell(
            f"{band.since:%Y-%m-%dT%H:%M:%SZ}  {band.version:>7}  {band.clips:>10}  "
            f"{band.sessions:>8}  {'not kept' if version.files is None else 'kept'}"
            + (f"  ({version.remark})" if version.remark else "")
        )


@app.command()
def remove(
    infant_id: Id,
    recording: Annotated[str, typer.Argument(help="Its path, the end of that, or its digest.")],
    yes: Yes = False,
) -> None:
    """Take one recording out of an infant, fit it again, and prove that the recording is gone.

    Versions of the model that were made with it are marked, and their files removed.
    """
    infants = _infants()
    _ask(f"Take recording {recording!r} out of infant {infant_id!r}?", yes)
    gone = infants.remove(infant_id, recording)
    tell(f"{gone.infant_id}: removed {gone.recording.path} ({gone.recording.digest[:12]})")
    if gone.marked:
        tell(f"made with it, marked and without files now: version {_listed(gone.marked)}")
    if gone.also_of:
        tell(f"it stays a recording of infant {' and '.join(map(repr, gone.also_of))}")
    _say_fitted(gone)
    _say_erased(gone, infants, "the recording's digest and vector")


@app.command()
def rename(infant_id: Id, new_id: NewId, yes: Yes = False) -> None:
    """Give an infant another id, remove pages with the old one, and prove that that is gone."""
    infants = _infants()
    _ask(f"Rename infant {infant_id!r} to {new_id!r}?", yes)
    gone = infants.rename(infant_id, new_id)
    tell(f"{infant_id} is {new_id} now")
    _say_erased(gone, infants, "the old id and its digest")


@app.command()
def merge(infant_id: Id, other_id: OtherId, yes: Yes = False) -> None:
    """Let infant ID have all recordings of OTHER, which is no more, and fit it on all of them."""
    infants = _infants()
    _ask(f"Move all recordings of infant {other_id!r} to {infant_id!r}?", yes)
    merged = infants.merge(infant_id, other_id)
    tell(f"{merged.infant_id}: {merged.moved} recording(s) of {other_id} moved")
    _say_fitted(merged)
    _say_erased(merged, infants, "the other id and its digest")


@app.command()
def export(
    infant_id: Id, folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.")]
) -> None:
    """Write all that is kept of an infant to a folder, for another store to import."""
    moved = _infants().export(infant_id, folder)
    tell(f"{folder}: {_moved(moved)}")


@app.command("import")
def take_in(
    folder: Annotated[Path, typer.Argument(help="What `crywatch infant export` wrote.")],
    infant_id: Annotated[str | None, typer.Option("--as", help="Another id for it.")] = None,
) -> None:
    """Put an infant that was exported into this store; nothing of the folder is trusted."""
    tell(f"taken in: {_moved(_infants().take_in(folder, infant_id))}")


def _moved(moved: MovedInfant) -> str:
    return (
        f"{moved.state.infant_id}, {len(moved.records)} recording(s), {len(moved.versions)} "
        f"version(s), model version {moved.state.version}"
    )


@app.command()
def forget(infant_id: Id, yes: Yes = False) -> None:
    """Remove every trace of an infant, search the store's bytes for it, and say what was found."""
    infants = _infants()
    _ask(f"Remove all that is kept of infant {infant_id!r}?", yes)
    gone = infants.forget(infant_id)
    tell(
        f"{gone.infant_id}: removed {gone.recordings} recording(s) with their vectors, "
        f"{gone.versions} model(s) in {gone.files} files, {len(gone.pages)} page(s) and table(s)"
    )
    what = "its id, digests and vectors" if gone.id_searched else "its digests and vectors"
    _say_erased(gone, infants, what)
    if not gone.id_searched:
        tell("the id itself is too short to be told from chance; its digest was searched for")


def _ask(question: str, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _say_fitted(mended: RecordingRemoval | Merger) -> None:
    tell(f"the baseline has {mended.recordings} recording(s), model version {mended.version}")
    tell(_promise(mended.promise))


def _say_erased(gone: Erasure, infants: Infants, what: str) -> None:
    for path in gone.pages:
        tell(f"removed {path}")
    for path in gone.changed_pages:
        say(f"{path}: was changed since it was written, so it is left to you")
    tell(
        f"nothing is left: {gone.searched_bytes} bytes of {gone.searched_files} file(s) in "
        f"{infants.folder} were searched for {what} ({gone.searched_for})"
    )


def _infants() -> Infants:
    from crywatch.infants.enrolment.infants import Infants

    return Infants(say=say)


def _end(failed: Iterable[FailedFile]) -> None:
    failed = list(failed)
    for file in failed:
        say(file.error)
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
    for file in files:
        enters = "enters" if file.accepted else "not"
        yield shown(
            f"{file.recorded_at:%Y-%m-%dT%H:%M:%SZ}  {file.score:7.3f}  {file.p:5.3f}  "
            f"{'ALARM' if file.alarm else '-':<5}  {enters:<8}  {file.path}"
            + (f"  ({file.reason})" if file.reason else "")
        )


def _to_jsonl(files: Iterable[ScoredFile]) -> Iterable[str]:
    from dataclasses import asdict

    for file in files:
        yield json_line(asdict(file) | {"recorded_at": file.recorded_at.isoformat()})


def _to_csv(files: Iterable[ScoredFile]) -> Iterable[str]:
    import csv
    import io
    from dataclasses import asdict

    from crywatch.infants.enrolment.results import ScoredFile

    buffer = io.StringIO()
    names = list(ScoredFile.__dataclass_fields__)
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for file in files:
        values = asdict(file) | {"recorded_at": file.recorded_at.isoformat()}
        writer.writerow(values | {"path": shown(file.path)})
    yield buffer.getvalue().rstrip("\n")


_FORMATS: dict[str, Callable[[Iterable[ScoredFile]], Iterable[str]]] = {
    "table": _to_table,
    "jsonl": _to_jsonl,
    "csv": _to_csv,
}
