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
# The noises are clips of ESC-50: their classes there, by the number of the source in their names
# (K. J. Piczak, ESC-50, meta/esc50.csv).
NOISES = {
    "car_horn": "128465 138465 144137 145577 146697 153057 155130 155234 161010 174840 243726",
    "cat": "34094 47819 56380 69131 79113 82274",
    "chirping_birds": (
        "159609 182795 187769 216211 223125 223127 242490 242491 243448 243449 243450 243459 257839"
    ),
    "church_bells": "13571 13572 21421 22804 40154 48298 54747 56907 56926 57191 59565 59566",
    "dog": "30226 30344 32318 59513 85362 97392 100032 110389 114280 114587 116400 117271",
    "glass_breaking": (
        "203371 203373 203374 203375 203377 204115 204119 204121 204123 204777 212698 216280 "
        "216281 216284"
    ),
    "siren": "51376 51731 51909 58772 62878 70936 70938 70939 72688",
    "snoring": (
        "123086 124795 124958 130998 151255 151557 180337 183882 184235 184237 191297 197454"
    ),
    "thunderstorm": "125070 125071 125072 156993 156999 161519 165813 188495 192191 195557",
}
_NOISE_OF = {f"freesound/{src}": name for name, srcs in NOISES.items() for src in srcs.split()}
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
        """Files by class and name, which tells the recording and what a noise is."""
        for path in self.audio_files(folder, ROOT):
            directory = path.removeprefix(f"{ROOT}/").rpartition("/")[0]
            if directory not in CLASSES:
                yield Refused(path, f"folder {directory!r} is not one of the classes")
                continue
            category = CLASSES[directory]
            recording = _recording(Path(path).stem, category)
            if category == "noise":
                category = _NOISE_OF.get(recording, category)
            yield ClipEntry(
                source_path=path,
                label="cry" if category == "crying_baby" else "other",
                category=category,
                recording_id=recording,
                licence=self.licence,
            )


def _recording(stem: str, category: str) -> str:
    if match := _ESC50_NAME.match(stem):
        return f"freesound/{match['src']}"
    match = _CUT_NAME.match(stem)
    return f"baby_cry_detection/{category}/{match['src'] if match else stem}"
