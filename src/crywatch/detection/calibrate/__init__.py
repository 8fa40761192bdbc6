"""Stage ``calibrate``: a model folder that also says how sure it is, and when it calls a cry.

Probabilities and rules are fitted on the validation part: its clips, soundscapes and untrimmed
recordings, each sound once. What they do is measured on the test part, which chooses nothing. The
probability is that of a plain second among those seconds: where cries are rarer it is lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.core.atomic import atomic_dir, write_json, write_text
from crywatch.core.errors import ConfigError, named
from crywatch.core.models import ModelFolder, load, save
from crywatch.core.paths import MISSING_NOTE
from crywatch.core.threads import one_thread
from crywatch.data.selection import Source
from crywatch.data.sources import corpora_of
from crywatch.detection.calibrate.choosing import Choices, choose_rules
from crywatch.detection.calibrate.fitting import FittedCalibration, agreement, choose, reliability
from crywatch.detection.calibrate.listening import Recording, known_clips, known_seconds, listen
from crywatch.detection.calibrate.measures import ALL, Hearing, RateRow, measure
from crywatch.detection.decisions import KEY, Decision, Rule
from crywatch.detection.detectors import load_detector
from crywatch.detection.peer.detector import describe, fuse, put_yamnet
from crywatch.detection.peer.zero_shot import YamnetConfig

if TYPE_CHECKING:
    import pandas as pd

PLAIN = Rule(0.5, 0.5, 1.0, 1.0)  # of the scores as they were before, for comparison


@dataclass
class CalibratedModel:
    """An entry of ``calibrate.models``."""

    folder: str  # of the model
    yamnet: bool = False  # decides with it, `crywatch.detection.peer`


@dataclass(frozen=True)
class CalibrateConfig:
    """Section ``calibrate``."""

    models: dict[str, CalibratedModel]
    methods: list[str]  # of calibration, the simplest first; see `choose`
    false_alarms_per_hour: list[float]  # stated rates
    default_per_hour: float  # one of them
    off_probabilities: list[float]  # tried for the end of an event
    min_events_s: list[float]  # that are tried
    max_gap_s: float  # stretches at most this far apart are one event

    def model(self, name: str) -> CalibratedModel:
        """By name; ConfigError if there is none."""
        return named(self.models, name, "calibrate.models")

    def check(self) -> None:
        """ConfigError where a value cannot be kept."""
        rates = self.false_alarms_per_hour
        if not rates or min(rates) <= 0:
            raise ConfigError("calibrate.false_alarms_per_hour: name rates above 0")
        if self.default_per_hour not in rates:
            raise ConfigError(
                f"calibrate.default_per_hour: {self.default_per_hour:g} is not among "
                "calibrate.false_alarms_per_hour: name one of them"
            )
        if not self.off_probabilities or not all(0 < off < 1 for off in self.off_probabilities):
            raise ConfigError("calibrate.off_probabilities: name probabilities between 0 and 1")
        if not self.min_events_s or min(self.min_events_s) <= 0:
            raise ConfigError("calibrate.min_events_s: name durations above 0")


@dataclass(frozen=True)
class CalibrateSummary:
    """The decision, and what it does."""

    decision: Decision
    rows: list[RateRow]
    tables: dict

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store and `dvc metrics`: the default rate and the test part."""
        values: dict[str, float | None] = {}
        for row in self.rows:
            if (row.scope, row.stated) == (ALL, self.decision.default_per_hour):
                head = f"{row.part}_" if row.part == "val" else ""
                values |= {f"{head}false_alarms_per_hour": row.per_hour, f"{head}found": row.found}
                values |= {f"{head}latency_s": row.latency_s}
        for row in self.tables["calibration"]:
            if row["part"] == "test":
                values |= {f"{name}_{row['when']}": row[name] for name in ("ece", "brier", "nll")}
        return {name: round(value, 6) for name, value in values.items() if value is not None}


@one_thread()
def run(
    name: str,
    config: CalibrateConfig,
    model_dir: Path,
    sources: Sequence[Source],
    out_dir: Path,
    yamnet: YamnetConfig | None = None,
) -> CalibrateSummary | None:
    """Calibrate the model at ``model_dir``; writes a model folder with its decision, and tables.

    With ``yamnet`` the model decides together with it, and the folder holds its file too; where it
    has no handle the folder says so, and there is no summary.
    """
    config.check()
    if yamnet and not yamnet.handle:
        with atomic_dir(out_dir) as temp:
            write_text(temp / MISSING_NOTE, f"{name}: decides with YAMNet: set yamnet.handle\n")
        return None
    model = load(model_dir)
    leave_out = model.description.get("trained_on", {}).get("leave_out", "")
    if leave_out:
        raise ConfigError(
            f"calibrate.models.{name}: {model_dir} never heard {leave_out!r}, and the validation "
            "part holds it: name a model that leaves nothing out"
        )
    detector = fuse(model, yamnet) if yamnet else load_detector(model_dir)
    peer = describe(yamnet) if yamnet else {}  # refuses what the folder cannot hold
    clips = {part: known_clips(sources, part) for part in ("val", "test")}
    recordings = {
        part: listen(detector, rows, sources, f"{name} {part}") for part, rows in clips.items()
    }
    fitted = choose(config.methods, known_seconds(recordings["val"]))
    choices = Choices(config.off_probabilities, config.min_events_s, config.max_gap_s)
    rates = choose_rules(
        recordings["val"], fitted.calibration, config.false_alarms_per_hour, choices
    )
    decision = Decision(
        fitted.calibration,
        tuple(rates),
        config.default_per_hour,
        _fitted_on(recordings["val"], clips["val"]),
    )
    hearing = Hearing(float(model.description.get("segment_s", 1.0)), detector.lookahead_s)
    rows: list[RateRow] = []
    for part in ("val", "test"):
        rows += measure(recordings[part], None, PLAIN, None, part, hearing)
        for rated in rates:
            stated = rated.false_alarms_per_hour
            rows += measure(recordings[part], fitted.calibration, rated.rule, stated, part, hearing)
    summary = CalibrateSummary(decision, rows, _tables(name, decision, rows, fitted, recordings))
    description = (
        model.description
        | peer
        | {
            KEY: decision.as_dict(),
            "corpora": sorted({*model.setting("corpora"), *corpora_of(clips["val"])}),
        }
    )
    with atomic_dir(out_dir) as temp:
        save(temp, ModelFolder(description, model.weights))
        if yamnet:
            put_yamnet(yamnet, temp)
        write_json(temp / "tables.json", summary.tables)
        write_json(temp / "metrics.json", summary.as_metrics())
    return summary


def _fitted_on(recordings: Sequence[Recording], clips: pd.DataFrame) -> dict:
    kinds = clips[clips["label"] == "other"].groupby("kind")["duration_s"].sum() / 3600
    return {
        "part": "val",
        "recordings": len(recordings),
        "groups": len({recording.group_id for recording in recordings}),
        "cries": sum(recording.n_cries for recording in recordings),
        "hours": sum(recording.duration_s for recording in recordings) / 3600,
        "non_cry_hours": sum(recording.quiet_s for recording in recordings) / 3600,
        "kinds": {str(kind): float(hours) for kind, hours in kinds.items()},  # of sound, in hours
    }


def _tables(
    name: str,
    decision: Decision,
    rows: Sequence[RateRow],
    fitted: FittedCalibration,
    recordings_of: dict[str, list[Recording]],
) -> dict:
    compared, bins = [], []
    for part, recordings in recordings_of.items():
        seconds = known_seconds(recordings)
        if not len(seconds.scores):
            continue
        for when, calibration in (("before", None), ("after", decision.calibration)):
            probabilities = seconds.scores if calibration is None else calibration(seconds.scores)
            head = {"part": part, "when": when}
            compared.append(head | asdict(agreement(seconds.labels, probabilities)))
            bins += [
                head | asdict(reliability_bin)
                for reliability_bin in reliability(seconds.labels, probabilities)
            ]
    return {
        "model": name,
        "decision": decision.as_dict(),
        "rates": [row.as_dict() for row in rows],
        "calibration": compared,
        "reliability": bins,
        "held_out": [
            {"method": m} | asdict(held_out_agreement)
            for m, held_out_agreement in fitted.tried.items()
        ],
    }
