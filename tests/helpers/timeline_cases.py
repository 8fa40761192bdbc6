"""Followed recordings for the tests of timelines: as `infants.follow` writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core import params
from crywatch.data.tables import validate
from crywatch.data.tables.infants import BANDS, FOLLOWED
from crywatch.infants.timeline.config import TimelineConfig

PARAMS = Path(__file__).parents[2] / "params.yaml"
CONFIG = params.section("timeline", TimelineConfig, PARAMS)
START = pd.Timestamp("2025-03-01T08:00:00Z")
RATE = 0.1


def infant(
    infant_id="a",
    baseline=20,
    new=30,
    shift=0.0,
    shift_from=None,
    days=2.0,
    a_session=1,
    gap_after=None,
    gap_days=40.0,
    versions=None,
    remark="planted change",
    rate=RATE,
    seed=0,
):
    """(followed, bands) of one infant: normal scores, ``shift`` more from session ``shift_from``.

    ``baseline`` and ``new`` are sessions of ``a_session`` recordings, ``days`` apart, with a gap
    after new session ``gap_after``. ``versions`` maps new sessions to the factor and offset that a
    refit from there on puts on all scores.
    """
    rng = np.random.default_rng([seed, *infant_id.encode()])
    quiet = rng.standard_normal(baseline * a_session)
    scale, version, reachable = (1.0, 0.0), 0, 1 / (len(quiet) + 1)
    promised = reachable <= rate + 1e-9
    rows, bands = [], []

    def band(since):
        known = np.sort(quiet * scale[0] + scale[1])
        high = np.quantile(known, 1 - rate, method="higher") if promised else known[-1]
        values = dict(zip(("low", "centre"), np.quantile(known, [0.05, 0.5]), strict=True))
        values |= {"high": high, "clips": len(known), "sessions": baseline, "rate": rate}
        reason = None if promised else f"{len(known)} clips cannot reach {rate:g}"
        values |= {"reachable": reachable, "promised": promised, "reason": reason}
        bands.append({"infant_id": infant_id, "version": version, "since": since} | values)

    at = START
    for session in range(baseline + new):
        number = session - baseline
        if gap_after is not None and number == gap_after:
            at += pd.Timedelta(days=gap_days)
        if number == 0:
            band(at)
        if versions and number in versions:
            scale, version = versions[number], version + 1
            band(at)
        for clip in range(a_session):
            changed = shift_from is not None and number >= shift_from
            raw = rng.standard_normal() + (shift if changed else 0.0)
            p = None
            if number < 0:
                raw = quiet[session * a_session + clip]
            else:
                p = (1 + int((quiet >= raw).sum())) / (len(quiet) + 1)
            alarm = p is not None and promised and p <= rate
            rows.append(
                {
                    "infant_id": infant_id,
                    "clip_id": f"made/{infant_id}-{session:03}-{clip}",
                    "session_id": f"{infant_id}-{session:03}",
                    "recorded_at": at + pd.Timedelta(minutes=5 * clip),
                    "phase": "baseline" if number < 0 else "new",
                    "score": raw * scale[0] + scale[1],
                    "p": p,
                    "alarm": alarm,
                    "accepted": not alarm,
                    "reason": "far from the infant's own normal" if alarm else None,
                    "version": version,
                    "remark": remark if changed else None,
                }
            )
        at += pd.Timedelta(days=days)
    if not bands:
        band(at)
    followed = validate(pd.DataFrame(rows), FOLLOWED)
    return followed, validate(pd.DataFrame(bands), BANDS)


def together(*infants):
    """The tables of several infants as one pair."""
    followed, bands = zip(*infants, strict=True)
    return pd.concat(followed, ignore_index=True), pd.concat(bands, ignore_index=True)
