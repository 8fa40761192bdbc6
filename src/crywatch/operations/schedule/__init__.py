"""When `crywatch retrain` runs unattended: a systemd timer, a cron line of the user, or Prefect.

`Job` is what runs. Each of `BACK_ENDS`, by the name of its option, has ``AT`` (the usual time),
``preview``, ``install``, ``show`` and ``remove``; the last three return lines for the user.
``flow`` serves the job to Prefect. All start it in the project's folder, with the interpreter that
installed it. Secrets stand in `Job.environment_file` and never in a unit or a table.
"""

from crywatch.operations.schedule import cron, systemd
from crywatch.operations.schedule.job import Job, of_project

BACK_ENDS = {"systemd": systemd, "cron": cron}

__all__ = ["BACK_ENDS", "Job", "cron", "of_project", "systemd"]
