"""When `crywatch retrain` runs unattended: a systemd timer or a cron line of the user.

``job`` is what is run, ``systemd`` and ``cron`` put it into the one's folder of units and the
other's table. Both start it in the project's folder, with the interpreter that installed it, and
read `Job.environment_file`, where secrets stand: none is ever written into a unit or a table.
"""

from crywatch.operations.schedule.job import Job, of_project

__all__ = ["Job", "of_project"]
