"""UrbanSound8K: 8,732 clips of at most 4 s in ten classes, cut from Freesound recordings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crywatch.corpora.shared.base import ClipEntry, Corpus, Refused, Remote
from crywatch.corpora.shared.rows import Row, read_rows

ROOT = "UrbanSound8K"
META = f"{ROOT}/metadata/UrbanSound8K.csv"
COLUMNS = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
READ = ("slice_file_name", "fsID", "fold", "class")
FOLDS = 10


class UrbanSound8K(Corpus):
    """``UrbanSound8K/audio/fold{1..10}/{fsID}-{classID}-{occurrence}-{slice}.wav`` and its table.

    None of its classes is crying. Slices of one Freesound recording stay together, also with those
    of ESC-50.
    """

    name = "urbansound8k"
    citation = (
        "J. Salamon, C. Jacoby, J. P. Bello. A Dataset and Taxonomy for Urban Sound Research. "
        "ACM MM 2014."
    )
    licence = "CC BY-NC 3.0"
    terms = "No commercial use; FREESOUNDCREDITS.txt names the author of every recording."
    commercial_use = False
    homepage = "https://urbansounddataset.weebly.com/urbansound8k.html"
    remotes = (  # the publisher gives an MD5 alone
        Remote(
            "https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz", "UrbanSound8K.tar.gz"
        ),
    )

    def check(self, folder: Path) -> None:
        """The audio folder and the table must be there."""
        self.require(folder, f"{ROOT}/audio", META)

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """Rows of the table in its order, then audio files that it does not list."""
        in_table: set[str] = set()
        for row in read_rows(folder / META, READ, COLUMNS):
            path, category = _path(row), row.filled("class")
            if path in in_table:
                raise row.error("slice_file_name", f"{path} is listed twice")
            in_table.add(path)
            if not (folder / path).is_file():
                yield Refused(path, f"listed in {Path(META).name}, but the file is missing")
                continue
            yield ClipEntry(
                source_path=path,
                label="other",
                category=category,
                recording_id=f"freesound/{row.filled('fsID')}",
                licence=self.licence,
            )
        for path in self.audio_files(folder, f"{ROOT}/audio"):
            if path not in in_table:
                yield Refused(path, f"not listed in {Path(META).name}")


def _path(row: Row) -> str:
    fold = row.filled("fold")
    if fold not in map(str, range(1, FOLDS + 1)):
        raise row.error("fold", f"{fold!r} is none of 1 to {FOLDS}")
    name = row.inside("slice_file_name")
    if not name.startswith(f"{row.filled('fsID')}-"):
        raise row.error("fsID", f"{row['fsID']!r} is not what {name} begins with")
    return f"{ROOT}/audio/fold{fold}/{name}"
