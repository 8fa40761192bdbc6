"""Train an ECAPA-TDNN with one loss: `python pipelines/train_speaker.py ge2e`."""

import sys

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.speaker.ecapa import EcapaConfig
from crywatch.speaker.train_speaker import TrainSpeakerConfig, run


def main(loss: str) -> None:
    with tracking.stage_run("train_speaker", loss) as log:

        def on_epoch(epoch):
            values = epoch.as_row()
            log.metrics(values, step=values.pop("epoch"))

        out = paths.TRAIN_SPEAKER / loss
        summary = run(
            loss,
            params.section("train_speaker", TrainSpeakerConfig),
            params.section("ecapa", EcapaConfig),
            paths.CRIES,
            params.plain("schedule.scale"),
            params.plain("seed"),
            out,
            paths.WORK / "train_speaker" / loss,
            on_epoch,
        )
        log.metrics(summary.as_metrics())
        log.tags({"measure": summary.measure})
        log.dataset("cries", paths.CRIES / "cries.parquet")
        log.model(f"ecapa-{loss}" if summary.history else loss, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
