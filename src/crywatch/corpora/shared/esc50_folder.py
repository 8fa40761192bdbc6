"""ESC-50's folder: clips of 5 s in 50 classes, of which ten (ESC-10) have their own licence."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from crywatch.core.errors import CorpusError
from crywatch.corpora.shared.base import ClipEntry, Corpus, Refused, Remote

ROOT = "ESC-50-master"
META = f"{ROOT}/meta/esc50.csv"
COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
CRY_TARGET = 20
LICENCE = "CC BY-NC 3.0"
ESC10_LICENCE = "CC BY 3.0"


class Esc50Folder(Corpus):
    """``ESC-50-master/audio/{fold}-{src}-{take}-{target}.wav`` and ``meta/esc50.csv``."""

    citation = "K. J. Piczak. ESC: Dataset for Environmental Sound Classification. ACM MM 2015."
    homepage = "https://github.com/karolpiczak/ESC-50"
    remotes = (
        Remote(
            "https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.zip",
            "ESC-50-master.zip",
        ),
    )

    def check(self, folder: Path) -> None:
        """The audio folder and the table must be there."""
        self.require(folder, f"{ROOT}/audio", META)

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """Rows of the table in its order, then audio files that it does not list."""
        in_table: set[str] = set()
        for row in _rows(folder / META):
            path = f"{ROOT}/audio/{row['filename']}"
            in_table.add(path)
            if not (folder / path).is_file():
                yield Refused(path, "listed in meta/esc50.csv, but the file is missing")
                continue
            yield ClipEntry(
                source_path=path,
                label="cry" if int(row["target"]) == CRY_TARGET else "other",
                category=row["category"],
                recording_id=f"freesound/{row['src_file']}",
                licence=ESC10_LICENCE if row["esc10"] == "True" else LICENCE,
            )
        for path in self.audio_files(folder, f"{ROOT}/audio"):
            if path not in in_table:
                yield Refused(path, "not listed in meta/esc50.csv")


def _rows(table: Path) -> Iterator[dict[str, str]]:
    """The rows of meta/esc50.csv; CorpusError, with the line, for one that cannot be right."""
    names: set[str] = set()
    try:
        # A table that went through a spreadsheet starts with a byte order mark.
        with open(table, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            absent = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if absent:
                raise CorpusError(f"{table}: column(s) {', '.join(absent)} are missing")
            for row in reader:
                here = f"{table}, line {reader.line_num}"
                empty = [name for name in COLUMNS if not row[name]]
                if empty:
                    raise CorpusError(f"{here}: {', '.join(empty)} is empty")
                if not row["target"].isdigit():
                    raise CorpusError(f"{here}: target {row['target']!r} is not a class number")
                name = row["filename"]
                if "/" in name or "\\" in name:
                    raise CorpusError(f"{here}: filename {name!r} leads to another folder")
                if name in names:
                    raise CorpusError(f"{here}: {name} is listed twice")
                names.add(name)
                yield row
    except UnicodeDecodeError as error:
        raise CorpusError(f"{table}: not UTF-8 text ({error.reason})") from error
