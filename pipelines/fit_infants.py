"""Train the gate and fit every kind of model to every infant: `python pipelines/fit_infants.py`."""

from dataclasses import asdict

import pandas as pd

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.infants.fit_infants import GATE, TABLES, FitInfantsConfig, as_table, run


def main() -> None:
    with tracking.stage_run("fit_infants") as log:
        config = params.section("fit_infants", FitInfantsConfig)
        summary = run(paths.EMBED_CRIES, config, params.plain("seed"), paths.FIT_INFANTS)
        log.headline(summary.gate.headline() | summary.models[config.default].headline())
        log.table(pd.DataFrame(map(asdict, summary.gate.rows)), "heads.csv")
        log.tags({f"gate.{name}": head.reason for name, head in summary.gate.heads.items()})
        log.artifact(paths.FIT_INFANTS / GATE, GATE)
        log.metrics(summary.state_metrics())
        for name, model in summary.models.items():
            log.metrics({f"{name}.{metric}": value for metric, value in model.metrics().items()})
            for part, evaluation in model.parts.items():
                log.table(as_table(evaluation), f"{name}/infants_{part}.csv")
            log.artifact(paths.FIT_INFANTS / name / TABLES, name)


if __name__ == "__main__":
    main()
