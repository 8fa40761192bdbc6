"""Stage ``evaluate``: everything that is measured on the scores of stage ``score``; no network.

`detection` measures every model on every second, clip and event; `shortcuts` asks whether systems
know crying, or corpora; `systems` compares them on the same seconds. Each writes its folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import atomic_dir
from crywatch.data.selection import Source
from crywatch.evaluation.evaluate import detection, shortcuts, systems
from crywatch.evaluation.scored import DETECTION, SHORTCUTS, SYSTEMS, Scored


@dataclass(frozen=True)
class EvaluateConfig:
    """Section ``evaluate``."""

    threshold: float  # of the accuracies in Tables 3 to 5, and of the audit's decisions
    shortcuts: shortcuts.ShortcutsConfig
    systems: systems.SystemsConfig


@dataclass(frozen=True)
class EvaluationSummary:
    """What was measured."""

    detection: detection.DetectionSummary
    shortcuts: shortcuts.AuditSummary
    systems: systems.CompareSummary

    def headline(self, config: EvaluateConfig) -> dict[str, float]:
        """For the parent run too: ``<model>/<metric>``, and below ``shortcuts``."""
        audited = shortcuts.headlines(self.shortcuts, config.shortcuts.main)
        return _named("", self.detection.headlines) | _named(f"{SHORTCUTS}/", audited)

    def compared(self, config: EvaluateConfig) -> dict[str, float]:
        """Of the comparison, by kind of sound: below ``systems``."""
        return _named(f"{SYSTEMS}/", systems.headlines(self.systems.rows, config.systems.main))


def _named(prefix: str, rows: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{prefix}{row}/{k}": v for row, values in rows.items() for k, v in values.items()}


def run(
    score_dir: Path, sources: Sequence[Source], config: EvaluateConfig, seed: int, out_dir: Path
) -> EvaluationSummary:
    """Measure what lies in ``score_dir``; writes a folder for each of the three: all or nothing.

    ``sources`` are those of the stage that scored. TableError if it did not run.
    """
    scored = Scored(score_dir, sources)
    with atomic_dir(out_dir) as temp:
        return EvaluationSummary(
            detection.run(scored, config.threshold, temp / DETECTION),
            shortcuts.run(scored, config.threshold, config.shortcuts, seed, temp / SHORTCUTS),
            systems.run(scored, config.systems, temp / SYSTEMS),
        )
