"""The `crywatch review` command: thin, the logic is in `crywatch.listening.clips`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crywatch.core.errors import CrywatchError
from crywatch.core.project import root, say, tell

if TYPE_CHECKING:
    from crywatch.listening.clips import Clip, ClipFolder

QUESTION = "[c]ry, [o]ther sound, [p]lay, [s]kip, [q]uit? "
OWN_FOLDER = "corpus.recordings.folder"


class Label(StrEnum):
    """Of a clip."""

    cry = "cry"
    other = "other"
    unknown = "unknown"


def review(
    folder: Annotated[Path, typer.Argument(help="That of `crywatch listen --keep-clips`.")],
    clips: Annotated[
        list[str] | None, typer.Argument(help="Which clips --label is of, as --list has them.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the clips, and no more.")] = False,
    label: Annotated[Label | None, typer.Option(help="What CLIPS are: nothing is asked.")] = None,
    category: Annotated[
        str, typer.Option(help="What it is in a word of yours, such as television; with --label.")
    ] = "",
    into: Annotated[
        Path | None,
        typer.Option(
            help="The folder of your recordings; by default params.yaml's corpus.recordings.folder."
        ),
    ] = None,
) -> None:
    """Say of each clip whether it is a cry, by a key, and move those into your recordings.

    There `crywatch retrain` finds them. Clips that were marked on the listener's page are labelled
    already. Without a terminal nothing is asked.
    """
    from crywatch.listening.clips import ClipFolder

    if not folder.is_dir():
        raise CrywatchError(f"{folder} is no folder: `crywatch listen --keep-clips` makes it")
    if (label is None) != (not clips):
        raise CrywatchError("--label goes with the clips that it is of")
    if category and label is None:
        raise CrywatchError("--category goes with --label")
    kept = ClipFolder(folder)
    if show:
        for clip in kept.clips():
            tell(f"{clip.label:<7}  {clip.recorded_at}  {clip.path}  {clip.category}".rstrip())
        return
    if label is not None:
        for name in clips or ():
            kept.label(name, label.value, category)
    elif _is_terminal():
        _ask(kept)
    _deliver(kept, into)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _ask(kept: ClipFolder) -> None:
    from crywatch.listening.clips.review import KEYS, unlabelled

    waiting = unlabelled(kept.clips())
    for number, clip in enumerate(waiting, start=1):
        tell(f"{number} of {len(waiting)}: {clip.recorded_at}  {clip.path}")
        while True:
            typer.echo(QUESTION, nl=False)
            key = typer.getchar().lower()
            typer.echo(key if key.isprintable() else "")
            if key in ("q", "\x03", "\x04"):
                return
            if key == "p":
                _play(kept, clip)
            elif key in KEYS:
                kept.label(clip.path, KEYS[key])
                break
            elif key == "s":
                break


def _play(kept: ClipFolder, clip: Clip) -> None:
    """On the loudspeaker; what stands in the way is told, and the question asked again."""
    path = kept.file(clip.path)
    try:
        import sounddevice

        from crywatch.audio.decode import decode

        sound = decode(path)
        sounddevice.play(sound.wave, sound.rate_hz, blocking=True)
    except (ImportError, OSError, CrywatchError) as error:  # PortAudio is missing: OSError
        say(f"{path} is not played here: {error}")
    except Exception as error:  # PortAudio's own, of which the import may have failed
        if not type(error).__module__.startswith("sounddevice"):
            raise
        say(f"{path} is not played here: {error}")


def _deliver(kept: ClipFolder, into: Path | None) -> None:
    from crywatch.listening.clips.review import deliver, unlabelled

    clips = kept.clips()
    rest = len(unlabelled(clips))
    if rest < len(clips):
        corpus = into or _own_recordings()
        if corpus is None:
            say(
                f"{len(clips) - rest} labelled clip(s) stay in {kept.folder}: name the folder of "
                f"your recordings by --into, or as {OWN_FOLDER} in params.yaml"
            )
        else:
            given = deliver(kept, corpus)
            tell(f"{corpus}: {given.cries} cries and {given.others} other sounds more")
    tell(f"{kept.folder}: {rest} clip(s) without a label")


def _own_recordings() -> Path | None:
    """The folder that the project's params.yaml names; None where it names none."""
    from crywatch.core import params
    from crywatch.corpora.shared.base import is_named

    try:
        project = root()
    except CrywatchError:  # outside a project, as on a device
        return None
    named = params.plain(OWN_FOLDER, project / params.PARAMS_FILE)
    return project / named if is_named(named) else None
