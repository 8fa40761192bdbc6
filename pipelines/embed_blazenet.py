"""Embed every plain second with one BlazeNet: `python pipelines/embed_blazenet.py all_1s`."""

import sys

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.detection.blazenet.embed_blazenet import EmbedBlazenetConfig, run


def main(variant: str) -> None:
    with tracking.stage_run("embed_blazenet", variant) as log:
        out = paths.EMBED_BLAZENET / variant
        n_seconds = run(
            paths.TRAIN_BLAZENET / variant,
            paths.PICTURES / "1s",
            params.section("embed_blazenet", EmbedBlazenetConfig),
            out,
            paths.WORK / "embed_blazenet" / variant,
        )
        log.metrics({"seconds": n_seconds})


if __name__ == "__main__":
    main(*sys.argv[1:])
