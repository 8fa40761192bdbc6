"""Bring one corpus to data/raw: `python pipelines/download.py esc50`."""

import sys

from crywatch import corpora, tracking
from crywatch.core import params, paths
from crywatch.corpora.download import DataConfig, DownloadConfig, run


def main(corpus: str) -> None:
    with tracking.stage_run("download", corpus) as log:
        summary = run(
            corpus,
            params.section("data", DataConfig),
            params.section("download", DownloadConfig),
            paths.raw(corpus),
            paths.WORK / "download" / corpus,
            params.section(f"corpus.{corpus}", corpora.get(corpus).options),
        )
        if summary.report:
            print(summary.report)
        log.metrics({"files": summary.n_files, "megabytes": summary.n_bytes / 1e6})
        log.tags({"sha256": summary.sha256} | ({"missing": summary.missing or ""}))


if __name__ == "__main__":
    main(*sys.argv[1:])
