"""Stage 2: each infant's own normal, how far a cry is from it, and what a false alarm rate costs.

For a program of the user's: `crywatch.infants.enrolment.infants.Infants` (enroll, score, timeline,
list, forget). For the pipeline, a module or folder a stage: ``embed_cries``, ``fit_infants``
and ``timeline``, and of the studies ``simulate_year``. They share:

- ``models``: what a model of an infant is, five kinds of it, and the comparison with a cohort;
- ``conformal``: distances as p-values, and the false alarm rate that can be promised;
- ``gate`` and ``updating``: what may move a baseline, and following an infant over time;
- ``embedded_cries``: the vectors of all recordings; ``shifts``: cries that are known to differ;
- ``evaluation``: what a model is worth, measured in the order of time;
- ``storage``: one infant as one file that executes nothing;
- ``store`` and ``enrolment``: the user's own infants, on a disk and on the command line.
"""
