"""What is done with rebuilds and their models, by command or by schedule.

``compare_runs`` (do two runs differ?), ``register`` (gates, card, promotion, rollback), ``drift``
(have recent recordings moved away?), ``retrain`` (one unattended run), ``schedule`` (systemd,
cron, Prefect), ``trace`` and ``reproduce`` (what a model came from), ``dag`` (the code
dependencies of dvc.yaml), ``check`` (data against dvc.lock), ``recover`` (what a killed rebuild
left), ``worktree`` (copies at a commit).
"""
