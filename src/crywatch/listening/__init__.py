"""`crywatch listen`: cries in sound that goes on, one decision a second."""
