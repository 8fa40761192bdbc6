"""What models of infants are worth, measured in the order of time.

``division`` cuts an infant's recordings into baseline and test, ``baselines`` calibrates and
scores, ``results`` holds a row an infant and their means.
"""
