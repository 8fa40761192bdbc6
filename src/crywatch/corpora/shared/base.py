"""The contract of a corpus: where it comes from, how it is laid out, and what its names say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from crywatch.core import paths
from crywatch.core.errors import CorpusError
from crywatch.core.names import recordings_below

if TYPE_CHECKING:
    from crywatch.audio.decode import Decoded

OWN = "recordings"  # the corpus of the user's recordings
CRY = "cry"  # the label of what is detected, whatever it is
INFANT_CRY = "infant_cry"  # of an infant's cry where something else is detected


@dataclass(frozen=True)
class Remote:
    """A file on the publisher's server.

    ``sha256`` is None where the host itself names it (``host`` is huggingface or osf: it is then
    asked for and checked), and for archives that the host makes anew at each request; what was
    inside is then recorded by the digests of the clips.
    """

    url: str
    filename: str
    sha256: str | None = None
    host: str = ""  # huggingface: gated, needs a token; osf: ``url`` lists the files by name
    into: str = ""  # folder below the corpus folder that takes the content
    unpack: bool = True  # false: the file is kept as it is


@dataclass(frozen=True)
class WantedClip:
    """A stretch of a video on a media host, to be fetched on its own (`download.youtube`)."""

    source_path: str  # below the corpus folder, with forward slashes; a FLAC file
    url: str
    start_s: float
    end_s: float
    category: str  # its line in the report of what came

    @property
    def clip(self) -> str:
        """Its name in the ledger."""
        return Path(self.source_path).stem


@dataclass(frozen=True)
class Event:
    """A strong label inside a clip."""

    onset_s: float
    offset_s: float
    label: str


@dataclass(frozen=True)
class Details:
    """What only some publishers say of a clip; a row of table ``details`` (`shared.details`)."""

    part: str | None = None  # of the publisher's own split: train, dev, validation, test
    kind: str | None = None  # what sort of clip: cry or bout; real, weak or synthetic
    sex: str | None = None  # f, m
    age_months: float | None = None
    age_round: str | None = None  # of recording, in the publisher's terms
    cause: str | None = None  # of the crying, in the publisher's classes
    cause_parent: str | None = None  # the same in the parent's judgement, where both are told


@dataclass(frozen=True)
class ClipEntry:
    """One audio file and what the publisher says of it."""

    source_path: str  # below the corpus folder, with forward slashes
    label: str  # cry, other, unknown
    category: str  # the publisher's own class
    recording_id: str  # what the clip was cut from; the same over all corpora
    licence: str
    infant_id: str | None = None
    session_id: str | None = None
    recorded_at: datetime | None = None
    events: tuple[Event, ...] = ()
    details: Details | None = None
    title: str = ""  # names the clip where the file's own name must not

    def by_event(self, event: str) -> ClipEntry:
        """The clip as it is labelled where ``event``, a publisher's class, is to be detected.

        Clips and strong labels of that class are "cry", infants' cries among the others; case does
        not matter. Event "cry" is an infant's, which every corpus knows by itself.
        """
        if event == CRY:
            return self
        wanted = event.casefold()
        own = self.category.casefold() == wanted
        names = {CRY: CRY if own else INFANT_CRY, wanted: CRY}
        events = tuple(
            replace(each, label=names.get(each.label.casefold(), each.label))
            for each in self.events
        )
        if own or any(each.label == CRY for each in events):
            return replace(self, label=CRY, events=events)
        label = "unknown" if self.label == "unknown" else "other"
        return replace(self, label=label, events=events)


@dataclass(frozen=True)
class Refused:
    """An audio file that the layout does not explain."""

    source_path: str
    reason: str


@dataclass(frozen=True)
class CorpusConfig:
    """Section ``corpus.<name>``."""

    # In the publisher's layout, read before the source of the profile; `paths.NO_CORPUS` for none.
    folder: str


def is_generated(source: str, folder: str) -> bool:
    """Whether data.source generates a corpus' sounds: a ``folder`` named for it goes before."""
    return source == "generated" and not is_named(folder)


def is_named(folder: str) -> bool:
    """Whether ``corpus.<name>.folder`` names a folder."""
    return Path(folder) not in (Path(), paths.NO_CORPUS)


class Corpus(ABC):
    """A corpus in its publisher's layout. Stateless: everything is in the folder."""

    name: ClassVar[str]
    citation: ClassVar[str]
    licence: ClassVar[str]
    terms: ClassVar[str]
    commercial_use: ClassVar[bool]  # false where the terms forbid it for any clip, or say nothing
    homepage: ClassVar[str]
    remotes: ClassVar[tuple[Remote, ...]]  # empty: `obtain` says how to come by the files
    obtain: ClassVar[str] = ""
    options: ClassVar[type[CorpusConfig]] = CorpusConfig  # section ``corpus.<name>``

    def files(self, options: CorpusConfig) -> tuple[Remote, ...]:
        """The files that are fetched under ``options``, an instance of `options`."""
        return self.remotes

    def choose(self, folder: Path, options: CorpusConfig) -> Sequence[WantedClip]:
        """Clips to be fetched one by one, once `files` are in ``folder``.

        What was chosen may be written to ``folder``, which is not the final one yet. That some
        clips cannot be had any more is normal: a ledger in the folder says why.
        """
        return ()

    def complete(self, folder: Path, options: CorpusConfig) -> None:  # noqa: B027
        """Add to ``folder``, which is not the final one yet, the files that ``options`` name."""

    @abstractmethod
    def check(self, folder: Path) -> None:
        """Raise CorpusError, naming what is missing, unless ``folder`` has the layout."""

    @abstractmethod
    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """All audio files of ``folder``, in a fixed order."""

    def credits(self, folder: Path) -> Iterator[str]:
        """Lines of Markdown with whom the licences ask to name; none where the terms say it all."""
        return iter(())

    def index(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """`entries`, checked; nothing for a corpus that was allowed to be missing."""
        if paths.missing_note(folder):
            return
        self.check(folder)
        yield from self.entries(folder)

    def load(self, folder: Path, entry: ClipEntry) -> Decoded:
        """The sound of ``entry``, as recorded; AudioError where it cannot be decoded."""
        from crywatch.audio.decode import decode

        return decode(folder / entry.source_path)

    def audio_files(self, folder: Path, below: str) -> list[str]:
        """Paths of all recordings at any depth of ``folder / below``, sorted, below ``folder``."""
        return [file.relative_to(folder).as_posix() for file in recordings_below(folder / below)]

    def require(self, folder: Path, *inside: str) -> None:
        """Raise CorpusError unless each path of ``inside`` exists below ``folder``."""
        for path in inside:
            if not (folder / path).exists():
                raise CorpusError(
                    f"{folder}: {path} is missing; {self.name} is expected in its publisher's "
                    f"layout ({self.homepage or self.obtain})"
                )
