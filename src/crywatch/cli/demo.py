"""The `crywatch demo` command: a minute of sound, what is found in it, and a picture."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from crywatch.core.project import say

SOUND, PICTURE = Path("crywatch-demo.flac"), Path("crywatch-demo.png")


def demo(
    seed: Annotated[int, typer.Option(min=0, help="Another minute for another number.")] = 1,
    show: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the picture where there is a screen.")
    ] = True,
) -> None:
    """Make a minute of a generated nursery, detect its cries and draw them, in this folder.

    Writes crywatch-demo.flac and crywatch-demo.png; nothing leaves this machine.
    """
    from crywatch.audio.guard import start_worker
    from crywatch.corpora.generate.files import write_sound
    from crywatch.corpora.generate.minute import CRIES, SOUNDS, minute
    from crywatch.detection import released, terminal
    from crywatch.detection.detect import DetectConfig, detect_file
    from crywatch.detection.detectors import load_detector
    from crywatch.detection.formats import to_table
    from crywatch.detection.plot import plot_file

    start_worker()
    say(f"{SOUND}: a minute of a nursery at night, made here")
    write_sound(SOUND, minute(seed), 16_000)
    detector = load_detector(released.FOLDER)
    config = DetectConfig(model=released.NAME, threshold=None, min_event_s=1.0, max_gap_s=1.0)
    detection = detect_file(SOUND, detector, config)
    plot_file(detection, SOUND, PICTURE, config, config.rule(detector.decision))
    if terminal.is_terminal():
        typer.echo(terminal.to_terminal(detection, shutil.get_terminal_size().columns))
    else:
        typer.echo(to_table(detection))
    typer.echo("What is in it:")
    for heard in SOUNDS:
        times = f"{terminal.clock(heard.onset_s)} to {terminal.clock(heard.offset_s)}"
        typer.echo(f"  {times}  {heard.what}{'  <- to be found' if heard.what in CRIES else ''}")
    typer.echo(
        f"Look at {PICTURE}: the line is each second's probability of a cry, red is what was "
        f"called one.\nYour own recording: crywatch detect FILE --plot FILE.png"
    )
    if show and sys.stdout.isatty() and _has_screen():
        typer.launch(str(PICTURE))


def _has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
