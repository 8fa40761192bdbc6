"""``crywatch.h``, ``tables.h``, ``frontend.c`` and ``listener.c``: the model around its network, in
C99 without allocation. The C files lie here as they are; the headers are written of a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crywatch.core.errors import ModelError
from crywatch.detection.blazenet.frontend import AMIN, FRAMES, LEAST_RMS
from crywatch.detection.decisions import KEPT, Calibration, Rule
from crywatch.detection.devices.spectrum import Picture
from crywatch.detection.robust.context import POOLING, SILENT_DBFS, SILENT_LOGIT, ContextConfig

SOURCES = ("frontend.c", "listener.c")
HEADER, TABLES = "crywatch.h", "tables.h"


@dataclass(frozen=True)
class Quantised:
    """Of the network in whole numbers: number = scale * (whole - zero)."""

    input_scale: float
    input_zero: int
    output_scale: float  # nats
    output_zero: int
    arena_bytes: int | None  # that tflite-micro needs on a 64-bit host; None: not measured


def write_device(
    folder: Path,
    picture: Picture,
    context: ContextConfig,
    calibration: Calibration,
    rule: Rule,
    quantised: Quantised | None,
) -> list[str]:
    """Write the four files into ``folder``; their names. ModelError without a transform in C."""
    if picture.n_fft & (picture.n_fft - 1):
        raise ModelError(
            f"the model's windows have {picture.n_fft} samples: frontend.c transforms powers of "
            "two; set train_robust.front_end.window_s to 0.064 at 8 kHz"
        )
    values = _constants(picture, context, calibration, rule, quantised)
    lines = [f"#define CRYWATCH_{name} {value}" for name, value in values.items()]
    text = (Path(__file__).parent / "crywatch.h.in").read_text(encoding="utf-8")
    (folder / HEADER).write_text(text.replace("@CONSTANTS@", "\n".join(lines)), encoding="utf-8")
    (folder / TABLES).write_text(_tables(picture), encoding="utf-8")
    for name in SOURCES:
        source = (Path(__file__).parent / name).read_text(encoding="utf-8")
        (folder / name).write_text(source, encoding="utf-8")
    return [HEADER, TABLES, *SOURCES]


def _constants(
    picture: Picture,
    context: ContextConfig,
    calibration: Calibration,
    rule: Rule,
    quantised: Quantised | None,
) -> dict[str, int | str]:
    hops = context.hops
    near = context.own_weight < 1
    own, before, after = (
        round(reach_s * hops)
        for reach_s in (context.own_reach_s, near * context.before_s, near * context.after_s)
    )
    bands = len(picture.filters)
    values: dict[str, int | str] = {
        "RATE_HZ": picture.rate_hz,
        "SAMPLES": picture.rate_hz,
        "FFT": picture.n_fft,
        "HOP": picture.hop,
        "BANDS": bands,
        "FRAMES": FRAMES,
        "PIXELS": bands * FRAMES,
        "WORK": 2 * picture.n_fft + 2 * (picture.n_fft // 2 + 1),
        "AMIN": _c(AMIN),
        "LEAST_RMS": _c(LEAST_RMS),
        "TOP_DB": _c(picture.top_db),
        "SCALE_DB": _c(picture.scale_db),
        "SILENT_RMS": _c(10 ** (SILENT_DBFS / 20)),
        "SILENT_LOGIT": _c(SILENT_LOGIT),
        "HOPS": hops,
        "OWN": own,
        "BEFORE": before,
        "AFTER": after,
        "LOOKAHEAD": max(own, after),
        "REACH": max(own, before) + max(own, after) + 1,
        "OWN_WEIGHT": _c(context.own_weight),
        "POOLING": f"CRYWATCH_POOL_{context.pooling.upper()}",
        "KNOTS": len(calibration.scores),
        "KNOT_SCORES": _braced(calibration.scores),
        "KNOT_PROBABILITIES": _braced(calibration.probabilities),
        "SCORE_SHARE": _c(KEPT),
        "SLOPE": _c(calibration.slope),
        "OFFSET": _c(calibration.offset),
        "ON": _c(rule.on),
        "OFF": _c(rule.off),
        "MIN_EVENT_S": _c(rule.min_event_s),
        "MAX_GAP_S": _c(rule.max_gap_s),
    }
    values |= {f"POOL_{name.upper()}": number for number, name in enumerate(POOLING)}
    if quantised is not None:
        values |= {
            "INPUT_SCALE": _c(quantised.input_scale),
            "INPUT_ZERO": quantised.input_zero,
            "OUTPUT_SCALE": _c(quantised.output_scale),
            "OUTPUT_ZERO": quantised.output_zero,
        }
        if quantised.arena_bytes:
            values["ARENA_BYTES"] = quantised.arena_bytes
    return values


def _tables(picture: Picture) -> str:
    """The window, the turns of the transform, and each band's weights that are not zero."""
    turns = 2 * np.pi * np.arange(picture.n_fft // 2) / picture.n_fft
    spans = [np.flatnonzero(row) for row in picture.filters]
    first = [int(span[0]) if len(span) else 0 for span in spans]
    counts = [int(span[-1] - span[0] + 1) if len(span) else 0 for span in spans]
    weights = [
        row[start : start + count]
        for row, start, count in zip(picture.filters, first, counts, strict=True)
    ]
    arrays = {
        "window": picture.window,
        "cosines": np.cos(turns),
        "sines": np.sin(turns),
        "filters": np.concatenate(weights),
    }
    lines = [f"static const float crywatch_{name}[] = {_braced(v)};" for name, v in arrays.items()]
    for name, whole in (("first", first), ("bins", counts)):
        lines.append(f"static const short crywatch_filter_{name}[] = {_braced(whole)};")
    return "/* Of frontend.c; written by `crywatch export`. */\n" + "\n".join(lines) + "\n"


def _braced(numbers: Iterable[float]) -> str:
    listed = [str(n) if isinstance(n, int) else _c(float(n)) for n in numbers]
    rows = [", ".join(listed[start : start + 8]) for start in range(0, len(listed), 8)]
    return "{" + ", ".join(rows) + "}"


def _c(value: float) -> str:
    """A float of C: the nearest single, in as few digits as tell it from its neighbours."""
    text = str(np.float32(value))
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
