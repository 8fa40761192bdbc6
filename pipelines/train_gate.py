"""Train the gate before the infants' baselines: `python pipelines/train_gate.py`."""

from dataclasses import asdict

import pandas as pd

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.infants.train_gate import TrainGateConfig, run


def main() -> None:
    with tracking.stage_run("train_gate") as log:
        summary = run(
            paths.EMBED_CRIES,
            params.section("train_gate", TrainGateConfig),
            params.plain("seed"),
            paths.TRAIN_GATE,
        )
        log.headline(summary.headline())
        log.table(pd.DataFrame(map(asdict, summary.rows)), "heads.csv")
        log.tags({f"gate.{name}": said.reason for name, said in summary.heads.items()})
        log.artifact(paths.TRAIN_GATE, "gate")


if __name__ == "__main__":
    main()
