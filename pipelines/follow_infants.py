"""Follow each infant from its baseline on: `python pipelines/follow_infants.py`."""

from dataclasses import asdict

import pandas as pd

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.evaluation.division import DivisionConfig
from crywatch.infants.follow_infants import FollowInfantsConfig, run
from crywatch.infants.models.registry import ModelsConfig


def main() -> None:
    with tracking.stage_run("follow_infants") as log:
        summary = run(
            paths.EMBED_CRIES,
            paths.TRAIN_GATE,
            params.section("follow_infants", FollowInfantsConfig),
            params.section("fit_infants.conformal", ConformalConfig),
            params.section("fit_infants.evaluation.division", DivisionConfig),
            params.section("fit_infants.settings", ModelsConfig),
            params.plain("seed"),
            paths.FOLLOW_INFANTS,
        )
        log.headline(summary.headline())
        log.table(pd.DataFrame(map(asdict, summary.rows)), "infants.csv")
        log.artifact(paths.FOLLOW_INFANTS / "metrics.json")


if __name__ == "__main__":
    main()
