"""Weakly supervised anomaly detection: bags of segments, the RTFM network, MIL and RTFM losses."""
