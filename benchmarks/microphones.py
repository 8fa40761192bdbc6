"""Scores through a dozen drawn devices: ``python -m benchmarks.microphones --help``.

A device is a frequency response, a gain, a limit beyond which it cuts flat, an upper edge of its
band and a noise, drawn once and then the same for every clip. The test part of a rebuild is put
through each: what a detector finds by clips, and how many of an infant's own later recordings are
called unusual by its baseline, which heard the recordings as they are. The first line is of them
as they are, the last lines are the middle and the ends of the devices'. With ``--alone`` a device
has one property at an end of its range and nothing else, which tells what it is that matters.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.machine import ONE_THREAD, positive, print_runs

if TYPE_CHECKING:
    from crywatch.audio.channels import Channel
    from crywatch.infants.embed_cries import EmbedCriesConfig
    from crywatch.infants.embedded_cries import InfantClips, ShiftedClips
    from crywatch.infants.evaluation.baselines import ModelEvaluation
    from crywatch.infants.evaluation.results import ModelSummary

SEED = 18
AS_IS = "as recorded"
KNOTS_HZ = {60: (-24, -3), 150: (-12, 0), 300: (-6, 3), 1000: (0, 0), 2000: (-4, 4)}
KNOTS_HZ |= {3500: (-4, 8), 5500: (-9, 4), 7500: (-24, 0)}  # dB
GAIN_DB = (-30.0, 10.0)
CUT_DBFS = (-24.0, -3.0)  # of the devices that cut
CUT_SHARE = 0.5
SNR_DB = (10.0, 40.0)  # noise below the sound
SNR_NONE_DB = 90.0  # no noise that 16 bits hold
EDGES_HZ = (8000.0, 8000.0, 6000.0, 4000.0)  # one is drawn
PART = "test"


@dataclass(frozen=True)
class Device:
    """One drawn device."""

    name: str
    gain_db: float
    cut_dbfs: float  # 0: it cuts nothing but what is beyond full scale
    snr_db: float
    edge_hz: float
    response_db: dict[int, float]  # by Hz

    def steps(self) -> list[dict[str, Any]]:
        """As a channel of conf/channels.yaml."""
        edge = [] if self.edge_hz >= max(EDGES_HZ) else [{"band": {"high_hz": self.edge_hz}}]
        return [
            {"gain": {"db": self.gain_db}},
            {"microphone": {"response": self.response_db}},
            {"noise": {"snr_db": self.snr_db, "colour": "pink"}},
            *edge,
            {"clip": {"dbfs": self.cut_dbfs}},
            {"quantise": {"bits": 16}},
        ]


@dataclass(frozen=True)
class Run:
    """The test part through one device; shares 0..1, None where a rebuild has no such clips."""

    device: str
    what: str  # what was drawn
    clips: int
    auc: float | None  # of the clips' highest seconds
    found: float | None  # share of the clips with a cry whose highest second is a cry
    called: float | None  # share of the others
    infants: int  # whose baseline promises a rate
    recordings: int  # of theirs, later than the baseline
    unusual: float | None  # share of an infant's own later recordings, mean over infants
    promised: float | None  # that share, as recorded


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names and print it."""
    os.environ.update({name: "1" for name in ONE_THREAD}, CUDA_VISIBLE_DEVICES="")
    options = _parser().parse_args(arguments)
    json = options.json.absolute() if options.json else None
    with contextlib.chdir(options.rebuild):
        drawn = alone() if options.alone else devices(options.devices, options.seed)
        runs = measured(drawn, options.model, options.threshold)
        print_runs(with_spread(runs), HEADER, _line, json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rebuild", type=Path, default=Path(), help="folder of a rebuilt project")
    parser.add_argument("--model", default="data/calibrate/robust", help="a detector's folder")
    parser.add_argument("--threshold", type=float, default=0.5, help="of a clip's highest second")
    parser.add_argument("--devices", type=positive, default=12)
    parser.add_argument("--alone", action="store_true", help="one property a device")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def devices(count: int, seed: int) -> list[Device]:
    """Drawn ones; device n is the same however many are drawn."""
    return [_device(number, np.random.default_rng([seed, number])) for number in range(count)]


def _device(number: int, rng: np.random.Generator) -> Device:
    cuts = rng.random() < CUT_SHARE
    return Device(
        name=f"device {number + 1}",
        gain_db=round(rng.uniform(*GAIN_DB), 1),
        cut_dbfs=round(rng.uniform(*CUT_DBFS), 1) if cuts else 0.0,
        snr_db=round(rng.uniform(*SNR_DB), 1),
        edge_hz=float(rng.choice(EDGES_HZ)),
        response_db={hz: round(rng.uniform(*ends), 1) for hz, ends in KNOTS_HZ.items()},
    )


def alone() -> list[Device]:
    """One property each, at an end of its range; all else leaves the sound as it is."""
    flat, darkest, brightest = (
        dict(zip(KNOTS_HZ, column, strict=True))
        for column in zip(*((0.0, *ends) for ends in KNOTS_HZ.values()), strict=True)
    )
    plain = Device("plain", 0.0, 0.0, SNR_NONE_DB, max(EDGES_HZ), flat)
    named = {
        "gain": [{"gain_db": db} for db in GAIN_DB],
        "cut": [{"cut_dbfs": dbfs} for dbfs in CUT_DBFS],
        "noise": [{"snr_db": db} for db in (*SNR_DB, sum(SNR_DB) / 2)],
        "edge": [{"edge_hz": hz} for hz in sorted(set(EDGES_HZ))[:-1]],
        "response": [{"response_db": response} for response in (darkest, brightest)],
    }
    return [
        replace(plain, name=f"{name} {number + 1}", **values)
        for name, ends in named.items()
        for number, values in enumerate(ends)
    ]


def measured(drawn: Sequence[Device], model: str, threshold: float) -> Iterator[Run]:
    """The recordings as they are, then through each device, of the rebuild in this folder."""
    from crywatch.audio.channels import channel

    section = {device.name: device.steps() for device in drawn}
    channels = {name: channel(name, section) for name in section}
    infants = _infants(channels)
    for device in (None, *drawn):
        name = AS_IS if device is None else device.name
        labels, scores = _clips(model, None if device is None else channels[name])
        found = _found(labels, scores, threshold)
        yield Run(name, _drawn(device), len(labels), *found, *_unusual(infants, name))


def _clips(model: str, through: Channel | None) -> tuple[np.ndarray, np.ndarray]:
    """Whether each labelled clip holds a cry, and the highest score of its seconds."""
    from crywatch.audio.channels import apply
    from crywatch.audio.waves.cleaned import read_clean
    from crywatch.core import paths
    from crywatch.data.selection import labelled
    from crywatch.detection.detectors import load_detector

    clips = labelled(paths.SPLIT_CLIPS)
    clips = clips[clips["split"] == PART]
    detector = load_detector(model)
    scores = []
    for clip_id, path in zip(clips["clip_id"], clips["path"], strict=True):
        wave = read_clean(path)
        scores.append(
            detector.score(wave if through is None else apply(through, wave, clip_id)).max()
        )
    decided = np.array(scores)
    if detector.decision is not None:
        decided = detector.decision.calibration(decided)
    return (clips["label"] == "cry").to_numpy(), decided


def _found(
    labels: np.ndarray, scores: np.ndarray, threshold: float
) -> tuple[float | None, float | None, float | None]:
    from sklearn.metrics import roc_auc_score

    both = labels.any() and not labels.all()
    auc = float(roc_auc_score(labels, scores)) if both else None
    shares = [scores[labels], scores[~labels]]
    return (auc, *(float((part >= threshold).mean()) if len(part) else None for part in shares))


def _infants(channels: Mapping[str, Channel]) -> ModelEvaluation | None:
    """The default model of infants with a device a shift; None where none were embedded."""
    from crywatch.core import params, paths
    from crywatch.core.progress import progress
    from crywatch.infants.embed_cries import EmbedCriesConfig
    from crywatch.infants.embedded_cries import EmbeddedCries
    from crywatch.infants.evaluation.baselines import evaluate
    from crywatch.infants.evaluation.division import divide
    from crywatch.infants.fit_infants import FitInfantsConfig
    from crywatch.infants.models.registry import build

    if not paths.EMBED_CRIES.is_dir():
        return None
    config = params.section("fit_infants", FitInfantsConfig)
    embedding = params.section("embed_cries", EmbedCriesConfig)
    seed = params.plain("seed")
    store = EmbeddedCries(paths.EMBED_CRIES)
    infants = store.infants([PART], config.changed)
    vectors = _embedder(embedding)
    heard = []
    for infant in progress(infants, "infants", unit="infant"):
        later = divide(infant.sessions, infant.times, config.evaluation.division).test
        shifted = tuple(_through(infant, later, channels, vectors)) if len(later) else ()
        heard.append(replace(infant, shifted=shifted))
    model = build(config.default, config.settings, seed, store.cohort(config.changed))
    return evaluate(model, heard, config.conformal, config.evaluation, seed)


def _embedder(config: EmbedCriesConfig) -> Callable[[str, Channel], np.ndarray]:
    """A recording through a channel, embedded as the rebuild embeds it, [dim]."""
    from crywatch.audio.channels import apply
    from crywatch.core import paths
    from crywatch.infants.embed_cries import recording_vector
    from crywatch.speaker.cries.store import CryStore
    from crywatch.speaker.logmel import open_network

    cries = CryStore(paths.CRIES)
    embed = open_network(paths.TRAIN_SPEAKER / config.network).embed

    def vector(clip_id: str, through: Channel) -> np.ndarray:
        waves = [peak_at_1(apply(through, wave, clip_id)) for wave in cries.waves(clip_id)]
        return recording_vector(waves, clip_id, embed, config.averaging)

    return vector


def _through(
    infant: InfantClips,
    rows: np.ndarray,
    channels: Mapping[str, Channel],
    vector: Callable[[str, Channel], np.ndarray],
) -> Iterator[ShiftedClips]:
    """Those of an infant's recordings that its baseline has not heard, through each device."""
    from crywatch.infants.embedded_cries import ShiftedClips

    for name, through in channels.items():
        vectors = [vector(infant.clip_ids[row], through) for row in rows]
        yield ShiftedClips(name, True, rows, np.stack(vectors))


def peak_at_1(wave: np.ndarray) -> np.ndarray:
    """As stage `cries` leaves them; silence stays silence."""
    peak = float(np.abs(wave).max())
    return (wave / peak).astype(np.float32) if peak else wave


def _unusual(
    infants: ModelEvaluation | None, name: str
) -> tuple[int, int, float | None, float | None]:
    """What `Run` says of infants."""
    if infants is None:
        return 0, 0, None, None
    summary = infants.summary
    recordings = sum(row.test_clips for row in infants.rows if row.promised)
    return summary.promised, recordings, _rate(summary, name), summary.rate_promised


def _rate(summary: ModelSummary, name: str) -> float | None:
    if name == AS_IS:
        return summary.rate_seen
    return summary.controls[name].mean if name in summary.controls else None


def with_spread(runs: Iterator[Run]) -> Iterator[Run]:
    """These, then the least, the middle and the most of the devices', number by number."""
    through = []
    for run in runs:
        yield run
        through += [run] if run.device != AS_IS else []
    for name, of in (("least", min), ("middle", statistics.median), ("most", max)):
        numbers = {}
        for key in ("auc", "found", "called", "unusual"):
            values = [asdict(run)[key] for run in through if asdict(run)[key] is not None]
            numbers[key] = float(of(values)) if values else None
        if through:
            yield replace(through[0], device=name, what="", **numbers)


def _drawn(device: Device | None) -> str:
    if device is None:
        return ""
    cut = f"cut {device.cut_dbfs:g} dBFS" if device.cut_dbfs else "no cut"
    low, high = device.response_db[150], device.response_db[5500]
    shape = f"{low:+g}/{high:+g} dB at 150/5500 Hz"
    edge = f"to {device.edge_hz / 1000:g} kHz"
    return f"{device.gain_db:+g} dB, {cut}, noise {device.snr_db:g} dB below, {shape}, {edge}"


HEADER = (
    f"{'device':<12}{'AUC':>8}{'cries found':>13}{'others called':>15}{'own unusual':>13}  drawn"
)


def _line(run: Run) -> str:
    cells = [_share(run.auc, 8), _share(run.found, 13), _share(run.called, 15)]
    return f"{run.device:<12}{''.join(cells)}{_share(run.unusual, 13)}  {run.what}"


def _share(value: float | None, width: int) -> str:
    return f"{'-' if value is None else f'{value:.3f}':>{width}}"


if __name__ == "__main__":
    sys.exit(main())
