"""Detectors of crying: front ends, networks, mining, trainings, calibration and decisions.

Its face: `detectors.load_detector` (a model folder as a `Detector`), `detect` (a user's files),
`decisions` (calibrated probabilities, and which seconds are an event), `systems` (the detectors of
a rebuild), `training.fit` (the loop of the trainings). ``blazenet``, ``robust``, ``anomaly`` and
``baselines`` each hold a kind of detector with its network, training and stages; ``embedders`` the
networks of others; ``calibrate`` a stage; ``engine`` where the work of a stage is done.
"""
