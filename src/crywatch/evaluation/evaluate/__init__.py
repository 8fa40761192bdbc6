"""Stage ``evaluate``: everything that is measured on the scores of stage ``score``; no network.

`detection` measures every model on every second, clip and event; `shortcuts` asks whether systems
know crying, or corpora; `systems` compares them on the same seconds. Each writes its folder.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        """For the parent run: ``<model>/<metric>``, and below ``shortcuts`` and ``systems``."""
        tables = {
            "": self.detection.headlines,
            f"{SHORTCUTS}/": shortcuts.headlines(self.shortcuts, config.shortcuts.main),
            f"{SYSTEMS}/": systems.headlines(self.systems.rows, config.systems.main),
        }
        return {
            f"{prefix}{row}/{name}": value
            for prefix, rows in tables.items()
            for row, values in rows.items()
            for name, value in values.items()
        }


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
