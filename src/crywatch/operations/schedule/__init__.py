"""When `crywatch retrain` runs unattended: a systemd timer, a cron line of the user, or Prefect.

``job`` describes what runs; ``systemd`` and ``cron`` each have ``install``, ``show`` and ``remove``
for it, which return lines for the user; ``flow`` serves it to Prefect. All start it in the
project's folder, with the interpreter that installed it. Secrets stand in `Job.environment_file`
and are never written into a unit or a table.
"""

from crywatch.operations.schedule import cron, systemd
from crywatch.operations.schedule.job import Job, of_project

__all__ = ["Job", "cron", "of_project", "systemd"]
