"""Measures without models: curves, event scores, and intervals over groups."""
