"""Stage ``mixtures``: recordings made of the clips of one part of the split, with known onsets.

``untrimmed`` joins whole clips, ``soundscapes`` lays what sounds of them over a background (drawn
in ``draw``); ``recordings`` is how both are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crywatch.data.mixtures import soundscapes, untrimmed
from crywatch.data.mixtures.draw import SoundscapesConfig
from crywatch.data.mixtures.recordings import RecordingsSummary
from crywatch.data.mixtures.soundscapes import SoundscapesSummary
from crywatch.data.mixtures.untrimmed import UntrimmedConfig


@dataclass(frozen=True)
class MixturesConfig:
    """Section ``mixtures``."""

    untrimmed: UntrimmedConfig
    soundscapes: SoundscapesConfig


@dataclass(frozen=True)
class MixturesSummary:
    """What was made."""

    untrimmed: RecordingsSummary
    soundscapes: SoundscapesSummary

    def as_metrics(self) -> dict[str, float | None]:
        """For the tracking store."""
        return {
            f"{kind}_{name}": value
            for kind, summary in vars(self).items()
            for name, value in summary.as_metrics().items()
        }


def run(
    split_clips: Path, split_events: Path, config: MixturesConfig, seed: int, out_dir: Path
) -> MixturesSummary:
    """Write untrimmed/ and soundscapes/ below ``out_dir``; one seed gives both."""
    return MixturesSummary(
        untrimmed.run(split_clips, config.untrimmed, seed, out_dir / untrimmed.CORPUS),
        soundscapes.run(
            split_clips, split_events, config.soundscapes, seed, out_dir / soundscapes.CORPUS
        ),
    )
