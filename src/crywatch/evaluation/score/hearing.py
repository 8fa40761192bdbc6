"""Every system on its clips through one rendering after the other, as far as that is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.errors import CrywatchError
from crywatch.core.progress import progress
from crywatch.core.threads import one_thread
from crywatch.evaluation.score.cache import ScoreCache, write_entry
from crywatch.evaluation.score.renderings import Rendering
from crywatch.evaluation.score.scorers import Scorer, Silence


@dataclass(frozen=True, eq=False)
class Hearing:
    """One scorer on some clips through one rendering: a row group of the table of scores."""

    scorer: Scorer | Silence
    rendering: Rendering
    clips: pd.DataFrame  # of table split_clips

    @property
    def key(self) -> object:
        """All that its scores depend on."""
        sounds = self.clips[["clip_id", "sha256"]].to_numpy().tolist()
        return [self.scorer.key, self.rendering.key, sounds]


def hear(hearings: Sequence[Hearing], cache: ScoreCache, workers: int = 1) -> None:
    """Put into ``cache`` the scores (clip_id, start_s, end_s, score) of those that are not there.

    Clips are shared by ``workers`` processes of one thread each, which changes only the time. One
    clip a process is in memory at a time; through each rendering it is heard once, by all.
    """
    from joblib import Parallel, delayed

    missing: dict[str, list[Hearing]] = {}
    for hearing in hearings:
        if not cache.table(hearing.key).is_file():
            missing.setdefault(hearing.rendering.name, []).append(hearing)
    with Parallel(n_jobs=workers) as parallel:
        for name, here in missing.items():
            clips = pd.concat([hearing.clips for hearing in here]).drop_duplicates("clip_id")
            given = here
            if workers > 1:  # the detector of a scorer is opened in the process that hears with it
                given = [replace(hearing, scorer=replace(hearing.scorer)) for hearing in here]
            parts = parallel(delayed(_heard)(given, part, name) for part in _shares(clips, workers))
            for hearing, frames in zip(here, zip(*parts, strict=True), strict=True):
                write_entry(pd.concat(frames, ignore_index=True), cache.table(hearing.key))


def _shares(clips: pd.DataFrame, count: int) -> list[pd.DataFrame]:
    """At most ``count`` parts of clips that follow each other, of about equal seconds."""
    if count == 1 or clips.empty:
        return [clips]
    ends_s = clips["duration_s"].cumsum()
    part = np.ceil(count * ends_s / ends_s.iloc[-1]).clip(1, count)
    return [share for _, share in clips.groupby(part)]


@dataclass
class _Seconds:
    """Scores as they come, clip by clip."""

    clip_ids: list[str] = field(default_factory=list)
    starts_s: list[np.ndarray] = field(default_factory=lambda: [np.zeros(0)])
    scores: list[np.ndarray] = field(default_factory=lambda: [np.zeros(0)])

    def add(self, clip_id: str, onset_s: float, scores: np.ndarray) -> None:
        """Scores [plain seconds] of a stretch."""
        self.clip_ids += [clip_id] * len(scores)
        self.starts_s.append(onset_s + np.arange(len(scores)))
        self.scores.append(scores)

    def table(self) -> pd.DataFrame:
        """A row a second."""
        starts = np.concatenate(self.starts_s)
        columns = {"clip_id": np.array(self.clip_ids, dtype=object), "start_s": starts}
        return pd.DataFrame(columns | {"end_s": starts + 1, "score": np.concatenate(self.scores)})


def _heard(hearings: Sequence[Hearing], clips: pd.DataFrame, name: str) -> list[pd.DataFrame]:
    """The scores of ``hearings`` on ``clips``, all through the rendering of that name."""
    from threadpoolctl import threadpool_limits

    wanting: dict[str, list[tuple[Hearing, _Seconds]]] = {}
    pairs = [(hearing, _Seconds()) for hearing in hearings]
    for pair in pairs:
        for clip_id in pair[0].clips["clip_id"]:
            wanting.setdefault(clip_id, []).append(pair)
    paths = zip(clips["clip_id"], clips["path"], strict=True)
    with threadpool_limits(1), one_thread():
        for clip_id, path in progress(paths, f"score, {name}", len(clips), "clip"):
            for stretch in hearings[0].rendering.stretches(read_clean(path), clip_id):
                for hearing, seconds in wanting[clip_id]:
                    try:
                        scores = hearing.scorer.score(stretch.wave)
                    except CrywatchError as error:
                        raise type(error)(f"{clip_id}, {name}: {error}") from error
                    seconds.add(clip_id, stretch.onset_s, scores)
    return [seconds.table() for _, seconds in pairs]
