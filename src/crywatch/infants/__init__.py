"""Stage 2: each infant's own normal, how far a cry is from it, and what a false alarm rate costs.

``contract`` is what a model of an infant is; ``models`` lists them. ``conformal`` turns distances
into p-values, ``shifts`` makes cries that are known to differ, ``evaluation`` measures in the order
of time, ``storage`` keeps an infant in one file that executes nothing.
"""
