"""Debian: free sounds that packages of the distribution carry, speech and music among them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from crywatch.core.errors import ConfigError, CorpusError
from crywatch.corpora.shared.base import ClipEntry, Corpus, CorpusConfig, Remote
from crywatch.corpora.shared.debian_packages import PACKAGES, SNAPSHOT

SHARE = "usr/share"  # of a package, where its sounds are
LICENCES = f"{SHARE}/doc/*/copyright*"
OPTIONAL = ("wesnoth-1.16-data",)  # 146 MB for minutes of sound


@dataclass(frozen=True)
class DebianConfig(CorpusConfig):
    """Section ``corpus.debian``."""

    packages: list[str] = field(
        default_factory=lambda: [name for name in PACKAGES if name not in OPTIONAL]
    )
    max_files: int = 100  # of one speaker, drawn by a digest of their paths
    min_s: float = 0.5  # shorter files are left out


class Debian(Corpus):
    """``PACKAGE/usr/share/...`` as `dpkg-deb -x` unpacks it, for each package.

    `shared.debian_packages` says which files are taken, of which class they are and who made them.
    No class is an infant's crying. Where YAMNet hears some (above 0.2 in 13 of 10,945 files) they
    are acted wails of Hedgewars' adults ("Nooo", "Flyaway") and a goblin of Wesnoth's, which stay:
    they are of kind scream. What one speaker said is one recording. Only the files that are taken
    and the packages' licences are kept.
    """

    name = "debian"
    citation = "Sounds of Debian 12's packages " + ", ".join(PACKAGES) + "."
    licence = "GPL-2, GPL-2+, GFDL 1.3, CC BY-SA 3.0, CC BY-SA 4.0, CC BY 3.0, CC BY 4.0, CC0 1.0"
    terms = (
        "Free licences: name the authors (usr/share/doc/PACKAGE/copyright); who hands the sounds "
        "on, changed or not, does so under the same licences (GPL, GFDL, CC BY-SA)."
    )
    commercial_use = True
    homepage = "https://packages.debian.org/bookworm/"
    remotes = tuple(
        Remote(f"{SNAPSHOT}/{package.pool}", f"{name}.deb", package.sha256, into=name)
        for name, package in PACKAGES.items()
    )
    options = DebianConfig

    def files(self, options: CorpusConfig) -> tuple[Remote, ...]:
        """Those packages that ``options`` names."""
        wanted = _packages(options)
        return tuple(remote for remote in self.remotes if remote.into in wanted)

    def complete(self, folder: Path, options: CorpusConfig) -> None:
        """Keep of the packages what ``options`` takes."""
        wanted = _packages(options)
        if missing := [name for name in wanted if not (folder / name).is_dir()]:
            raise CorpusError(
                f"{folder}: {', '.join(missing)} missing: unpack them there with `dpkg-deb -x "
                "FILE FOLDER/PACKAGE`, or name those at hand in corpus.debian.packages"
            )
        kept = {folder / path for path in self._drawn(folder, wanted, options)}
        kept |= {path for name in wanted for path in (folder / name).glob(LICENCES)}
        for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder, then the folder
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in kept:
                path.unlink()

    def _drawn(self, folder: Path, wanted: list[str], options: CorpusConfig) -> Iterator[str]:
        """Of the entries of the packages, those long enough, and of a speaker so many."""
        config = options if isinstance(options, DebianConfig) else DebianConfig("")
        by_source: dict[str, list[str]] = defaultdict(list)
        for entry in self.entries(folder):
            if entry.source_path.partition("/")[0] in wanted:
                by_source[entry.recording_id].append(entry.source_path)
        for paths in by_source.values():
            drawn = 0
            for path in sorted(paths, key=_digest):
                if drawn < config.max_files and _seconds(folder / path) >= config.min_s:
                    drawn += 1
                    yield path

    def check(self, folder: Path) -> None:
        """At least one package must be there."""
        if not _present(folder):
            self.require(folder, next(iter(PACKAGES)))

    def entries(self, folder: Path) -> Iterator[ClipEntry]:
        """The files that the packages' patterns name, in the order of their paths."""
        for name in _present(folder):
            for path in self.audio_files(folder, f"{name}/{SHARE}"):
                if entry := _entry(name, path):
                    yield entry


def _present(folder: Path) -> list[str]:
    return [name for name in PACKAGES if (folder / name).is_dir()]


def _packages(options: CorpusConfig) -> list[str]:
    config = options if isinstance(options, DebianConfig) else DebianConfig("")
    if unknown := [name for name in config.packages if name not in PACKAGES]:
        raise ConfigError(
            f"corpus.debian.packages: {unknown[0]!r} is unknown; there are {', '.join(PACKAGES)}"
        )
    if not config.packages:
        raise ConfigError("corpus.debian.packages names no package")
    return config.packages


def _entry(name: str, path: str) -> ClipEntry | None:
    """Of a file, or None where no pattern takes it."""
    package = PACKAGES[name]
    inside = path.removeprefix(f"{name}/{SHARE}/")
    for sounds in package.sounds:
        if not (match := sounds.fits(inside)):
            continue
        found = match.groupdict()
        by, word = sounds.by or found.get("by"), found.get("word")
        return ClipEntry(
            source_path=path,
            label="other",
            category="/".join(filter(None, (sounds.category, word))),
            recording_id=f"debian/{name}/{by or PurePosixPath(inside).with_suffix('')}",
            licence=package.licence,
        )
    return None


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()


def _seconds(path: Path) -> float:
    """By the file's header; infinite where it cannot be read, which `clean` will say."""
    import soundfile

    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        return float("inf")
    return info.frames / info.samplerate
