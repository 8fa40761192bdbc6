"""YAMNet, the peer of every comparison: as it is, and beside the robust network on each window."""
