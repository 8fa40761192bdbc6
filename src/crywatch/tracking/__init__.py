"""The one room that talks to MLflow: runs of stages, and the registry of models.

Its face for scripts of stages is `stage_run`, which gives them a `StageRun` to record with; `ui`
(`pages`) serves MLflow's pages. What a stage records goes through `journal` (on disk), `sender` (a
process, which `launch` begins and ends) and `replay` (into the store); `entries` adds what DVC
wrote into dvc.lock once the stage had ended. `parent` and `sweeps` are the runs above: a rebuild's,
and that of a queue's rebuilds. Commands look for runs with `find`, for evaluations to compare with
`runs`, and for models with `registry`.
"""

from __future__ import annotations

from crywatch.tracking.pages import ui
from crywatch.tracking.stage import StageRun, stage_run

__all__ = ["StageRun", "stage_run", "ui"]
