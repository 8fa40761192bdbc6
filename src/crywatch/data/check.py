"""``crywatch data check``: what there is of each corpus, what is missing and what is wrong."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from crywatch import corpora
from crywatch.core import params, paths
from crywatch.core.errors import CrywatchError
from crywatch.core.names import shown
from crywatch.corpora.recordings import Recordings
from crywatch.corpora.shared.base import ClipEntry, Corpus, Refused, is_generated
from crywatch.corpora.shared.clocks import doubtful_time, wrong_time
from crywatch.corpora.shared.recordings_table import TABLE
from crywatch.data.counts import (
    Counts,
    SplitCounts,
    arrival,
    count_entries,
    count_split,
    count_tables,
)

NAMED = 5  # clips and files that a message lists by name
LEGEND = (
    "dup in, dup out: clips that are copies of another clip of the corpus, of another corpus "
    "(shared sections: data/split/overlaps.parquet); -: not known at this state"
)
REASONS = 8  # kinds of quarantine that are listed
UNKNOWN = "-"  # a number that this state does not tell
COLUMNS = (
    ("corpus", 20),
    ("state", 9),
    ("clips", 8),
    ("seconds", 10),
    ("cry", 8),
    ("other", 8),
    ("unknown", 8),
    ("recordings", 11),
    ("infants", 8),
    ("events", 7),
    ("refused", 8),
    ("dup in", 7),
    ("dup out", 8),
)


@dataclass(frozen=True)
class CorpusCheck:
    """What was found of one corpus."""

    corpus: str
    state: str  # absent, raw, cleaned, split; folder for one outside the project
    counts: Counts | None = None
    split: SplitCounts | None = None
    missing: tuple[str, ...] = ()  # what is not there yet, and the command that makes it
    problems: tuple[str, ...] = ()  # what is wrong
    doubts: tuple[str, ...] = ()  # what may be wrong


def check_folder(name: str, folder: Path, listed: Sequence[str] = ()) -> CorpusCheck:
    """Layout and index of a ``folder`` in the publisher's layout; nothing is decoded.

    ``listed`` are the project's corpora.

    Raises
    ------
    ConfigError
        There is no such corpus.
    """
    from hydra.core.override_parser.types import Quote, QuotedString

    corpus = corpora.get(name)
    if not folder.is_dir():
        return CorpusCheck(name, "folder", problems=(f"{folder}: no such folder",))
    check = _indexed(corpus, folder, "folder")
    if check.counts is None or not check.counts.clips:
        return check
    # Hydra takes a quoted value whatever is in it, and the shell takes that whole.
    quoted = QuotedString(str(folder.resolve()), Quote.double).with_quotes()
    chosen = shlex.quote(f"corpus.{name}.folder={quoted}")
    if name not in listed:
        corpus_list = shlex.quote(f"corpora=[{', '.join([*listed, name])}]")
        chosen = f"{corpus_list} -S {chosen}"
    return replace(check, missing=(f"this folder is not used yet: dvc exp run -S {chosen}",))


def check_corpus(name: str, root: Path, names: Sequence[str]) -> CorpusCheck:
    """What is below ``root`` of corpus ``name``; ``names`` are the corpora of params.yaml.

    Raises
    ------
    ConfigError
        There is no such corpus.
    """
    corpus = corpora.get(name)
    if (root / paths.clean(name) / "clips.parquet").is_file():
        return _cleaned(name, root, names)
    raw = root / paths.raw(name)
    if not raw.is_dir():
        told = f"not there: {_command('download', name, names)} brings it"
        if corpus.obtain:
            told += f"; {corpus.obtain}"
        return CorpusCheck(name, "absent", missing=(told,), problems=("no clips",))
    if note := paths.missing_note(raw):
        return CorpusCheck(name, "absent", problems=(note,))
    check = _indexed(corpus, raw, "raw")
    if check.counts is None or not check.counts.clips:
        return check
    told = f"seconds and duplicates are not known yet: {_command('clean', name, names)} cleans it"
    return replace(check, missing=(told,))


def _indexed(corpus: Corpus, folder: Path, state: str) -> CorpusCheck:
    clocks = _Clocks(corpus)
    try:
        counts = count_entries(clocks.watch(corpus.index(folder)))
    except CrywatchError as error:
        return CorpusCheck(corpus.name, state, problems=(str(error),))
    if not counts.clips:
        problem = f"{folder}: the layout of {corpus.name}, but no usable audio file in it"
        return CorpusCheck(corpus.name, state, counts, problems=(problem,))
    return CorpusCheck(corpus.name, state, counts, problems=clocks.wrong, doubts=clocks.doubtful)


class _Clocks:
    """Files of a corpus whose time of recording cannot be, or may not be, that."""

    def __init__(self, corpus: Corpus) -> None:
        self._own = corpus.name == Recordings.name
        self._wrong: list[str] = []
        self._doubtful: list[str] = []

    def watch(self, entries: Iterable[ClipEntry | Refused]) -> Iterator[ClipEntry | Refused]:
        """``entries`` as they are, each looked at when it passes."""
        for entry in entries:
            if isinstance(entry, ClipEntry) and entry.recorded_at is not None:
                self.look(entry.source_path, entry.recorded_at)
            yield entry

    def look(self, path: str, time: datetime) -> None:
        """At the time of one file. What is a publisher's, no user can correct."""
        if wrong := wrong_time(time):
            (self._wrong if self._own else self._doubtful).append(f"{path}: {wrong}")
        elif doubt := doubtful_time(time):
            self._doubtful.append(f"{path}: {doubt}")

    @property
    def wrong(self) -> tuple[str, ...]:
        told = f"times of recording: {_some(self._wrong)} wrong: correct them in {TABLE}"
        return (told,) if self._wrong else ()

    @property
    def doubtful(self) -> tuple[str, ...]:
        return (f"times of recording: {_some(self._doubtful)} doubtful",) if self._doubtful else ()


def _cleaned(name: str, root: Path, names: Sequence[str]) -> CorpusCheck:
    from crywatch.data.tables import read_table
    from crywatch.data.tables.clips import CLIPS, EVENTS, QUARANTINE

    folder = root / paths.clean(name)
    again = f"run {_command('clean', name, names, force=True)}"
    try:
        clips, events, quarantine = (
            read_table(folder / f"{schema.name}.parquet", schema)
            for schema in (CLIPS, EVENTS, QUARANTINE)
        )
    except CrywatchError as error:
        return CorpusCheck(name, "cleaned", problems=(f"{error}; {again}",))
    problems = []
    if clips.empty:
        refused = f"{folder}: every file was refused, there is no clip"
        problems.append(paths.missing_note(root / paths.raw(name)) or refused)
    expected = {Path(path).name for path in clips["path"]}
    there = {file.name for file in (folder / "audio").glob("*.flac") if file.stat().st_size}
    if lost := sorted(expected - there):
        problems.append(f"{folder}: {_some(lost)} missing or empty, but in the table; {again}")
    if strays := sorted(there - expected):
        problems.append(f"{folder}: {_some(strays)} not in the table; {again}")
    if unknown := sorted(set(events["clip_id"]) - set(clips["clip_id"])):
        problems.append(f"{folder}: events of {_some(unknown)} not in the table; {again}")
    clocks = _Clocks(corpora.get(name))
    dated = clips[clips["recorded_at"].notna()]
    for path, time in zip(dated["source_path"], dated["recorded_at"], strict=True):
        clocks.look(path, time.to_pydatetime(warn=False))
    problems += clocks.wrong
    counts = count_tables(clips, events, quarantine)
    try:
        split = count_split(clips, root / paths.SPLIT, root / paths.SPLIT_INFANTS)
    except CrywatchError as error:
        problems.append(f"{error}; run `dvc repro -f -s split`")
        split = None
    missing = []
    if name not in names:
        joined = _command("split", name, names)
        missing.append(f"not in `corpora` of params.yaml, no stage reads it: {joined} adds it")
    elif split is None and not clips.empty:
        missing.append("data/split does not cover these clips yet: `dvc repro split` does it")
    state = "cleaned" if split is None else "split"
    return CorpusCheck(name, state, counts, split, tuple(missing), tuple(problems), clocks.doubtful)


def _command(stage: str, name: str, names: Sequence[str], force: bool = False) -> str:
    if name in names:
        return f"`dvc repro {'-f -s ' if force else ''}{stage}@{name}`"
    return f"`dvc exp run -S 'corpora=[{','.join([*names, name])}]'`"


def _some(names: Sequence[str]) -> str:
    """The first few of ``names``, and how many they are."""
    text = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"{len(names)} ({text}) {'is' if len(names) == 1 else 'are'}"


def missing_lines(root: Path) -> list[str]:
    """What came of each corpus of params.yaml below ``root`` and what did not, with what to do.

    Nothing where all came; of generated sounds nothing is missing.
    """
    values = params.everything(root)
    if "data" not in values or "corpora" not in values:  # stages of somebody's own alone
        return []
    arrivals = [
        arrival(corpora.get(name), root / paths.raw(name), root / paths.clean(name))
        for name, own in values["corpora"].items()
        if (root / paths.raw(name)).is_dir()
        and not is_generated(values["data"]["source"], own["folder"])
    ]
    if all(each.came == "all" for each in arrivals):
        return []
    rows: list[tuple[str, ...]]
    rows = [("corpus", "came", "clips", "hours", "refused", "gone", "failed", "licence")]
    for each in arrivals:
        clips = UNKNOWN if each.clips is None else str(each.clips)
        hours = UNKNOWN if each.hours is None else f"{each.hours:.2f}"
        counts = [str(n) for n in (each.refused, sum(each.gone.values()), each.failed)]
        rows.append((each.corpus.name, each.came, clips, hours, *counts, each.corpus.licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["not all of the corpora came:"]
    lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += [f"{each.corpus.name}: {what}" for each in arrivals for what in each.remedies]
    return [shown(line) for line in lines]


def render(checks: Sequence[CorpusCheck]) -> str:
    """A line a corpus, then what is to be said of each."""
    lines = ["".join(_cell(title, width, at) for at, (title, width) in enumerate(COLUMNS))]
    for check in checks:
        values = zip(_values(check), COLUMNS, strict=True)
        lines.append("".join(_cell(v, width, at) for at, (v, (_, width)) in enumerate(values)))
    lines.append(LEGEND)
    for check in checks:
        lines += ["", check.corpus, *(f"  {line}" for line in _remarks(check))]
    return "\n".join(shown(line.rstrip()) for line in lines)


def _cell(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < 2 else text.rjust(width)


def _values(check: CorpusCheck) -> list[str]:
    counts, split = check.counts, check.split
    head = [check.corpus, check.state]
    if counts is None:
        return head + [UNKNOWN] * (len(COLUMNS) - len(head))
    numbers = [
        counts.clips,
        UNKNOWN if counts.seconds is None else f"{counts.seconds:.1f}",
        *(counts.labels.get(label, 0) for label in ("cry", "other", "unknown")),
        counts.recordings,
        counts.infants,
        sum(counts.events.values()),
        sum(counts.quarantined.values()),
        UNKNOWN if split is None else split.duplicates.within,
        UNKNOWN if split is None else split.duplicates.across,
    ]
    return head + [str(number) for number in numbers]


def _remarks(check: CorpusCheck) -> list[str]:
    corpus = corpora.get(check.corpus)
    use = "allowed" if corpus.commercial_use else "not allowed"
    lines = [f"terms: {corpus.licence}; commercial use {use}. {corpus.terms}"]
    counts, split = check.counts, check.split
    if counts is not None and counts.clips:
        licences = ", ".join(f"{name} ({count})" for name, count in counts.licences.items())
        lines.append(f"licences of the clips: {licences}")
        if counts.events:
            lines.append(f"strong events: {_listed(counts.events)}")
    if counts is not None and counts.quarantined:
        kinds = list(counts.quarantined.items())
        lines.append(f"refused ({sum(counts.quarantined.values())}), N is a measured value:")
        lines += [f"  {count:>6}  {reason}" for reason, count in kinds[:REASONS]]
        if rest := kinds[REASONS:]:
            total = sum(count for _, count in rest)
            where = " (quarantine.parquet)" if check.state in ("cleaned", "split") else ""
            lines.append(f"  {total:>6}  on {len(rest)} other grounds{where}")
    if split is not None:
        lines.append(f"parts: {_listed(split.parts)}")
        if split.kinds:
            lines.append(f"kinds of other sounds: {_listed(split.kinds)}")
        if split.unnamed:
            lines.append(f"of kind other (conf/kinds.yaml): {_listed(split.unnamed)}")
        if split.duplicates.corpora:
            lines.append(f"the same sound in other corpora: {_listed(split.duplicates.corpora)}")
    lines += [f"missing: {text}" for text in check.missing]
    lines += [f"doubtful: {text}" for text in check.doubts]
    lines += [f"WRONG: {text}" for text in check.problems]
    return lines


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
