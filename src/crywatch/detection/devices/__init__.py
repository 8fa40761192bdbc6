"""A model on devices: its graphs for other runtimes, its features in C, and the detector on them.

`export` writes a folder, `detector` opens it; the latter needs no torch.
"""
