"""Weakly supervised anomaly detection: bags of segments, the RTFM network, MIL and RTFM losses.

Its face: `detector.RtfmDetector`, `training.train`, and the stages `mine` and
`train_rtfm`; `mine_published` mines AudioSet's published features.
"""
