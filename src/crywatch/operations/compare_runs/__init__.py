"""`crywatch compare`: whether runs differ on the same clips, with intervals, not two bare numbers.

A run's own numbers are those of its MLflow run: of all that it measured. Differences are of the
rows that both runs have (`pairs`), by the paired bootstrap over groups (`metrics.paired`), their
p values corrected for the number of lines shown (Holm). Everything is of the test part and of
corpora left out, as stage ``evaluate`` measured it; nothing is chosen by it.

``comparison`` has `compare` and what it gives, a `RunComparison`; ``pairs`` finds the rows that two
runs share and ``differences`` measures on them; ``tables`` and ``page`` show it; ``command`` is the
command.
"""

from crywatch.operations.compare_runs.comparison import (
    UNITS,
    Options,
    RunComparison,
    ScoredRun,
    compare,
    load,
    resolve,
)

__all__ = ["UNITS", "Options", "RunComparison", "ScoredRun", "compare", "load", "resolve"]
