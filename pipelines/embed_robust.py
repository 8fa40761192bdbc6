"""Embed every plain second with one robust network: `python pipelines/embed_robust.py robust`."""

import sys

from crywatch import tracking
from crywatch.core import paths
from crywatch.detection.robust.embed_robust import run


def main(variant: str) -> None:
    with tracking.stage_run("embed_robust", variant) as log:
        out = paths.EMBED_ROBUST / variant
        work = paths.WORK / "embed_robust" / variant
        n_seconds = run(paths.TRAIN_ROBUST / variant, paths.CLIPS_TABLES, out, work)
        log.metrics({"seconds": n_seconds})


if __name__ == "__main__":
    main(*sys.argv[1:])
