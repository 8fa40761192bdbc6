"""A page on each corpus: terms, counts, and its known problems as measured.

One self-contained HTML file a corpus (after Gebru et al., Datasheets for Datasets, CACM 2021), and
the numbers beside it. What is said of a corpus comes from its module, what is measured from the
cleaned clips.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from crywatch.core.atomic import atomic_dir, write_json, write_text
from crywatch.core.errors import ConfigError
from crywatch.corpora.shared.base import Corpus
from crywatch.data.counts import Counts, SplitCounts, count_split, count_tables
from crywatch.data.datasheet import figures, findings, measures
from crywatch.data.datasheet.measures import LabelSound, Separation, Spread
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import CLIPS, EVENTS, QUARANTINE

PAGE = "index.html"
MEASURES = "measures.json"
CATEGORIES = 60  # that the page lists


@dataclass
class DatasheetConfig:
    """Section ``datasheet``."""

    max_clips: int  # whose sound is measured
    clip_level: float  # of full scale
    clip_run: int  # samples in a row
    silent_dbfs: float  # rms of a second
    spectrograms: int  # of a label


@dataclass(frozen=True)
class Picture:
    """A spectrogram of one clip."""

    label: str
    clip_id: str
    caption: str
    source: str  # data URI


@dataclass(frozen=True)
class Datasheet:
    """Everything the page and measures.json hold."""

    corpus: Corpus
    config: DatasheetConfig
    generated: bool  # the sounds are, and say nothing of the corpus
    counts: Counts
    seconds: dict[str, float]  # by label
    split: SplitCounts | None
    spreads: list[Spread]
    separations: list[Separation]
    sound: list[LabelSound]
    rates: dict[str, dict[str, int]]  # label -> clips by rate as recorded, Hz
    findings: list[str]

    def as_measures(self) -> dict:
        """For measures.json."""
        return {
            "corpus": self.corpus.name,
            "licence": self.corpus.licence,
            "commercial_use": self.corpus.commercial_use,
            "generated": self.generated,
            "counts": asdict(self.counts),
            "seconds": self.seconds,
            "split": None if self.split is None else asdict(self.split),
            "spreads": [asdict(spread) for spread in self.spreads],
            "separations": [asdict(row) for row in self.separations],
            "sound": [asdict(row) for row in self.sound],
            "rates": self.rates,
            "findings": self.findings,
        }

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        metrics = {
            "clips": float(self.counts.clips),
            "seconds": self.counts.seconds or 0.0,
            "refused": float(sum(self.counts.quarantined.values())),
            "findings": float(len(self.findings)),
        }
        if self.split is not None:
            metrics["duplicates_within"] = float(self.split.duplicates.within)
            metrics["duplicates_across"] = float(self.split.duplicates.across)
        metrics |= {f"auc_{part.column}": part.auc for part in self.separations}
        for sound in self.sound:
            metrics |= {
                f"clipped_{sound.label}": sound.clipped,
                f"silent_{sound.label}": sound.silent,
            }
        return metrics


def run(
    corpus: Corpus,
    config: DatasheetConfig,
    clean_dir: Path,
    split_dir: Path,
    infants_dir: Path,
    generated: bool,
    out_dir: Path,
) -> Datasheet:
    """Write index.html and measures.json of ``corpus`` below ``out_dir``."""
    if config.max_clips < 1 or config.clip_run < 1 or config.spectrograms < 0:
        raise ConfigError(
            "report.datasheet: max_clips and clip_run must be 1 or more, spectrograms not negative"
        )
    if not 0 < config.clip_level <= 1:
        raise ConfigError(f"report.datasheet.clip_level: {config.clip_level:g} is not in 0..1")
    clips, events, quarantine = (
        read_table(clean_dir / f"{schema.name}.parquet", schema)
        for schema in (CLIPS, EVENTS, QUARANTINE)
    )
    by_label = clips.groupby("label", sort=True)
    sample = measures.draw(clips, config.max_clips)
    sheet = findings.judged(
        Datasheet(
            corpus=corpus,
            config=config,
            generated=generated,
            counts=count_tables(clips, events, quarantine),
            seconds={k: round(float(v), 1) for k, v in by_label["duration_s"].sum().items()},
            split=count_split(clips, split_dir, infants_dir),
            spreads=measures.spreads(clips),
            separations=measures.separations(clips),
            sound=measures.measure_sound(
                sample, config.clip_level, config.clip_run, config.silent_dbfs
            ),
            rates={
                label: {str(rate): int(n) for rate, n in rates.value_counts(sort=False).items()}
                for label, rates in by_label["rate_hz"]
            },
            findings=[],
        )
    )
    charts = {
        quantity.title: figures.histogram(clips, quantity)
        for quantity in measures.QUANTITIES
        if len(clips)
    }
    pictures = [picture for label in sheet.seconds for picture in _pictures(clips, label, config)]
    with atomic_dir(out_dir) as temp:
        write_text(temp / PAGE, render(sheet, charts, pictures))
        write_json(temp / MEASURES, sheet.as_measures())
    return sheet


def _pictures(clips, label: str, config: DatasheetConfig) -> list[Picture]:
    rows = measures.typical(clips, label, config.spectrograms)
    return [
        Picture(
            label,
            row.clip_id,
            f"{row.category}; {row.duration_s:.1f} s; recorded at {row.rate_hz / 1000:g} kHz, band "
            f"to {row.bandwidth_hz / 1000:.1f} kHz; {row.rms_dbfs:.0f} dBFS",
            figures.spectrogram(Path(row.path), row.bandwidth_hz),
        )
        for row in rows.itertuples()
    ]


def render(sheet: Datasheet, charts: dict[str, str], pictures: list[Picture]) -> str:
    """The page; it needs nothing beside itself."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crywatch", "data/datasheet"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("index.html.j2").render(
        sheet=sheet,
        charts=charts,
        pictures=pictures,
        quantities={quantity.column: quantity for quantity in measures.QUANTITIES},
        quantiles=[f"{q:g}" for q in measures.QUANTILES],
        colours=figures.COLOURS,
        max_categories=CATEGORIES,
    )
