"""Train an ECAPA-TDNN with one loss: `python pipelines/finetune_ecapa.py ge2e`."""

import sys

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.speaker.ecapa import EcapaConfig
from crywatch.speaker.finetune_ecapa import FinetuneEcapaConfig, run


def main(loss: str) -> None:
    with tracking.stage_run("finetune_ecapa", loss) as log:

        def on_epoch(epoch):
            values = epoch.as_row()
            log.metrics(values, step=values.pop("epoch"))

        out = paths.FINETUNE_ECAPA / loss
        summary = run(
            loss,
            params.section("finetune_ecapa", FinetuneEcapaConfig),
            params.section("ecapa", EcapaConfig),
            paths.CRIES,
            params.plain("schedule.scale"),
            params.plain("seed"),
            out,
            paths.WORK / "finetune_ecapa" / loss,
            on_epoch,
        )
        log.metrics(summary.as_metrics())
        log.tags({"measure": summary.measure})
        log.dataset("cries", paths.CRIES / "cries.parquet")
        log.model(f"ecapa-{loss}", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
