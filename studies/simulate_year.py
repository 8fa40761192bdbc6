"""A generated year with and without the gate: `python studies/simulate_year.py`."""

from crywatch import tracking
from crywatch.audio.extents import ExtentConfig
from crywatch.core import params, paths
from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.follow import FollowConfig
from crywatch.infants.models.registry import ModelsConfig
from crywatch.speaker.batches import AveragingConfig
from crywatch.studies.simulate_year import SimulateYearConfig, run
from crywatch.studies.simulate_year.figures import year_figure
from crywatch.studies.simulate_year.voices import HearingSettings


def main() -> None:
    with tracking.stage_run("simulate_year") as log:
        summary = run(
            paths.EMBED_CRIES,
            paths.TRAIN_SPEAKER / params.plain("embed_cries.network"),
            paths.GATE,
            params.section("simulate_year", SimulateYearConfig, params.STUDIES_FILE),
            params.section("timeline.follow", FollowConfig),
            params.section("fit_infants.conformal", ConformalConfig),
            params.section("fit_infants.settings", ModelsConfig),
            HearingSettings(
                params.section("embed_cries.averaging", AveragingConfig),
                params.section("cries.extents", ExtentConfig),
                params.plain("cries.min_cry_s"),
            ),
            paths.SIMULATE_YEAR,
        )
        log.headline(summary.headline())
        log.artifact(paths.SIMULATE_YEAR / "metrics.json")
        log.figure(year_figure(paths.SIMULATE_YEAR), "year.png")


if __name__ == "__main__":
    main()
