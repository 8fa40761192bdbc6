"""Detectors of crying: front ends, networks, mining, trainings, calibration and decisions."""
