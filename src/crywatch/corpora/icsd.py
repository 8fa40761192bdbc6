"""ICSD: 10 s clips for the detection of infant cries and snoring, real, weak and synthetic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crywatch.corpora.shared import uploads
from crywatch.corpora.shared.base import ClipEntry, Corpus, Details, Event, Refused, Remote
from crywatch.corpora.shared.rows import Row, read_rows

ROOTS = ("data", ".")  # in the repository's layout, or the archive's content alone
DEMO = "demo"  # four clips in the publisher's repository
PARTS = ("train", "validation", "test")
STRONG = ("filename", "onset", "offset", "event_label")
WEAK = ("filename", "event_labels")
DURATIONS = "_durations"  # tables that list clips without events too
CRY, SNORING = "Infantcry", "Snoring"
EVENTS = {CRY: "cry", SNORING: "snoring"}  # publisher's class -> label of the events table
_HUB = "https://huggingface.co/datasets/QingyuLiu1/ICSD"

_DEMO_NAME = re.compile(rf"^(?P<kind>Real|Synth)_(?P<category>{CRY}|{SNORING})$")
# Names that sources keep where they are taken over: ESC-50's, and AudioSet's with times.
_ESC50_NAME = re.compile(r"^\d-(?P<src>\d+)-[A-Z]-\d+$")
_YOUTUBE_NAME = re.compile(r"^Y?(?P<id>[\w-]{11})_\d+(\.\d+)?_\d+(\.\d+)?$")


@dataclass
class _Clip:
    """All rows of one file."""

    path: str
    kind: str  # real, weak, synthetic
    part: str  # train, validation, test
    classes: list[str] = field(default_factory=list)  # without repetition
    events: list[Event] = field(default_factory=list)


class Icsd(Corpus):
    """``data/{audio,metadata}/{train,validation,test}``: a folder and a table of the same name.

    Synthetic clips of one official part are mixed from one stock of cries and backgrounds, and
    their names do not tell of which: a part counts as one recording, so that it is never divided.
    """

    name = "icsd"
    citation = (
        "Q. Liu, L. Song, D. Xu, Y. Long. ICSD: An Open-source Dataset for Infant Cry and Snoring "
        "Detection. arXiv 2408.10561, 2024."
    )
    licence = "research only"
    terms = "Non-commercial research and teaching; no redistribution; terms on Hugging Face."
    commercial_use = False
    homepage = _HUB
    remotes = (
        Remote(f"{_HUB}/resolve/main/Dataset.zip", "Dataset.zip", host="huggingface", into="data"),
    )

    def check(self, folder: Path) -> None:
        """Audio and metadata must be there, or the demo."""
        if not (folder / DEMO).is_dir() and _root(folder) is None:
            self.require(folder, f"{ROOTS[0]}/audio", f"{ROOTS[0]}/metadata")

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """Clips of the tables in their order, what no table lists, then the demo."""
        root = _root(folder)
        if root is not None:
            yield from self._tables(folder, root)
        for path in self.audio_files(folder, DEMO):
            match = _DEMO_NAME.match(Path(path).stem)
            if match is None:
                yield Refused(path, "the name is not 'Real|Synth_Infantcry|Snoring'")
                continue
            kind = "synthetic" if match["kind"] == "Synth" else "real"
            yield ClipEntry(
                source_path=path,
                label="cry" if match["category"] == CRY else "other",
                category=match["category"],
                recording_id=f"icsd/demo/{Path(path).stem}",
                licence=self.licence,
                details=Details(part=DEMO, kind=kind),
            )

    def _tables(self, folder: Path, root: str) -> Iterator[ClipEntry | Refused]:
        in_table: set[str] = set()
        for part in PARTS:
            for table in sorted((folder / root / "metadata" / part).glob("*.tsv")):
                if table.stem.endswith(DURATIONS):
                    continue
                for clip in _read(folder, root, part, table):
                    in_table.add(clip.path)
                    if (folder / clip.path).is_file():
                        yield self._entry(clip)
                    else:
                        yield Refused(clip.path, f"listed in {table.name}, but missing")
        for path in self.audio_files(folder, f"{root}/audio"):
            if path not in in_table:
                yield Refused(path, "listed in no table of metadata/")

    def _entry(self, clip: _Clip) -> ClipEntry:
        stem = Path(clip.path).stem
        infant = session = None
        if clip.kind == "synthetic":
            recording = f"icsd/synthetic/{clip.part}"
        elif match := _ESC50_NAME.match(stem):
            recording = f"freesound/{match['src']}"
        elif upload := uploads.parse(clip.path):
            recording = session = upload.recording_id
            infant = upload.infant_id
        elif match := _YOUTUBE_NAME.match(stem):
            recording = f"youtube/{match['id']}"
        else:
            recording = f"icsd/{stem}"
        return ClipEntry(
            source_path=clip.path,
            label="cry" if CRY in clip.classes else "other",
            category="+".join(sorted(clip.classes)) or "background",
            recording_id=recording,
            licence=self.licence,
            infant_id=infant,
            session_id=session,
            events=tuple(sorted(clip.events, key=lambda e: (e.onset_s, e.offset_s, e.label))),
            details=Details(part=clip.part, kind=clip.kind),
        )


def _root(folder: Path) -> str | None:
    for root in ROOTS:
        if all((folder / root / name).is_dir() for name in ("audio", "metadata")):
            return root
    return None


def _read(folder: Path, root: str, part: str, table: Path) -> list[_Clip]:
    """The clips of one table, in the order in which it names them first."""
    weak = "weak" in table.stem
    kind = "weak" if weak else "synthetic" if "synth" in table.stem else "real"
    audio = Path(root) / "audio" / part / table.stem
    clips: dict[str, _Clip] = {}
    for row in read_rows(table, WEAK if weak else STRONG, delimiter="\t"):
        name = row.inside("filename")
        clip = clips.setdefault(name, _Clip((audio / name).as_posix(), kind, part))
        labels = row["event_labels"].split(",") if weak else [row["event_label"]]
        labels = [label.strip() for label in labels if label.strip()]
        clip.classes += [label for label in labels if label not in clip.classes]
        if labels and not weak:
            clip.events.append(_event(row))
    durations = table.with_name(f"{table.stem}{DURATIONS}.tsv")
    if durations.is_file():
        for row in read_rows(durations, ("filename",), delimiter="\t"):
            name = row.inside("filename")
            clips.setdefault(name, _Clip((audio / name).as_posix(), kind, part))
    return list(clips.values())


def _event(row: Row) -> Event:
    onset_s, offset_s = row.number("onset"), row.number("offset")
    if not 0 <= onset_s < offset_s:
        raise row.error("offset", f"an event from {onset_s} to {offset_s} s")
    label = row["event_label"]
    return Event(onset_s, offset_s, EVENTS.get(label, label))
