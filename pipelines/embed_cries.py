"""Embed the recordings of known infants: `python pipelines/embed_cries.py`."""

from dataclasses import asdict

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.infants.embed_cries import EmbedCriesConfig, run


def main() -> None:
    with tracking.stage_run("embed_cries") as log:
        config = params.section("embed_cries", EmbedCriesConfig)
        summary = run(
            paths.CRIES,
            paths.SPLIT_CLIPS,
            paths.TRAIN_SPEAKER / config.network,
            config,
            params.plain("seed"),
            paths.EMBED_CRIES,
        )
        log.metrics(asdict(summary))


if __name__ == "__main__":
    main()
