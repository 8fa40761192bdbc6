"""The minute of `crywatch demo`, and the filters that make it without SciPy."""

import sys

import numpy as np
import pytest
from scipy import signal

from crywatch.corpora.generate.filters import lfilter
from crywatch.corpora.generate.minute import CRIES, SECONDS, SOUNDS, minute
from crywatch.corpora.generate.synthesis import RATE_HZ


@pytest.mark.parametrize(("numerator", "denominator"), [([1.0], [1.0, -0.7]), ([1.0, 0.3], [1.0])])
def test_filters_are_scipys_without_it_too(monkeypatch, numerator, denominator):
    sound = np.random.default_rng(0).standard_normal(2000)
    expected = signal.lfilter(numerator, denominator, sound)
    assert np.array_equal(lfilter(numerator, denominator, sound), expected)
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    assert np.allclose(lfilter(numerator, denominator, sound), expected, rtol=0, atol=1e-12)


def test_a_minute_has_what_is_said_of_it():
    night = minute(seed=1)
    assert len(night) == SECONDS * RATE_HZ and np.abs(night).max() <= 1
    assert np.array_equal(night[:1000], minute(seed=1)[:1000])
    assert set(CRIES) < {heard.what for heard in SOUNDS}
    seconds = np.abs(night).reshape(int(SECONDS), -1).max(axis=1)
    for heard in SOUNDS:
        inside = seconds[int(heard.onset_s) : int(heard.offset_s)].max()
        assert inside > 5 * seconds[int(heard.onset_s) - 1]  # over the fan before it
