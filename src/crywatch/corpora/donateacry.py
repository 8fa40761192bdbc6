"""Donate-a-cry: cries uploaded by parents from two apps, raw and as a cleaned set."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.errors import ConfigError, CorpusError
from crywatch.corpora.shared.base import (
    CRY,
    ClipEntry,
    Corpus,
    CorpusConfig,
    Event,
    Refused,
    Remote,
    is_named,
)
from crywatch.corpora.shared.sessions import number_sessions
from crywatch.corpora.shared.textgrids import CRIES, SUFFIX, read_intervals
from crywatch.corpora.shared.uploads import Upload, parse

ROOT = "donateacry-corpus-master"
CLEANED = f"{ROOT}/donateacry_corpus_cleaned_and_updated_data"
RAW = (f"{ROOT}/donateacry-android-upload-bucket", f"{ROOT}/donateacry-ios-upload-bucket")
TEXTGRIDS = "textgrids"  # in the folder of the corpus, beside ROOT


@dataclass(frozen=True)
class DonateACryConfig(CorpusConfig):
    """Section ``corpus.donateacry``."""

    textgrids: str = ""  # a folder of TextGrids; `paths.NO_CORPUS` for none


class DonateACry(Corpus):
    """The raw uploads (``.3gp``, ``.caf``; label unknown) and the cleaned WAVs (label cry).

    Where ``textgrids/`` has a TextGrid of a recording's name, its intervals are the strong labels
    of the cleaned clip, or of the raw one where there is no other; without a cry in it the clip is
    labelled other.
    """

    name = "donateacry"
    citation = "G. Veres. Donate-a-cry corpus, 2015 (GitHub gveres/donateacry-corpus)."
    licence = "ODbL 1.0 / DbCL 1.0"
    terms = "Open Database Licence: name the source, share derived databases alike."
    commercial_use = True
    homepage = "https://github.com/gveres/donateacry-corpus"
    remotes = (
        Remote(
            "https://github.com/gveres/donateacry-corpus/archive/refs/heads/master.zip",
            "donateacry-corpus-master.zip",
        ),
    )

    options = DonateACryConfig

    def complete(self, folder: Path, options: CorpusConfig) -> None:
        """The TextGrids of ``options``, which go before those of the corpus' own folder."""
        named = getattr(options, "textgrids", "")
        if not named or not is_named(named):
            return
        files = sorted(Path(named).expanduser().rglob(f"*{SUFFIX}"))
        if not files:
            raise ConfigError(f"corpus.donateacry.textgrids: no {SUFFIX} files below {named!r}")
        by_name = {file.name: file for file in files}
        if twice := [file for file in files if by_name[file.name] is not file]:
            raise ConfigError(
                f"corpus.donateacry.textgrids: {twice[0]} and {by_name[twice[0].name]} have one "
                "name: a recording has one grid"
            )
        (folder / TEXTGRIDS).mkdir(exist_ok=True)
        for name, file in by_name.items():
            shutil.copyfile(file, folder / TEXTGRIDS / name)

    def check(self, folder: Path) -> None:
        """The cleaned set and both upload folders must be there."""
        self.require(folder, CLEANED, *RAW)

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """Cleaned clips, then raw uploads; sessions are told apart by gaps of six hours."""
        uploads: list[Upload] = []
        for top in (CLEANED, *RAW):
            for path in self.audio_files(folder, top):
                inside = path.removeprefix(f"{top}/").split("/")
                upload = parse(path)
                if upload is None:
                    yield Refused(
                        path, "the name is not 'instance-epoch-version-gender-age-reason'"
                    )
                elif len(inside) != (2 if top == CLEANED else 1):
                    yield Refused(path, "not in the folder of a reason or right in a bucket")
                else:
                    uploads.append(upload)
        sessions = _sessions(uploads)
        events = _events(folder / TEXTGRIDS, uploads)
        for upload in uploads:
            cleaned = upload.path.startswith(CLEANED)
            label, own = "cry" if cleaned else "unknown", events.get(upload)
            if own is not None:
                label = "cry" if any(event.label == CRY for event in own) else "other"
            yield ClipEntry(
                source_path=upload.path,
                label=label,
                category=Path(upload.path).parent.name if cleaned else upload.reason,
                recording_id=upload.recording_id,
                licence=self.licence,
                infant_id=upload.infant_id,
                session_id=sessions[upload],
                recorded_at=upload.recorded_at,
                events=own or (),
            )


def _events(folder: Path, uploads: list[Upload]) -> dict[Upload, tuple[Event, ...]]:
    """The intervals of each upload that has a TextGrid below ``folder``.

    CorpusError where none belongs to an upload, or none has a cry: names or labels are others then.
    """
    files = sorted(folder.rglob(f"*{SUFFIX}"))
    by_stem: dict[str, Upload] = {}
    for upload in uploads:  # cleaned ones first
        by_stem.setdefault(Path(upload.path).stem.casefold(), upload)
    found = {
        by_stem[file.stem.casefold()]: read_intervals(file)
        for file in files
        if file.stem.casefold() in by_stem
    }
    if files and not found:
        raise CorpusError(f"{folder}: {files[0].name} and all others have no recording's name")
    labels = sorted({event.label for events in found.values() for event in events})
    if found and CRY not in labels:
        raise CorpusError(
            f"{folder}: no interval is a cry: a label of it must be one of {', '.join(CRIES)}; "
            f"there are {', '.join(labels) or 'none'}"
        )
    return found


def _sessions(uploads: list[Upload]) -> dict[Upload, str]:
    by_instance: dict[str, list[Upload]] = defaultdict(list)
    for upload in uploads:
        by_instance[upload.instance].append(upload)
    sessions: dict[Upload, str] = {}
    for instance, members in by_instance.items():
        numbers = number_sessions([upload.recorded_at for upload in members])
        for upload, number in zip(members, numbers, strict=True):
            sessions[upload] = f"donateacry/{instance}/{number:03d}"
    return sessions
