"""Parameters of a rebuild whose trainings take seconds: all stages, few variants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from crywatch.core import params

SHORT = [
    "schedule.scale=1.0",
    "mixtures.untrimmed.per_part={train: 6, val: 4, test: 4}",
    "mixtures.soundscapes.ten_s.per_part={train: 6, val: 4, test: 4}",
    "mixtures.soundscapes.untrimmed.per_part={train: 2, val: 2, test: 2}",
    "mine.steps=20",
    "mine.val_every=10",
    "mine.batch_size=8",
    "train_rtfm.steps=20",
    "train_rtfm.val_every=10",
    "train_rtfm.batch_size=8",
    "train_blazenet.max_epochs=4",
    "train_robust.training={steps: 4, val_every: 2, batch_size: 8}",
    "ablate_robust={steps: 2, folds: 2}",
    "train_baselines={svc: {c: [1.0], gamma: [0.1]}, cnn: {width: 2, epochs: 1}}",
    "score.compared.systems=[baselines/svc, baselines/cnn, blazenet/all_1s]",
    "score.audited.systems=[blazenet/all_1s, rtfm/trimmed]",
    "score.audited={channels: [telephone], factors: {codec: []}, probe_clips: 6}",
    "evaluate.shortcuts.probe.permutations=1",
    "cries.threshold=0.01",  # a detector of four epochs is not sure of anything
    "ecapa.channels=16",
    "train_speaker={epochs: 2, epoch_steps: 2, batches: {infants: 4, cries: 2}}",
    "evaluate_verification={recordings: 8, measures: {resamples: 20}}",
    "embed_cries={workers: 1, others_per_part: 8, shifted: {most: 2}}",
    "fit_infants={models: [mahalanobis, cosine], settings: {cohort: {top_k: 4}}}",
    "simulate_year={workers: 1, hostile: [repeats], changes: [breath], voices: {seconds: 0.8}}",
    "simulate_year.calendar={infants: 2, weeks: 9, baseline_weeks: 4, event_week: 5}",
    "simulate_year.calendar={change_weeks: 2, attack_weeks: 2, after_weeks: 1}",
]
KEPT = {  # of each section's variants
    "train_blazenet": ("variants", {"all_1s", "mined_untrimmed_1s", "mined_published_1s"}),
    "train_robust": ("variants", {"robust"}),
    "train_baselines": ("models", {"svc", "cnn"}),
    "train_speaker": ("losses", {"ge2e"}),
}


def write_short(folder: Path, overrides: Sequence[str]) -> None:
    """params.yaml of ``overrides``, which hold `SHORT`, with the variants of `KEPT` alone."""
    params.compose_to_file(overrides, folder)
    config = params.plain(path=folder / params.PARAMS_FILE)
    for section, (key, kept) in KEPT.items():
        every = config[section][key]
        config[section][key] = {name: every[name] for name in every if name in kept}
    (folder / params.PARAMS_FILE).write_text(yaml.safe_dump(config, sort_keys=False))
