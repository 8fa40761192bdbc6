"""Mine AudioSet's published features by a miner: `python pipelines/mine_published.py untrimmed`."""

import sys

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.core.atomic import atomic_dir
from crywatch.corpora.shared.audioset_selection import AudioSetConfig
from crywatch.detection.anomaly.mine_published import ALL, CORPUS, none_mined, pick_own, run
from crywatch.detection.engine import EngineConfig, open_engine


def main(dataset: str) -> None:
    with tracking.stage_run("mine_published", dataset) as log:
        features, model = paths.PUBLISHED_FEATURES, paths.MINE / dataset
        classes = params.section("corpus.audioset", AudioSetConfig).classes()
        top_t = params.plain("mine.top_t")
        with atomic_dir(paths.MINED_PUBLISHED) as temp:
            every, own = temp / ALL, 0
            if paths.missing_note(paths.raw(CORPUS)):
                mined = none_mined(temp)
            else:
                with open_engine(params.section("engine", EngineConfig)) as engine:
                    mined = run(features, model, classes, every, top_t, engine=engine)
                own = pick_own(every, paths.SPLIT_CLIPS, temp / paths.MINED_SECONDS)
        log.metrics({"clips": mined.n_clips, "seconds": mined.n_seconds, "own_seconds": own})


if __name__ == "__main__":
    main(*sys.argv[1:])
