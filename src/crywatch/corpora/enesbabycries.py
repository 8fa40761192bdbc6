"""EnesBabyCries: 24 infants recorded at home at four ages, as bouts and cut into cries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from crywatch.core.errors import CorpusError
from crywatch.corpora.shared.base import ClipEntry, Corpus, Details, Refused, Remote

FOLDERS = {"bout": "1A_bouts", "cry": "1B_cries"}
# Codes are French and can be double ("FI"): as in the publisher's scripts, the first letter
# counts (faim, inconfort, solitude, douleur; "ne sais pas" and "je ne sais pas").
CAUSES = {
    "F": "hunger",
    "I": "discomfort",
    "S": "isolation",
    "D": "pain",
    "J": "unknown",
    "N": "unknown",
}
EVENING = "SOIR"  # starts like isolation, but is a cause of its own
SEXES = {"M": "m", "F": "f", "W": "f"}
AGE_MONTHS = {"1": 0.5, "2": 1.5, "3": 2.5, "4": 3.5}
ZONE = ZoneInfo("Europe/Paris")  # the infants lived around Saint-Etienne

_NAME = re.compile(
    r"^(?P<baby>[A-Za-z0-9-]+)_(?P<sex>[MFWmfw])_(?P<round>\d)_(?P<parent>[A-Za-z]+)"
    r"_(?P<stop>[A-Za-z]+)_(?P<date>\d{8})_(?P<time>\d{4}(?:\d{2})?)"
    r"(?:_(?P<start>\d+)-(?P<end>\d+))?$"
)


@dataclass(frozen=True)
class Name:
    """What a file name says."""

    baby: str
    sex: str  # f, m
    age_round: str  # 1 to 4
    cause_parent: str  # in the parent's judgement
    cause_stop: str  # by what stopped the crying; the publisher's own choice
    recorded_at: datetime  # UTC
    bout: str  # the name without the segment
    start_ms: int | None  # of a cry in its bout
    end_ms: int | None


class EnesBabyCries(Corpus):
    """``baby_sex_ageRound_causeParent_causeStop_DDMMYYYY_HHMM[_startMs-endMs].wav``."""

    name = "enesbabycries"
    citation = (
        "M. Lockhart-Bouron, A. Anikin, K. Pisanski et al. Infant cries convey both stable and "
        "dynamic information about age and identity. Communications Psychology 1:26, 2023."
    )
    licence = "see OSF ru7na"
    terms = "Shared for reuse in research; no licence that allows commercial use is known."
    commercial_use = False
    homepage = "https://osf.io/ru7na"
    remotes = tuple(
        Remote(
            "https://api.osf.io/v2/nodes/ru7na/files/osfstorage/",
            f"{name}.zip",
            host="osf",
            into=name,
        )
        for name in FOLDERS.values()
    )

    def check(self, folder: Path) -> None:
        """The bouts or the cries must be there."""
        if not any((folder / name).is_dir() for name in FOLDERS.values()):
            self.require(folder, *FOLDERS.values())

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """Bouts, then cries; a cry and the bout it was cut from are one recording."""
        for kind, top in FOLDERS.items():
            for path in self.audio_files(folder, top):
                try:
                    name = parse(path)
                except CorpusError as error:
                    yield Refused(path, str(error))
                    continue
                if (name.start_ms is not None) != (kind == "cry"):
                    yield Refused(path, f"by its name not a {kind}, but in the folder of {top}")
                    continue
                infant = f"enesbabycries/{name.baby}"
                yield ClipEntry(
                    source_path=path,
                    label="cry",
                    category=name.cause_stop,
                    recording_id=f"enesbabycries/{name.bout}",
                    licence=self.licence,
                    infant_id=infant,
                    session_id=f"{infant}/{name.recorded_at.astimezone(ZONE):%Y-%m-%d}",
                    recorded_at=name.recorded_at,
                    details=Details(
                        kind=kind,
                        sex=name.sex,
                        age_months=AGE_MONTHS.get(name.age_round),
                        age_round=name.age_round,
                        cause=name.cause_stop,
                        cause_parent=name.cause_parent,
                    ),
                )


def parse(path: str) -> Name:
    """What the name of ``path`` says; CorpusError with the reason where it is out of form."""
    match = _NAME.match(Path(path).stem)
    if match is None:
        raise CorpusError(
            "the name is not 'baby_sex_ageRound_causeParent_causeStop_date_time[_segment]'"
        )
    form = "%d%m%Y%H%M%S" if len(match["time"]) == 6 else "%d%m%Y%H%M"
    try:
        local = datetime.strptime(match["date"] + match["time"], form)
    except ValueError:
        raise CorpusError(
            f"{match['date']}_{match['time']} is no date and time (DDMMYYYY_HHMM)"
        ) from None
    start, end = match["start"], match["end"]
    if start is not None and int(end) <= int(start):
        raise CorpusError(f"the segment {start}-{end} ends before it starts")
    stem = Path(path).stem
    return Name(
        baby=match["baby"].upper(),
        sex=SEXES[match["sex"].upper()],
        age_round=match["round"],
        cause_parent=_cause(match["parent"]),
        cause_stop=_cause(match["stop"]),
        recorded_at=local.replace(tzinfo=ZONE).astimezone(UTC),
        bout=stem if start is None else stem.rpartition("_")[0],
        start_ms=None if start is None else int(start),
        end_ms=None if end is None else int(end),
    )


def _cause(code: str) -> str:
    code = code.upper()
    return "other" if code == EVENING else CAUSES.get(code[0], "other")
