"""The released model on sound that it never heard: ``python -m benchmarks.released --help``.

It was trained in a rebuild of its own (``--heard``, profile release), and is measured on the clips
of another (``--rebuild``, of real recordings), without every group that shares a sound with its
training and validation parts. Scope "both unheard" is that rebuild's test part, for comparison with
a model (``--other``) that was trained there; a corpus is all of its clips, for which there is none.
Clips of 5 to 10 s: an event is a clip's. Other seconds are called at the threshold at which a model
finds 0.8 of the crying seconds of the same scope.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.machine import print_runs

if TYPE_CHECKING:
    import pandas as pd

    from crywatch.detection.calibrate.listening import Recording
    from crywatch.detection.detectors import Detector

RECALL = 0.8
BOTH = "both unheard"
HEADER = (
    "| scope | model | seconds (cry) | AP | AUC | called at recall 0.8 | of other kinds "
    "| cries found | false alarms an hour |\n|---|---|---:|---|---|---:|---|---:|---:|"
)


@dataclass(frozen=True)
class Run:
    """One model on one scope."""

    scope: str
    model: str
    n: int  # seconds
    n_cry: int
    average_precision: float | None
    average_precision_low: float | None  # 95 %, over groups of recordings
    average_precision_high: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    called: float | None  # share of the other seconds
    called_by_kind: dict[str, float]  # of each kind
    found: float | None  # share of cries, by the model's own decision; None without one
    per_hour: float | None  # false alarms of non-cry sound, by it
    hours: float  # of non-cry sound


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write it as JSON."""
    from crywatch.detection.detectors import load_detector
    from crywatch.detection.peer.zero_shot import YamnetDetector
    from crywatch.detection.released import FOLDER

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rebuild", type=Path, required=True, help="a project with its data")
    parser.add_argument("--heard", type=Path, required=True, help="the released model's rebuild")
    parser.add_argument("--released", type=Path, default=FOLDER, help="a model folder")
    parser.add_argument("--other", type=Path, help="a model that --rebuild trained on all corpora")
    parser.add_argument("--yamnet", type=Path, help="YAMNet's .tflite file, which heard AudioSet")
    parser.add_argument(
        "--json", type=Path, help="also write the numbers there, as the card has them"
    )
    options = parser.parse_args(arguments)
    detectors: dict[str, Detector] = {"released": load_detector(options.released)}
    if options.other:
        detectors["all corpora"] = load_detector(options.other)
    if options.yamnet:
        detectors["YAMNet"] = YamnetDetector("YAMNet", str(options.yamnet.absolute()))
    print_runs(_measured(options.rebuild, options.heard, detectors), HEADER, line_of, options.json)


def _measured(rebuild: Path, heard: Path, detectors: Mapping[str, Detector]) -> Iterator[Run]:
    from crywatch.core import paths
    from crywatch.data.selection import Source
    from crywatch.detection.calibrate.listening import listen

    source = Source(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS)
    clips = unheard(rebuild / paths.SPLIT_CLIPS, heard / paths.SPLIT_CLIPS)
    test = clips["split"] == "test"
    others = [name for name in clips["corpus"].unique() if name not in _corpora(heard)]
    kinds = dict(zip(clips["clip_id"], clips["kind"], strict=True))
    scopes: dict[str, tuple[pd.Series, list[str]]] = {BOTH: (test, list(detectors))}
    alone = [name for name in detectors if name != "all corpora"]
    for corpus in others:
        scopes[corpus] = (clips["corpus"] == corpus, alone)
    with contextlib.chdir(rebuild):
        for scope, (rows, names) in scopes.items():
            for name in names:
                recordings = listen(
                    detectors[name], clips[rows].reset_index(drop=True), [source], name
                )
                if recordings:
                    yield _run(scope, name, detectors[name], recordings, kinds)


def _corpora(project: Path) -> set[str]:
    """Those that the released model could hear, and the folder of which ESC-10 is a part."""
    from crywatch.core import paths

    raw = {path.name for path in (project / paths.DATA / "raw").iterdir()}
    return raw | ({"esc50"} if "esc10" in raw else set())


def unheard(clips_table: Path, heard_table: Path) -> pd.DataFrame:
    """Labelled clips that count, of groups none of which was trained or validated on."""
    from crywatch.data.tables import read_table
    from crywatch.data.tables.clips import SPLIT_CLIPS

    clips, heard = (read_table(table, SPLIT_CLIPS) for table in (clips_table, heard_table))
    sounds = set(heard.loc[heard["split"] != "test", "sha256"])
    groups = set(clips.loc[clips["sha256"].isin(sounds), "group_id"])
    rows = clips["canonical"] & clips["label"].isin(["cry", "other"])
    return clips[rows & ~clips["group_id"].isin(groups)].reset_index(drop=True)


def _run(
    scope: str,
    name: str,
    detector: Detector,
    recordings: Sequence[Recording],
    kinds: Mapping[str, str],
) -> Run:
    from crywatch.detection.calibrate.listening import known_seconds
    from crywatch.detection.calibrate.measures import Hearing, measure
    from crywatch.metrics.curves import binary_metrics
    from crywatch.metrics.intervals import group_bootstrap

    seconds = known_seconds(recordings)
    areas = binary_metrics(seconds.labels, seconds.scores, 0.5)
    ends = group_bootstrap(seconds.labels, seconds.scores, seconds.groups)
    of_kind = np.concatenate(
        [np.repeat(kinds[recording.clip_id], recording.known.sum()) for recording in recordings]
    )
    called, by_kind = None, {}
    if areas.n_cry:
        at = np.quantile(seconds.scores[seconds.labels], 1 - RECALL)
        alarms = (seconds.scores >= at) & ~seconds.labels
        called = float(alarms.sum() / max((~seconds.labels).sum(), 1))
        by_kind = {
            str(kind): float(alarms[of_kind == kind].mean())
            for kind in np.unique(of_kind[~seconds.labels])
        }
    found = per_hour = None
    hours = sum(recording.quiet_s for recording in recordings) / 3600
    if detector.decision is not None:
        rated = detector.decision.rated()
        calibration = detector.decision.calibration
        row = next(measure(recordings, calibration, rated.rule, None, "test", Hearing()))
        found, per_hour = row.found, row.per_hour
    return Run(
        scope,
        name,
        areas.n,
        areas.n_cry,
        areas.average_precision,
        ends.average_precision_low,
        ends.average_precision_high,
        areas.auc,
        ends.auc_low,
        ends.auc_high,
        called,
        by_kind,
        found,
        per_hour,
        hours,
    )


def line_of(run: Run) -> str:
    kinds = sorted(run.called_by_kind.items(), key=lambda item: -item[1])
    cells = [
        run.scope,
        run.model,
        f"{run.n} ({run.n_cry})",
        _interval(run.average_precision, run.average_precision_low, run.average_precision_high),
        _interval(run.auc, run.auc_low, run.auc_high),
        _number(run.called),
        ", ".join(f"{kind} {share:.2f}" for kind, share in kinds),
        _number(run.found),
        "n/a" if run.per_hour is None else f"{run.per_hour:.0f} in {run.hours:.2f} h",
    ]
    return f"| {' | '.join(cells)} |"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return _number(value) + ("" if low is None else f" [{low:.2f}, {high:.2f}]")


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
