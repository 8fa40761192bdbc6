"""Scores of detectors, and what is measured on them.

Two stages, each with its ``run``: `score` (every system on every second, as recorded and through
channels) and `evaluate` (metrics, shortcuts, comparison). Between them lies what `scored` describes
and reads; `scopes` has what a metric is measured on.
"""
