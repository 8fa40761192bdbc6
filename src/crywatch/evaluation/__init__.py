"""Scores of detectors and what is measured on them: per second, by event, by shortcut, compared."""
