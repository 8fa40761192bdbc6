"""The mel filters against librosa's."""

import librosa
import numpy as np
import pytest

from crywatch.audio.mel import mel_filters


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("n_fft", [200, 512, 1024, 2048])
@pytest.mark.parametrize("edges_hz", [(0.0, 8000.0), (20.0, 4000.0), (125.0, 3800.0), (0.0, None)])
@pytest.mark.parametrize("rate_hz", [8000, 16_000])
def test_the_filters_are_librosas(rate_hz, edges_hz, n_fft):
    low, high = edges_hz
    sizes = {"sr": rate_hz, "n_fft": n_fft, "fmin": low, "fmax": high}
    for n_mels in (40, 64, 128):
        slaney = librosa.filters.mel(**sizes, n_mels=n_mels)
        assert np.array_equal(mel_filters(rate_hz, n_fft, n_mels, low, high), slaney)
        htk = librosa.filters.mel(**sizes, n_mels=n_mels, htk=True, norm=None)
        assert np.array_equal(mel_filters(rate_hz, n_fft, n_mels, low, high, htk=True), htk)
