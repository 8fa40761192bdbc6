"""`crywatch listen`: thin, the logic is in `crywatch.listening`."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crywatch.cli import models as cli_models
from crywatch.core.errors import CrywatchError
from crywatch.core.project import root, say

if TYPE_CHECKING:
    from crywatch.detection.decisions import Rule
    from crywatch.listening.engine import Windowed


def listen(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]SOURCE...",
            help="A file, - (standard input), mic or mic:DEVICE, rtsp://, http:// or https://, or "
            "env:VARIABLE, which holds an address with its password.",
        ),
    ],
    model: cli_models.Deciding = None,
    threshold: cli_models.Threshold = None,
    false_alarms_per_hour: cli_models.StatedRate = None,
    seconds: Annotated[bool, typer.Option("--seconds", help="Print each second's score.")] = False,
    speed: Annotated[
        float, typer.Option(min=0.0, help="Of files, times that of sound; 0: as fast as can be.")
    ] = 1.0,
    pcm: Annotated[
        int, typer.Option(min=0, help="Standard input is 16-bit mono samples, so many a second.")
    ] = 0,
    keep_clips: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep the sound around events, for `crywatch review`."),
    ] = None,
    page: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Serve a page of now and of the last nights.")
    ] = "",
    history: Annotated[
        Path | None,
        typer.Option(help="The file of the page's nights; by default one in ~/.local/state."),
    ] = None,
    infant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SOURCE=]ID", help="Compare events with this enrolled infant's own crying."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Of this listener; by default the machine's.")] = "",
    mqtt: Annotated[
        str,
        typer.Option(
            help="A broker: mqtt://[USER@]HOST[:PORT], mqtts:// with TLS, or env:VARIABLE. The "
            "password is in the environment: CRYWATCH_MQTT_PASSWORD."
        ),
    ] = "",
    mqtt_ca: Annotated[
        str, typer.Option(help="File of the authority that signed the broker's certificate.")
    ] = "",
    webhook: Annotated[
        str, typer.Option(help="An address that events are posted to, or env:VARIABLE.")
    ] = "",
) -> None:
    """Listen to SOURCES: one decision a second, and a line of JSON for what happens.

    Streams and microphones are opened again whenever they fail. SIGTERM and Ctrl-C end open events.
    """
    from crywatch.detection import released
    from crywatch.detection.detectors import load_detector
    from crywatch.listening.config import ListenConfig
    from crywatch.listening.engine import windowed
    from crywatch.listening.keeping import Keeping, keeping
    from crywatch.listening.lines import Lines
    from crywatch.listening.listener import Listener
    from crywatch.listening.model_watch import ModelWatch
    from crywatch.listening.outlets import Outlets
    from crywatch.listening.sources import parse_sources

    parsed, config = parse_sources(sources), ListenConfig.here()
    detect = released.configuration()
    if threshold is not None or false_alarms_per_hour is not None:
        detect = dataclasses.replace(
            detect, threshold=threshold, false_alarms_per_hour=false_alarms_per_hour
        )

    def find() -> Path:
        return cli_models.folder(model, detect.model)

    def load(folder: Path) -> tuple[Windowed, Rule]:
        detector = load_detector(folder)
        return windowed(detector, str(folder)), detect.rule(detector.decision)

    folder = find()
    heard = load(folder)
    outlets = Outlets(name, mqtt, mqtt_ca, webhook).sinks(parsed, config, say)
    asked = Keeping(keep_clips, page, history, infant or (), config.history_days)
    names = [source.name for source in parsed]
    with keeping(asked, config.clips, names, _project(), say) as kept:
        listener = Listener(
            parsed,
            *heard,
            config,
            [Lines(sys.stdout, seconds), *outlets, *kept],
            say,
            speed,
            pcm,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: listener.stop())
        watch = ModelWatch(find, load, listener.use, say, config.look_s, folder)
        listener.run()
        watch.close()
        for number in (signal.SIGTERM, signal.SIGINT):  # a second one ends what is slow to end
            signal.signal(number, signal.SIG_DFL)
    if listener.failed:
        raise typer.Exit(1)


def _project() -> Path:
    """Where the infants are that `--infant` names; without a project, here."""
    try:
        return root().absolute()
    except CrywatchError:
        return Path.cwd()
