"""Waves [samples]: their rates, levels and channels, cleaned clips, and what is said of one."""
