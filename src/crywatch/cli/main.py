"""The `crywatch` command."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import shutil
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from crywatch.cli import demo as cli_demo
from crywatch.cli import devices as cli_devices
from crywatch.cli import infant as cli_infant
from crywatch.cli import listen as cli_listen
from crywatch.cli import models as cli_models
from crywatch.cli import own as cli_own
from crywatch.cli import rebuild as cli_rebuild
from crywatch.cli import retrain as cli_retrain
from crywatch.cli import review as cli_review
from crywatch.cli import runs as cli_runs
from crywatch.cli import schedule as cli_schedule
from crywatch.cli import trace as cli_trace
from crywatch.cli.sections import Sections
from crywatch.core.errors import CrywatchError
from crywatch.core.project import root, say, tell
from crywatch.core.redact import guard_tracebacks
from crywatch.core.streams import give_up_output, open_closed

app = typer.Typer(
    cls=Sections,
    help="Infant cries: train with `dvc repro`, find them with `crywatch detect`, know one "
    "infant's own with `crywatch infant`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # which costs a command half its start
)


data_app = typer.Typer(help="What there is of the corpora.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(cli_infant.app, name="infant")
app.command()(cli_listen.listen)
app.command()(cli_demo.demo)
app.command()(cli_own.evaluate)
app.command()(cli_devices.export)
app.command()(cli_retrain.retrain)
app.command()(cli_review.review)
app.add_typer(cli_schedule.app, name="schedule")
app.add_typer(cli_models.app)
cli_runs.mount(app)
cli_trace.mount(app)
cli_rebuild.mount(app)


class Format(StrEnum):
    """Output of `crywatch detect`."""

    table = "table"
    jsonl = "jsonl"
    audacity = "audacity"
    srt = "srt"


def _print_version(wanted: bool) -> None:
    if wanted:
        from crywatch import __version__

        typer.echo(f"crywatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Keeps sub-commands as sub-commands."""


@app.command()
def detect(
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.")],
    model: cli_models.Deciding = None,
    format: Annotated[
        Format,
        typer.Option(help="How to print: audacity is a label track, srt subtitles of one file."),
    ] = Format.table,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw one file and its events, as this PNG.")
    ] = None,
    threshold: cli_models.Threshold = None,
    false_alarms_per_hour: cli_models.StatedRate = None,
) -> None:
    """Score every second of PATHS and merge the cries into events.

    A file that cannot be decoded gives a line with its error, and exit code 1 at the end.
    """
    from crywatch.audio.guard import start_worker
    from crywatch.core.progress import progress
    from crywatch.detection import formats, released, terminal
    from crywatch.detection.detect import detect_file
    from crywatch.detection.detectors import load_detector

    config = released.configuration()
    if threshold is not None or false_alarms_per_hour is not None:
        # Both of them: what the command says goes before what params.yaml says.
        config = dataclasses.replace(
            config, threshold=threshold, false_alarms_per_hour=false_alarms_per_hour
        )
    files = _recordings(paths)
    if len(files) > 1 and (plot is not None or format is Format.srt):
        asked = "--format srt" if plot is None else "--plot"
        raise CrywatchError(f"{asked} is of one recording, and {len(files)} are named")
    start_worker()
    detector = load_detector(cli_models.folder(model, config.model))
    detector.speed_up()
    rule = config.rule(detector.decision)  # what cannot be decided by is refused at once
    failed = False
    show = formats.FORMATS[format]
    if format is Format.table and terminal.is_terminal():
        show = partial(terminal.to_terminal, columns=shutil.get_terminal_size().columns)
    elif format is Format.table:
        typer.echo(formats.TABLE_HEADER)
    for path in progress(files, "detect", unit="file"):
        detection = detect_file(path, detector, config)
        failed = failed or detection.error is not None
        for note in detection.condition.notes(detection.duration_s, "scored"):
            say(f"{path}: {note}")
        if detection.error is not None and format in formats.LABELS:
            say(detection.error)
        elif line := show(detection):
            typer.echo(line)
        if detection.error is None and plot is not None:
            from crywatch.detection.plot import plot_file

            plot_file(detection, path, plot, config, rule)
            say(f"{plot}: drawn")
    if failed:
        raise typer.Exit(1)


def _recordings(paths: list[Path]) -> list[Path]:
    from crywatch.detection.detect import find_files

    files = list(find_files(paths))
    if not files:
        named = ", ".join(map(str, paths))
        raise CrywatchError(f"no audio files in {named}: name recordings, or a folder of them")
    return files


@app.command()
def embed(
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    model: Annotated[
        Path | None,
        typer.Option(help="A network's folder; by default params.yaml's infant.hearing.network."),
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="A vector a file, not a cry.")] = False,
) -> None:
    """Write path, start_s and vector (192 numbers, of length 1) of every cry in PATHS.

    A file that cannot be read is told on standard error, and gives exit code 1 at the end.
    """
    from crywatch.core import params
    from crywatch.core.progress import progress
    from crywatch.infants.enrolment.listening import HearingConfig, Listener, embed_files

    files = _recordings(paths)
    config = params.section("infant.hearing", HearingConfig, root() / params.PARAMS_FILE)
    listener = Listener(config, root(), model)
    shown = progress(files, "embed", unit="file")
    done = embed_files(shown, listener, out, whole, say)
    tell(f"{out}: {done.rows} vectors of {done.files - done.failed} files")
    if done.failed:
        raise typer.Exit(1)


@app.command("mine-published")
def mine_published(
    features: Annotated[Path, typer.Argument(help="audioset_v1_embeddings, or a part of it.")],
    model: Annotated[Path, typer.Option(help="A miner trained on VGGish with PCA.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    top_t: Annotated[
        int | None, typer.Option(help="Seconds of a clip; by default params.yaml's mine.top_t.")
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(help="class_labels_indices.csv; by default the one beside FEATURES."),
    ] = None,
) -> None:
    """Mine the top seconds of AudioSet's clips by their published features, without audio."""
    from crywatch.core import params
    from crywatch.corpora.shared.audioset_selection import AudioSetConfig
    from crywatch.detection.anomaly.mine_published import run
    from crywatch.detection.engine import EngineConfig, open_engine

    file = root() / params.PARAMS_FILE
    named = params.section("corpus.audioset", AudioSetConfig, file).classes()
    top_t = params.plain("mine.top_t", file) if top_t is None else top_t
    with open_engine(params.section("engine", EngineConfig, file)) as engine:
        mined = run(features, model, named, out, top_t, classes, engine)
    tell(f"{out}: {mined.n_seconds} seconds of {mined.n_clips} clips")


@app.command("params")
def compose_params(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Hydra overrides, e.g. profile=local.")
    ] = None,
) -> None:
    """Compose conf/ into params.yaml, as `dvc exp run -S` does."""
    from crywatch.core import params

    params.compose_to_file(overrides or [], root(params.CONF_DIR / "config.yaml"))


@app.command()
def ui(port: Annotated[int, typer.Option(help="On 127.0.0.1.")] = 5000) -> None:
    """Serve the MLflow UI on the store of params.yaml, and print its address when it answers."""
    from crywatch import tracking

    with contextlib.chdir(root()):
        tracking.ui(port=port)


@data_app.command("check")
def data_check(
    corpus: Annotated[
        str | None, typer.Argument(help="A corpus; without it all of params.yaml's `corpora`.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Of CORPUS in its publisher's layout: look there, clean nothing."),
    ] = None,
    all_corpora: Annotated[bool, typer.Option("--all", help="All of params.yaml.")] = False,
) -> None:
    """Print clips, seconds, labels, terms, refused files and duplicates of each corpus.

    Says what is not there yet and which command makes it. Exit code 1 if something is wrong.
    """
    from crywatch.core import params
    from crywatch.data.check import check_corpus, check_folder, render

    if all_corpora and (corpus is not None or folder is not None):
        raise CrywatchError("--all goes without a corpus and without --folder")
    if folder is not None:
        if corpus is None:
            raise CrywatchError("--folder needs the name of its corpus: crywatch data check CORPUS")
        listed: list[str] = []
        with contextlib.suppress(CrywatchError):  # outside of a project
            listed = list(params.plain("corpora", root() / params.PARAMS_FILE))
        checks = [check_folder(corpus, folder, listed)]
    else:
        here = root()
        listed = list(params.plain("corpora", here / params.PARAMS_FILE))
        names = listed if corpus is None else [corpus]
        checks = [check_corpus(name, here, listed) for name in names]
    typer.echo(render(checks))
    if any(check.problems for check in checks):
        raise typer.Exit(1)


def main() -> None:
    """Entry point: an error a user can act on is one line on standard error and exit code 2.

    No error, foreseen or not, tells a secret.
    """
    open_closed()
    guard_tracebacks()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except CrywatchError as error:
        said = str(error)
    except ModuleNotFoundError as error:
        from crywatch.core.extras import advice

        said = advice(error) or ""
        if not said:
            raise
    except OSError as error:  # a path that cannot be written, a full disk
        where = "" if error.filename is None else f"{error.filename}: "
        said = f"{where}{error.strerror or error}"
        if error.errno == errno.EBADF:
            said = "standard output is closed: what is printed there is lost"
        give_up_output()
    else:
        return
    say(said)
    raise SystemExit(2)
