"""The case study's systems: averaged features with an SVC or a dense network, and CNNs on MFCC.

The study is "How to use Machine Learning models to Detect if Baby is Crying" (Netguru, 2023). Its
face: `detectors` (one class a kind) and the stage `train_baselines`.
"""

CRYING = "crying"  # of the study's classes
