"""What takes how long: run one from the repository root with ``python -m benchmarks.NAME --help``.

``speed`` (seconds of sound a second), ``clean`` (memory), ``embeddings``, ``infants`` and
``timeline`` (the half that knows infants), ``scale`` (AudioSet, on paper), ``tracking``,
``operations``, ``retrain`` and ``kills`` (rebuilds), ``install`` (layers of dependencies),
``fuzz`` (malformed recordings) and ``damage`` (malformed models, infants, tables and parameters).
They share ``machine``, ``rounds`` (things timed in turn) and ``sounds``.
"""
