"""Write the datasheet of one corpus: `python pipelines/datasheet.py esc50`."""

import sys

from crywatch import corpora, tracking
from crywatch.core import params, paths
from crywatch.corpora.base import is_generated
from crywatch.data.datasheet import DatasheetConfig, run


def main(corpus: str) -> None:
    with tracking.stage_run("datasheet", corpus) as log:
        out = paths.datasheet(corpus)
        sheet = run(
            corpora.get(corpus),
            params.section("datasheet", DatasheetConfig),
            paths.clean(corpus),
            paths.SPLIT,
            paths.SPLIT_INFANTS,
            is_generated(params.plain("data.source"), params.plain(f"corpus.{corpus}.folder")),
            out,
        )
        log.metrics(sheet.as_metrics())
        log.artifact(out, "datasheet")


if __name__ == "__main__":
    main(*sys.argv[1:])
