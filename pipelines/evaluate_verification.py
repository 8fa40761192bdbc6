"""Compare networks by how they know infants again: `python pipelines/evaluate_verification.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.corpora.shared.cryceleb_tables import CORPUS
from crywatch.speaker.evaluate_verification import (
    EvaluateVerificationConfig,
    VerificationInputs,
    figures,
    run,
)


def main() -> None:
    with tracking.stage_run("evaluate_verification") as log:
        out, cryceleb = paths.EVALUATE_VERIFICATION, paths.raw(CORPUS)
        has_trials = CORPUS in params.plain("corpora") and not paths.missing_note(cryceleb)
        summary = run(
            VerificationInputs(
                cries=paths.CRIES,
                finetuned={
                    loss: paths.TRAIN_SPEAKER / loss
                    for loss in params.plain("train_speaker.losses")
                },
                cryceleb=cryceleb if has_trials else None,
            ),
            params.section("evaluate_verification", EvaluateVerificationConfig),
            params.plain("seed"),
            out,
        )
        log.metrics(summary.as_metrics())
        log.headline(summary.headline())
        log.tags({"verification.best": summary.choice.network})
        log.artifact(out / "tables.json")
        log.figure(figures.det_figure(summary.det), "det.png")
        picture = figures.map_figure(summary.embedding_map, summary.choice.network)
        log.figure(picture, "embedding_map.png")


if __name__ == "__main__":
    main()
