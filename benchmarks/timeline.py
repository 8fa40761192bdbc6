"""Timeline update time, one recording more against all anew: ``python -m benchmarks.timeline``.

One infant is followed for so many recordings. An update adds the next recording to its timeline
(tables and trend), the other way makes the timeline of all recordings again. Both are timed in
turns in one process, so that a busy machine slows both alike; they must give the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import ONE_THREAD, positive, print_runs, seconds_of

if TYPE_CHECKING:
    import pandas as pd

    from crywatch.infants.timeline.config import TimelineConfig

SEED = 1
BASELINE = 40  # recordings
SESSION_RECORDINGS = 3
SESSION_DAYS = 1.0
RATE = 0.1
UPDATES = 20  # in a round


@dataclass(frozen=True)
class Run:
    """One length of timeline."""

    recordings: int
    update_ms: float  # one recording more, the median
    scratch_ms: float  # the timeline of all of them, the median
    ratio: float  # how many times as fast the update was, the median of rounds
    low_ratio: float
    high_ratio: float
    page_ms: float  # episodes, change points, figures and the file, the median


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names and print it."""
    options = _parser().parse_args(arguments)
    os.environ.update({name: "1" for name in ONE_THREAD}, CUDA_VISIBLE_DEVICES="")
    runs = (_measure(recordings, options.rounds) for recordings in options.recordings)
    print_runs(runs, HEADER, _line, options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--recordings", type=positive, nargs="+", default=[100, 1_000, 10_000], metavar="N"
    )
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def settings() -> TimelineConfig:
    """As in conf/stage/timeline.yaml."""
    from crywatch.core import params
    from crywatch.infants.timeline.config import TimelineConfig

    path = Path(__file__).parent.parent / "params.yaml"
    return params.section("timeline", TimelineConfig, path)


def _tables(recordings: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables "followed" and "bands" of one infant that does not change."""
    import numpy as np
    import pandas as pd

    from crywatch.data.tables import validate
    from crywatch.data.tables.infants import BANDS, FOLLOWED

    rng = np.random.default_rng(SEED)
    total = BASELINE + recordings
    score = rng.standard_normal(total)
    known = np.sort(score[:BASELINE])
    at_least = BASELINE - np.searchsorted(known, score)
    new = np.arange(total) >= BASELINE
    p = np.where(new, (1 + at_least) / (BASELINE + 1), np.nan)
    alarm = new & (p <= RATE)
    session = np.arange(total) // SESSION_RECORDINGS
    minutes = 24 * 60 * SESSION_DAYS * session + 5 * (np.arange(total) % SESSION_RECORDINGS)
    at = pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(minutes, unit="min")
    followed = pd.DataFrame(
        {
            "infant_id": "infant",
            "clip_id": [f"made/{number:06}" for number in range(total)],
            "session_id": [f"s{number:06}" for number in session],
            "recorded_at": at,
            "phase": np.where(new, "new", "baseline"),
            "score": score,
            "p": p,
            "alarm": alarm,
            "accepted": ~alarm,
            "reason": None,
            "version": 0,
            "remark": None,
        }
    )
    band = {
        "infant_id": "infant",
        "version": 0,
        "since": at[BASELINE],
        "clips": BASELINE,
        "sessions": int(session[BASELINE - 1]) + 1,
        "low": known[2],
        "centre": float(np.median(known)),
        "high": float(np.quantile(known, 1 - RATE)),
        "rate": RATE,
        "reachable": 1 / (BASELINE + 1),
        "promised": True,
        "reason": None,
    }
    return validate(followed, FOLLOWED), validate(pd.DataFrame([band]), BANDS)


def _measure(recordings: int, rounds: int) -> Run:
    import tempfile

    import pandas as pd

    from crywatch.infants.timeline.analysis import analyse, extend
    from crywatch.infants.timeline.page import write_page

    config = settings()
    followed, bands = _tables(recordings + UPDATES)
    size = BASELINE + recordings
    before = analyse(followed.iloc[:size], bands, config, SEED)[0]
    grown = before
    for row in range(size, len(followed)):
        grown = extend(grown, followed.iloc[row : row + 1], bands, config, SEED)
    anew = analyse(followed, bands, config, SEED)[0]
    pd.testing.assert_frame_equal(grown.recordings, anew.recordings, check_exact=True)
    pd.testing.assert_frame_equal(grown.sessions, anew.sessions, check_exact=True)

    def update() -> None:
        timeline = before
        for row in range(size, len(followed)):
            timeline = extend(timeline, followed.iloc[row : row + 1], bands, config, SEED)

    updates, scratch, pages = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            calls = [
                (updates, update),
                (scratch, lambda: analyse(followed, bands, config, SEED)),
                (pages, lambda: write_page(Path(folder) / "page.html", [before], config)),
            ]
            # In turns, and every other round backwards.
            for spent, call in calls[:: -1 if number % 2 else 1]:
                spent.append(1e3 * seconds_of(call))
    updates = [spent / UPDATES for spent in updates]
    ratios = [anew / one for anew, one in zip(scratch, updates, strict=True)]
    return Run(
        recordings=recordings,
        update_ms=statistics.median(updates),
        scratch_ms=statistics.median(scratch),
        ratio=statistics.median(ratios),
        low_ratio=min(ratios),
        high_ratio=max(ratios),
        page_ms=statistics.median(pages),
    )


HEADER = (
    f"{'recordings':>10}{'update, ms':>12}{'anew, ms':>10}{'ratio':>8}"
    f"{'lowest - highest':>18}{'page, ms':>10}"
)


def _line(run: Run) -> str:
    spread = f"{run.low_ratio:.1f} - {run.high_ratio:.1f}"
    return (
        f"{run.recordings:>10}{run.update_ms:>12.2f}{run.scratch_ms:>10.1f}{run.ratio:>8.1f}"
        f"{spread:>18}{run.page_ms:>10.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
