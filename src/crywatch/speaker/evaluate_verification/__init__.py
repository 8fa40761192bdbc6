"""Stage ``evaluate_verification``: does a network know an infant again? One table for all of them.

Networks: those that were fine-tuned, one as it was published where its weights are at hand, one
that has learnt nothing, and statistics of spectra. Protocols: pairs of recordings within a session
and across sessions (a session's room and phone give the answer away), and CryCeleb's where the
corpus is there. Which network is best is chosen on the validation part; the test part decides
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.charts import save_svg
from crywatch.core.errors import ConfigError
from crywatch.core.threads import torch_threads
from crywatch.corpora.shared.cryceleb_tables import read_pairs, write_submission
from crywatch.data.tables import write_table
from crywatch.data.tables.infants import TRIALS
from crywatch.metrics.rows import flat
from crywatch.speaker.batches import AveragingConfig
from crywatch.speaker.cries.store import CryStore
from crywatch.speaker.evaluate_verification import figures
from crywatch.speaker.evaluate_verification.networks import (
    OFF_THE_SHELF,
    Network,
    open_networks,
)
from crywatch.speaker.evaluate_verification.protocols import (
    ACROSS,
    CRYCELEB,
    PHONE,
    POOLED,
    WITHIN,
    NamedTrials,
    Protocol,
    at_most,
    cryceleb_protocol,
    recordings,
    session_protocol,
    whole,
)
from crywatch.speaker.trials import TrialConfig, by_trial, cosine_scores, embed_utterances
from crywatch.speaker.verification import VerificationConfig, VerificationMetrics, verify

CHOSEN_ON = (ACROSS, WITHIN, CRYCELEB)  # the first of which the validation part has trials
WHOLE = AveragingConfig(0)  # the cries joined as one sound
UNAVERAGED = "-unaveraged"  # after the name of a network without crops
SUBMISSION = "cryceleb_submission.csv"


@dataclass
class MapConfig:
    """The picture of recordings by infant."""

    infants: int  # of the test part, those with the most recordings
    recordings: int  # of an infant, at most


@dataclass(frozen=True)
class EvaluateVerificationConfig:
    """Section ``evaluate_verification``. Sections inside are not frozen: OmegaConf merges them."""

    off_the_shelf: str  # a folder or OWNER/NAME on the hub; "" for none
    changed: list[str]  # beginnings of the categories of recordings that are in no trial
    phone: list[Any]  # steps of a channel; [] for none
    recordings: int  # of an infant, at most
    cohort: int  # training recordings that the baselines are standardised on, at most
    averaging: AveragingConfig
    trials: TrialConfig
    measures: VerificationConfig
    map: MapConfig
    threads: int  # that torch computes with; another number gives other last digits

    def __post_init__(self) -> None:
        given = {
            "recordings": self.recordings,
            "cohort": self.cohort,
            "map.infants": self.map.infants,
            "map.recordings": self.map.recordings,
        }
        for name, value in given.items():
            if value < 2:
                raise ConfigError(f"evaluate_verification.{name} is {value}: set it to 2 or more")
        if self.threads < 1:
            raise ConfigError(f"evaluate_verification.threads is {self.threads}: set it above 0")


@dataclass(frozen=True)
class VerificationInputs:
    """The files the stage reads."""

    cries: Path  # folder of the stage cries
    finetuned: Mapping[str, Path]  # model folders by the name of the loss
    cryceleb: Path | None  # the corpus in its publisher's layout, where it is among the corpora


@dataclass(frozen=True)
class VerificationRow:
    """One network on one list of trials."""

    network: str
    line: str  # its name in the table: the network's, or that without averaging
    crops: int  # averaged; 0: the cries joined as one sound
    protocol: str  # within, across, phone, cryceleb
    scope: str  # pooled, or a corpus
    part: str  # val, test
    metrics: VerificationMetrics


@dataclass(frozen=True)
class Choice:
    """The network that is called best, by its equal error rate on the validation part."""

    network: str
    protocol: str  # of the trials that decided; "": there were none, it is the first of the list
    eer: float | None


@dataclass(frozen=True)
class VerificationSummary:
    """The table, and what the figures show."""

    rows: list[VerificationRow]
    choice: Choice
    det: pd.DataFrame  # model, network, protocol, false_alarm, miss
    embedding_map: pd.DataFrame  # clip_id, infant_id, session_id, x, y

    def as_metrics(self) -> dict[str, float]:
        """``<part>.<protocol>.<line>.<metric>``, pooled over corpora."""
        metrics: dict[str, float] = {}
        for row in self.rows:
            if row.scope == whole(row.protocol) and row.metrics.eer is not None:
                key = f"{row.part}.{row.protocol}.{row.line}"
                names = ("eer", "eer_low", "eer_high", "min_dcf")
                values = {name: getattr(row.metrics, name) for name in names}
                metrics |= {f"{key}.{n}": round(v, 6) for n, v in values.items() if v is not None}
        return metrics

    def headline(self) -> dict[str, float]:
        """The chosen network's error rates, and every line's across sessions."""
        values = self.as_metrics()
        headline = {}
        for row in self.rows:
            eer = values.get(f"test.{row.protocol}.{row.line}.eer")
            if row.scope != POOLED or row.part != "test" or eer is None:
                continue
            if row.line == self.choice.network:
                headline[f"verification/eer_{row.protocol}"] = eer
            if row.protocol == ACROSS:
                headline[f"verification/{row.line}/eer_across"] = eer
        return headline


def run(
    inputs: VerificationInputs, config: EvaluateVerificationConfig, seed: int, out_dir: Path
) -> VerificationSummary:
    """Embed every recording once a network and measure; writes tables, trials and figures.

    Raises
    ------
    ModelError
        A fine-tuned network is missing, or the one off the shelf cannot be had.
    TableError
        There are no cries, or a network has trained on an infant of CryCeleb's trials.
    """
    store = CryStore(inputs.cries)
    known = recordings(store, config.changed)
    chosen = at_most(known[known["split"] != "train"], config.recordings, seed)
    protocols = [session_protocol(store, chosen, config.trials, seed, config.phone)]
    if inputs.cryceleb is not None:
        protocols.append(cryceleb_protocol(inputs.cryceleb, known))
    with torch_threads(config.threads):
        networks = open_networks(inputs.finetuned, config.off_the_shelf, store, config.cohort, seed)
        tests = [
            _test(net, net.name, protocols, config, config.averaging if net.crops else WHOLE, seed)
            for net in networks
        ]
        rows = [row for test in tests for row in test.rows]
        choice = choose(rows, networks)
        best = next(test for test in tests if test.network.name == choice.network)
        for net in networks if config.averaging.crops else ():
            # Off the shelf, with the cries joined: what the challenge's paper measured.
            if net.crops and net.name in (choice.network, OFF_THE_SHELF):
                line = f"{net.name}{UNAVERAGED}"
                rows += _test(net, line, protocols, config, WHOLE, seed).rows
    summary = VerificationSummary(
        rows=rows,
        choice=choice,
        det=figures.det_points([curve for test in tests for curve in test.curves()]),
        embedding_map=figures.embedding_map(
            chosen[chosen["split"] == "test"],
            best.vectors[0],
            config.map.infants,
            config.map.recordings,
            seed,
        ),
    )
    with atomic_dir(out_dir) as temp:
        _write(temp, summary, tests, config, chosen)
        submitted = protocols[-1].submitted
        if inputs.cryceleb is not None and submitted is not None:
            pairs = read_pairs(inputs.cryceleb, "test")
            scores = cosine_scores(submitted, best.vectors[-1])
            write_submission(temp / SUBMISSION, pairs, by_trial(pairs, scores))
    return summary


@dataclass(frozen=True)
class _Test:
    """One network on all protocols."""

    network: Network
    vectors: list[dict[str, np.ndarray]]  # by protocol, by the name of a sound: [dim]
    lists: list[NamedTrials]
    scores: list[np.ndarray]  # by list: [trials]
    rows: list[VerificationRow]  # by list

    def curves(self) -> list[figures.ScoredTrials]:
        """What the curves are drawn from: the pooled test part, and CryCeleb's labelled trials."""
        return [
            figures.ScoredTrials(self.network.name, named.protocol, named.trials.known(), scores)
            for named, scores in zip(self.lists, self.scores, strict=True)
            if (named.scope == POOLED and named.part == "test" and named.protocol != PHONE)
            or named.protocol == CRYCELEB
        ]


def _test(
    network: Network,
    line: str,
    protocols: Sequence[Protocol],
    config: EvaluateVerificationConfig,
    averaging: AveragingConfig,
    seed: int,
) -> _Test:
    test = _Test(network, [], [], [], [])
    for protocol in protocols:
        vectors = embed_utterances(
            protocol.utterances, protocol.load, network.embed, averaging, seed, f"embed, {line}"
        )
        test.vectors.append(vectors)
        for named in protocol.lists:
            scores = cosine_scores(named.trials, vectors)
            # No interval of the validation part is reported.
            resamples = config.measures.resamples if named.is_reported else 0
            measures = replace(config.measures, resamples=resamples)
            metrics = verify(named.trials, scores, measures, seed)
            kind = named.protocol, named.scope, named.part
            test.rows.append(VerificationRow(network.name, line, averaging.crops, *kind, metrics))
            test.lists.append(named)
            test.scores.append(scores)
    return test


def choose(rows: Sequence[VerificationRow], networks: Sequence[Network]) -> Choice:
    """The lowest equal error rate on the validation part; the first of equals."""
    for protocol in CHOSEN_ON:
        place = protocol, whole(protocol), "val"
        rates = {
            row.network: row.metrics.eer
            for row in rows
            if (row.protocol, row.scope, row.part) == place and row.metrics.eer is not None
        }
        if rates:
            network = min(rates, key=rates.__getitem__)
            return Choice(network, protocol, rates[network])
    return Choice(networks[0].name, "", None)


def _write(
    folder: Path,
    summary: VerificationSummary,
    tests: Sequence[_Test],
    config: EvaluateVerificationConfig,
    measured: pd.DataFrame,
) -> None:
    counts = measured.groupby("split").agg(
        recordings=("clip_id", "size"), infants=("infant_id", "nunique")
    )
    tables = {
        "rows": [flat(row) for row in summary.rows],
        "choice": asdict(summary.choice),
        "off_the_shelf": config.off_the_shelf,
        "averaging": asdict(config.averaging),
        "gap_s": config.trials.gap_s,
        "parts": counts.to_dict("index"),
    }
    write_json(folder / "tables.json", tables)
    write_json(folder / "metrics.json", summary.as_metrics())
    for name, frame in (("det", summary.det), ("embedding_map", summary.embedding_map)):
        frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    save_svg(figures.det_figure(summary.det), folder / "det.svg")
    picture = figures.map_figure(summary.embedding_map, summary.choice.network)
    save_svg(picture, folder / "embedding_map.svg")
    frames = []
    for test in tests:
        for named, scores in zip(test.lists, test.scores, strict=True):
            if named.scope == whole(named.protocol):
                head = {"network": test.network.name, "protocol": named.protocol}
                pairs = {"first": named.trials.first, "second": named.trials.second}
                result = {"same": named.trials.known(), "score": scores}
                frames.append(pd.DataFrame(head | {"part": named.part} | pairs | result))
    write_table(pd.concat(frames, ignore_index=True), folder / "trials.parquet", TRIALS)
