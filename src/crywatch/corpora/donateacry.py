"""Donate-a-cry: cries uploaded by parents from two apps, raw and as a cleaned set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from crywatch.corpora.shared.base import ClipEntry, Corpus, Refused, Remote
from crywatch.corpora.shared.sessions import number_sessions
from crywatch.corpora.shared.uploads import Upload, parse

ROOT = "donateacry-corpus-master"
CLEANED = f"{ROOT}/donateacry_corpus_cleaned_and_updated_data"
RAW = (f"{ROOT}/donateacry-android-upload-bucket", f"{ROOT}/donateacry-ios-upload-bucket")


class DonateACry(Corpus):
    """The raw uploads (``.3gp``, ``.caf``; label unknown) and the cleaned WAVs (label cry)."""

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
        for upload in uploads:
            cleaned = upload.path.startswith(CLEANED)
            yield ClipEntry(
                source_path=upload.path,
                label="cry" if cleaned else "unknown",
                category=Path(upload.path).parent.name if cleaned else upload.reason,
                recording_id=upload.recording_id,
                licence=self.licence,
                infant_id=upload.infant_id,
                session_id=sessions[upload],
                recorded_at=upload.recorded_at,
            )


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
