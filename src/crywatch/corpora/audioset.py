"""AudioSet: 10 s clips of YouTube videos, labelled by people; the sound comes from YouTube."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crywatch.core.errors import ConfigError
from crywatch.corpora.shared.audioset_selection import (
    AMBIGUOUS,
    CRY,
    AudioSetConfig,
    Chosen,
    Classes,
    choose,
    found,
    read_selection,
    write_selection,
)
from crywatch.corpora.shared.audioset_selection import FILE as SELECTION
from crywatch.corpora.shared.audioset_tables import (
    CLASSES,
    SEGMENTS,
    STRONG,
    read_classes,
    read_strong,
)
from crywatch.corpora.shared.base import (
    ClipEntry,
    Corpus,
    CorpusConfig,
    Details,
    Event,
    Refused,
    Remote,
    WantedClip,
)
from crywatch.corpora.shared.ledger import FILE as LEDGER
from crywatch.corpora.shared.ledger import read_ledger

AUDIO = "audio"
FEATURES = "audioset_v1_embeddings"
# Of a folder that has no selection; conf/corpus.yaml names the same.
BABY_CRY, CRYING = "/t/dd00002", "/m/0463cq4"
DEFAULT_CLASSES = Classes(
    cry={"baby_cry": BABY_CRY},
    ambiguous={"crying_sobbing": CRYING},
    confusers={
        "whimper": "/m/07qz6j3",
        "baby_laughter": "/t/dd00001",
        "babbling": "/m/0261r1",
        "child_speech": "/m/0ytgt",
        "screaming": "/m/03qc9zr",
        "wail": "/m/07qw_06",
        "meow": "/m/07qrkrw",
        "cat": "/m/01yrx",
        "whimper_dog": "/t/dd00136",
    },
)
_PUBLISHER = "https://storage.googleapis.com/us_audioset/youtube_corpus"


@dataclass
class _Strong:
    """The strong labels of one clip."""

    mids: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)


class AudioSet(Corpus):
    """The published tables, ``audio/<ytid>_<start ms>.*``, ``selection.csv`` and the ledger.

    Without ``selection.csv`` (a mirror of one's own) every row counts whose audio is there.

    A clip is a cry by class Baby cry, and unknown by its parent Crying, sobbing alone, which may
    be an adult. Labels are not propagated to parents, so one of the two can stand without the
    other. Where a clip has strong labels they decide, being the later and closer look: one that is
    a cry by its weak label only is unknown, and one with a cry event is a cry whatever its weak
    labels say.
    """

    name = "audioset"
    citation = (
        "J. F. Gemmeke, D. P. W. Ellis, D. Freedman et al. Audio Set: An ontology and "
        "human-labeled dataset for audio events. ICASSP 2017; S. Hershey, D. P. W. Ellis, "
        "E. Fonseca et al. The benefit of temporally-strong labels in audio event classification. "
        "ICASSP 2021."
    )
    licence = "YouTube; labels CC BY 4.0"
    terms = "The sound under YouTube's terms and each uploader's licence; the labels CC BY 4.0."
    commercial_use = False
    homepage = "https://research.google.com/audioset/download.html"
    options = AudioSetConfig
    remotes = (
        *(
            Remote(f"{_PUBLISHER}/v1/csv/{name}", name, unpack=False)
            for name in (*SEGMENTS.values(), CLASSES)
        ),
        *(Remote(f"{_PUBLISHER}/strong/{name}", name, unpack=False) for name in STRONG),
        Remote(f"{_PUBLISHER}/v1/features/features.tar.gz", "features.tar.gz"),
    )

    def files(self, options: CorpusConfig) -> tuple[Remote, ...]:
        """The tables of the parts that are chosen from, and the features where asked for."""
        options = _configured(options)
        left_out = {name for part, name in SEGMENTS.items() if part not in options.parts}
        if not options.features:
            left_out.add("features.tar.gz")
        return tuple(remote for remote in self.remotes if remote.filename not in left_out)

    def choose(self, folder: Path, options: CorpusConfig) -> Sequence[WantedClip]:
        """Writes ``selection.csv``; the clips of its rows, in their order."""
        chosen = choose(folder, _configured(options))
        write_selection(folder / SELECTION, chosen)
        (folder / AUDIO).mkdir(exist_ok=True)
        return [
            WantedClip(
                source_path=f"{AUDIO}/{row.segment.segment_id}.flac",
                url=f"https://www.youtube.com/watch?v={row.segment.ytid}",
                start_s=row.segment.start_s,
                end_s=row.segment.end_s,
                category=f"{row.part} {row.what.name}",
            )
            for row in chosen
        ]

    def check(self, folder: Path) -> None:
        """A selection or a table of segments must be there, and the audio."""
        tables = (SELECTION, *SEGMENTS.values())
        if not any((folder / name).is_file() for name in tables):
            self.require(folder, SEGMENTS["balanced"])
        self.require(folder, AUDIO)

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """Clips of the selection in its order, then audio files that no row explains.

        A clip without audio that the ledger explains was never an input: the ledger and the
        report of yields tell of it. One that nobody explains is refused.
        """
        audio = {Path(path).stem: path for path in reversed(self.audio_files(folder, AUDIO))}
        table = SELECTION
        if (folder / SELECTION).is_file():
            rows = read_selection(folder / SELECTION)
        else:
            table = "tables of segments"
            rows = list(found(folder, set(audio), DEFAULT_CLASSES))
        strong = _read_strong(folder, rows)
        gone = read_ledger(folder / LEDGER)
        in_table: set[str] = set()
        for row in rows:
            name = row.segment.segment_id
            if name in audio:
                in_table.add(audio[name])
                yield self._entry(row, audio[name], strong.get(name))
            elif name not in gone:
                missing = f"{AUDIO}/{name}.flac"
                yield Refused(missing, f"chosen, but there is neither audio nor a line in {LEDGER}")
        for path in self.audio_files(folder, AUDIO):
            if path not in in_table:
                yield Refused(path, f"not listed in the {table}, or there in another format too")

    def _entry(self, row: Chosen, path: str, strong: _Strong | None) -> ClipEntry:
        length_s = row.segment.end_s - row.segment.start_s
        events = () if strong is None else _within(strong.events, length_s)
        return ClipEntry(
            source_path=path,
            label=_label(row, strong, events),
            category=row.what.name,
            recording_id=f"youtube/{row.segment.ytid}",
            licence=self.licence,
            events=events,
            details=Details(part=row.part, kind="weak" if strong is None else "strong"),
        )


def _configured(options: CorpusConfig) -> AudioSetConfig:
    if not isinstance(options, AudioSetConfig):
        raise ConfigError("corpus.audioset says not what to choose: run `crywatch params`")
    return options


def _label(row: Chosen, strong: _Strong | None, events: Sequence[Event]) -> str:
    if any(event.label == "cry" for event in events):
        return "cry"
    kind = row.what.kind
    if kind == AMBIGUOUS or (strong is not None and (kind == CRY or CRYING in strong.mids)):
        return "unknown"
    return "cry" if kind == CRY else "other"


def _within(events: Iterable[Event], length_s: float) -> tuple[Event, ...]:
    """``events`` in the order of time, cut at the clip's end; those that vanish are left out."""
    cut = (Event(e.onset_s, min(e.offset_s, length_s), e.label) for e in events)
    kept = (event for event in cut if event.onset_s < event.offset_s)
    return tuple(sorted(kept, key=lambda e: (e.onset_s, e.offset_s, e.label)))


def _read_strong(folder: Path, rows: Sequence[Chosen]) -> dict[str, _Strong]:
    """Strong labels of the clips in ``rows``: "cry", or the publisher's name in lower case."""
    ids = {row.segment.segment_id for row in rows}
    names: dict[str, str] = {}
    if (folder / CLASSES).is_file():
        names = {entry.mid: entry.name for entry in read_classes(folder / CLASSES)}
    cries = {row.what.mid for row in rows if row.what.kind == CRY} | {BABY_CRY}
    names |= dict.fromkeys(cries, "cry")
    strong: dict[str, _Strong] = {}
    for table in STRONG:
        if (folder / table).is_file():
            for label in read_strong(folder / table):
                if label.segment_id in ids:
                    clip = strong.setdefault(label.segment_id, _Strong())
                    clip.mids.add(label.mid)
                    name = names.get(label.mid, label.mid)
                    clip.events.append(Event(label.onset_s, label.offset_s, name))
    return strong
