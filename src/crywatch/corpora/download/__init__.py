"""Stage ``download``: a corpus into ``data/raw/<corpus>`` in its publisher's layout."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crywatch import corpora
from crywatch.core.atomic import atomic_dir, write_text
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ArchiveError, ConfigError, CorpusError, CrywatchError
from crywatch.core.names import is_litter
from crywatch.core.paths import MISSING_NOTE
from crywatch.core.progress import progress
from crywatch.corpora.download import clips
from crywatch.corpora.download.archive import extract
from crywatch.corpora.download.transfer import TransferConfig, fetch
from crywatch.corpora.download.youtube import ClipsConfig
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.corpora.shared.base import (
    ClipEntry,
    Corpus,
    CorpusConfig,
    Remote,
    is_named,
)

NO_FOLDER = CorpusConfig(folder="")
SOURCES = ("generated", "mirror", "publishers")


@dataclass(frozen=True)
class DataConfig:
    """Section ``data``: where corpora come from."""

    source: str  # generated, mirror, publishers
    mirror: str  # folder, for source mirror
    # Whether a corpus that cannot be had is reported and skipped; or the names of those that are.
    allow_missing: Any
    generator: GeneratorConfig | None = field(default=None)

    def may_miss(self, corpus: str) -> bool:
        """Whether a rebuild goes on without ``corpus``; ConfigError where that is not told."""
        allowed = self.allow_missing
        if isinstance(allowed, bool):
            return allowed
        if not isinstance(allowed, list) or not set(allowed) <= set(corpora.NAMES):
            raise ConfigError(
                f"data.allow_missing: {allowed!r} is neither true, false nor a list of corpora; "
                f"there are {', '.join(corpora.NAMES)}"
            )
        return corpus in allowed


@dataclass(frozen=True)
class DownloadConfig:
    """Section ``download``."""

    timeout_s: float
    retries: int
    min_bytes_s: float  # a slower transfer counts as broken
    max_unpacked_gb: float
    clips: ClipsConfig = field(default_factory=ClipsConfig)


@dataclass(frozen=True)
class DownloadSummary:
    """What is in the folder now."""

    n_files: int
    n_bytes: int
    sha256: str  # over all files
    missing: str | None  # why there is nothing, where that is allowed
    report: str = ""  # of clips that came one by one, by class


def run(
    corpus: str,
    data: DataConfig,
    config: DownloadConfig,
    out_dir: Path,
    work_dir: Path,
    options: CorpusConfig = NO_FOLDER,
) -> DownloadSummary:
    """Bring ``corpus`` to ``out_dir``; what was being fetched waits in ``work_dir``.

    ``options`` is an instance of the corpus' own `Corpus.options`.
    """
    loader, may_miss = corpora.get(corpus), data.may_miss(corpus)
    missing, report = None, ""
    with atomic_dir(out_dir) as temp:
        try:
            report = _bring(loader, data, config, temp, work_dir, options)
            loader.complete(temp, options)
            _check(loader, temp)
        except ConfigError:
            raise
        except CrywatchError as error:
            reason = str(error).replace(str(temp), str(out_dir))  # there is no ``temp`` any more
            if not may_miss:
                raise type(error)(reason) from error
            missing = reason
            shutil.rmtree(temp)
            temp.mkdir()
            write_text(temp / MISSING_NOTE, f"{corpus} could not be had: {missing}\n")
    if missing is None:  # the next run goes on with what has come of it
        _clear(work_dir)
    files = [path for path in out_dir.rglob("*") if path.is_file()]
    return DownloadSummary(
        n_files=len(files),
        n_bytes=sum(path.stat().st_size for path in files),
        sha256=files_sha256([out_dir]),
        missing=missing,
        report=report,
    )


def _clear(work_dir: Path) -> None:
    """Remove what is needed no more; clips that came one by one are never asked for twice."""
    if not (work_dir / clips.FOLDER).is_dir():
        shutil.rmtree(work_dir, ignore_errors=True)
        return
    for path in work_dir.iterdir():
        if path.is_file():
            path.unlink()


def _check(loader: Corpus, folder: Path) -> None:
    """Raise CorpusError unless ``folder`` has the layout and audio."""
    loader.check(folder)
    if not any(isinstance(entry, ClipEntry) for entry in loader.entries(folder)):
        raise CorpusError(f"{folder}: the layout of {loader.name}, but no audio file in it")


def _bring(
    loader: Corpus,
    data: DataConfig,
    config: DownloadConfig,
    folder: Path,
    work_dir: Path,
    options: CorpusConfig,
) -> str:
    """Fill ``folder``; the report of clips that came one by one, where there are any."""
    own = Path(options.folder).expanduser()
    mirrored = Path(data.mirror).expanduser() / loader.name
    if is_named(options.folder) and own != mirrored:
        if not own.is_dir():
            raise ConfigError(f"corpus.{loader.name}.folder: {options.folder!r} is not a folder")
        _copy(loader, own, folder)
    elif data.source == "generated":
        if data.generator is None:
            raise ConfigError("data.generator is missing: choose -S data=generated")
        generate(loader.name, folder, data.generator)
    elif data.source == "mirror":
        _copy(loader, _in_mirror(loader, data.mirror), folder)
    elif data.source == "publishers":
        if not loader.remotes:
            raise CorpusError(f"{loader.name} cannot be downloaded: {loader.obtain}")
        transfer = TransferConfig(config.timeout_s, config.retries, min_bytes_s=config.min_bytes_s)
        for remote in loader.files(options):
            _place(fetch(remote, work_dir, transfer), remote, folder, config)
        if clips_to_fetch := loader.choose(folder, options):
            return clips.bring_clips(
                clips_to_fetch, folder, work_dir, config.clips, config.timeout_s
            )
    else:
        raise ConfigError(
            f"data.source: {data.source!r} is unknown; there are {', '.join(SOURCES)}"
        )
    return ""


def _place(file: Path, remote: Remote, folder: Path, config: DownloadConfig) -> None:
    """Bring a fetched file, or what is packed in it, to its place in the layout."""
    target = folder / remote.into
    if not remote.unpack:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / remote.filename)
        return
    try:
        extract(file, target, int(config.max_unpacked_gb * 1e9))
    except ArchiveError:
        # Without a checksum the next run would take the bad file for the right one.
        file.unlink(missing_ok=True)
        raise


def _in_mirror(loader: Corpus, mirror: str) -> Path:
    root = Path(mirror).expanduser()
    if not mirror or not root.is_dir():  # Path("") is the working folder
        raise ConfigError(
            f"data.mirror: {mirror!r} is not a folder; name one with -S data.mirror=FOLDER"
        )
    source = root / loader.name
    if not source.is_dir():
        raise CorpusError(f"{source}: no such folder; data.mirror needs one folder a corpus")
    return source


def _copy(loader: Corpus, source: Path, folder: Path) -> None:
    """Copy the data of a folder in the corpus' layout; links are followed."""
    loader.check(source)
    for file in progress(sorted(_files(source)), f"copy {loader.name}", unit="file"):
        target = folder / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _files(folder: Path) -> Iterator[Path]:
    """All data below ``folder``, through links to folders too (rglob passes those over)."""
    for top, directories, files in os.walk(folder, followlinks=True):
        here = Path(top)
        above = {here.resolve(), *here.resolve().parents}
        directories[:] = [name for name in directories if (here / name).resolve() not in above]
        files = [name for name in files if not is_litter(name)]
        yield from (here / name for name in files if (here / name).is_file())
