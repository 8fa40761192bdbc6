"""Stage ``train_rtfm``: the anomaly head on a frozen network's features (Table 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from crywatch.core.errors import ConfigError, named
from crywatch.core.models import EMBEDDINGS, load
from crywatch.data.features import FeatureStore
from crywatch.detection.anomaly.training import (
    AnomalySummary,
    BagEvaluation,
    BagTrainingConfig,
    train_on,
)
from crywatch.detection.training import write_trained


@dataclass
class RtfmVariant:
    """A line of Table 5."""

    backbone: str  # a variant of train_blazenet or train_robust
    dataset: str  # trimmed, untrimmed
    segments: int  # of a bag
    leave_out: str  # corpus, or ""
    family: str = "blazenet"  # blazenet, robust: whose variant the backbone is


@dataclass(frozen=True)
class TrainRtfmConfig(BagTrainingConfig):
    """Section ``train_rtfm``."""

    variants: dict[str, RtfmVariant]

    def variant(self, name: str) -> RtfmVariant:
        """By name; ConfigError if there is none."""
        return named(self.variants, name, "train_rtfm.variants")


def run(
    name: str,
    config: TrainRtfmConfig,
    clips_tables: dict[str, Path],
    backbone_dir: Path,
    scale: float,
    seed: int,
    out_dir: Path,
    work_dir: Path,
    on_evaluation: Callable[[BagEvaluation], None] | None = None,
) -> AnomalySummary:
    """Train variant ``name``; ``clips_tables`` has a table for each data set."""
    variant = config.variant(name)
    clips_table = named(
        clips_tables, variant.dataset, f"train_rtfm.variants.{name}.dataset: the project"
    )
    backbone = load(backbone_dir)
    # What the frozen backbone has heard is in the head's answers too.
    inherited = backbone.setting("corpora")
    never_heard = backbone.description.get("trained_on", {}).get("leave_out", "")
    if variant.leave_out not in ("", never_heard):
        raise ConfigError(
            f"train_rtfm.variants.{name}: leaves out {variant.leave_out!r}, but its backbone "
            f"{variant.backbone!r} has heard that corpus: name one that leaves it out too"
        )
    if not (backbone_dir / EMBEDDINGS).is_dir():
        raise ConfigError(
            f"train_rtfm.variants.{name}: backbone {variant.backbone!r} has no embeddings: say "
            f"`embeddings: true` of it in train_{variant.family}.variants"
        )
    store = FeatureStore(backbone_dir / EMBEDDINGS)
    trained, summary = train_on(
        variant.dataset,
        clips_table,
        variant.leave_out,
        store,
        variant.segments,
        config,
        scale,
        seed,
        work_dir,
        on_evaluation,
    )
    description = {
        "kind": "rtfm",
        "name": name,
        "segment_s": 1.0,
        "backbone": backbone.description,
        "dim": store.info.dim,
        "segments": variant.segments,
        "top_k": config.top_k,
        "temporal": config.temporal,
        "loss": asdict(config.loss),
        "trained_on": asdict(variant),
        "corpora": sorted({*summary.corpora, *inherited}),
    }
    write_trained(out_dir, trained.model(description, backbone.weights), summary.as_metrics())
    return summary
