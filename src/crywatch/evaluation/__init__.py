"""Scores of detectors, and what is measured on them.

Three stages, each with its ``run``: `evaluate_detection` (every model on every second, clip and
event), `audit_shortcuts` (do they know crying, or corpora) and `compare_detectors` (all systems on
the same seconds). They share `scopes`, what a metric is measured on, and `channel_scores`, the
seconds of every clip through every channel.
"""
