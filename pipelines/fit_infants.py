"""Fit one kind of model to every infant: `python pipelines/fit_infants.py mahalanobis`."""

import sys

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.infants.fit_infants import TABLES, FitInfantsConfig, as_table, run


def main(model: str) -> None:
    with tracking.stage_run("fit_infants", model) as log:
        config = params.section("fit_infants", FitInfantsConfig)
        out = paths.FIT_INFANTS / model
        summary = run(model, paths.EMBED_CRIES, config, params.plain("seed"), out)
        log.metrics(summary.metrics())
        if model == config.default:
            log.headline(summary.headline())
        for part, evaluation in summary.parts.items():
            log.table(as_table(evaluation), f"infants_{part}.csv")
        log.artifact(out / TABLES)


if __name__ == "__main__":
    main(*sys.argv[1:])
