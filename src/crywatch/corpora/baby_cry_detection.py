"""baby_cry_detection: four classes of 5 s clips, partly ESC-50 clips under other names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from crywatch.corpora.shared.base import ClipEntry, Corpus, Refused, Remote

ROOT = "baby_cry_detection-master/data"
CLASSES = {
    "301 - Crying baby": "crying_baby",
    "901 - Silence": "silence",
    "902 - Noise": "noise",
    "903 - Baby laugh": "baby_laugh",
}
_ESC50_NAME = re.compile(r"^\d-(?P<src>\d+)-[A-Z](-\d+)?$")  # fold-src-take[-target]
_CUT_NAME = re.compile(r"^(?P<src>.+?)_\d+$")  # source file, then the number of the cut


class BabyCryDetection(Corpus):
    """``baby_cry_detection-master/data/<number> - <class>/<file>``."""

    name = "baby_cry_detection"
    citation = "G. Bianchi. baby_cry_detection (GitHub giulbia/baby_cry_detection), 2017."
    licence = "none given"
    terms = "The repository names no licence: research use only."
    commercial_use = False
    homepage = "https://github.com/giulbia/baby_cry_detection"
    remotes = (
        Remote(
            "https://github.com/giulbia/baby_cry_detection/archive/refs/heads/master.zip",
            "baby_cry_detection-master.zip",
        ),
    )

    def check(self, folder: Path) -> None:
        """All four class folders must be there."""
        self.require(folder, *(f"{ROOT}/{name}" for name in CLASSES))

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """Files by class and name; the recording is read off the file name."""
        for path in self.audio_files(folder, ROOT):
            directory = path.removeprefix(f"{ROOT}/").rpartition("/")[0]
            if directory not in CLASSES:
                yield Refused(path, f"folder {directory!r} is not one of the classes")
                continue
            category = CLASSES[directory]
            yield ClipEntry(
                source_path=path,
                label="cry" if category == "crying_baby" else "other",
                category=category,
                recording_id=_recording(Path(path).stem, category),
                licence=self.licence,
            )


def _recording(stem: str, category: str) -> str:
    if match := _ESC50_NAME.match(stem):
        return f"freesound/{match['src']}"
    match = _CUT_NAME.match(stem)
    return f"baby_cry_detection/{category}/{match['src'] if match else stem}"
