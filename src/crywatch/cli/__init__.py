"""The `crywatch` command: thin, the logic is in the other rooms.

``main`` has detect, embed, mine-published, params, ui and data check; ``own`` evaluate;
``infant`` the commands on infants; ``models`` register and rollback; ``rebuild`` repro, check and
dag; ``runs`` compare, runs and deliver; ``trace`` trace and reproduce; ``retrain`` and ``schedule``
theirs.
"""
