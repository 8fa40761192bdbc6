"""The case study's parts: windows and votes, averaged features, the SVC's arrays, networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.core.errors import ConfigError
from crywatch.core.models import n_parameters
from crywatch.detection.baselines.averaged import NAMES, averages
from crywatch.detection.baselines.fitting import (
    Data,
    NetworkSchedule,
    fit_network,
    fit_svc,
    mean_recall,
)
from crywatch.detection.baselines.mfcc import Mfcc
from crywatch.detection.baselines.networks import AppNetwork, CnnNetwork, DenseNetwork
from crywatch.detection.baselines.svc import SvcArrays
from crywatch.detection.baselines.windows import means, vote, windows

RNG = np.random.default_rng


def ramp(n_samples: int) -> np.ndarray:
    """Samples that say where they are."""
    return np.arange(n_samples, dtype=np.float32)


def test_windows_begin_every_second_and_hold_what_is_there():
    found = list(windows([ramp(9 * RATE_HZ)], 5.0))
    assert [window.start_s for window in found] == [0, 1, 2, 3, 4]
    for window in found:
        assert len(window.wave) == 5 * RATE_HZ
        assert window.wave[0] == window.start_s * RATE_HZ


@pytest.mark.parametrize("chunk", [700, 16_000, 100_000])
def test_chunks_change_no_window(chunk):
    wave = ramp(12 * RATE_HZ + 9_000)
    whole = list(windows([wave], 5.0))
    parts = (wave[start : start + chunk] for start in range(0, len(wave), chunk))
    for one, other in zip(whole, windows(parts, 5.0), strict=True):
        assert one.start_s == other.start_s
        assert np.array_equal(one.wave, other.wave)


def test_a_short_recording_is_repeated_and_an_empty_one_has_no_window():
    (window,) = windows([ramp(30_000)], 5.0)
    assert np.array_equal(window.wave, np.tile(ramp(30_000), 3)[: 5 * RATE_HZ])
    assert list(windows([ramp(0)], 5.0)) == []


def test_a_tail_that_counts_is_in_a_window_of_its_own():
    wave = ramp(7 * RATE_HZ + 9_600)
    found = list(windows([wave], 5.0))
    assert [window.start_s for window in found] == pytest.approx([0, 1, 2, 2.6])
    assert found[-1].wave[-1] == wave[-1]
    assert len(list(windows([wave[: 7 * RATE_HZ + 4_000]], 5.0))) == 3


@pytest.mark.parametrize("n_samples", [1, 20_000, 5 * RATE_HZ, 7 * RATE_HZ + 8_000, 200_000])
def test_every_plain_second_is_in_a_window(n_samples):
    starts = np.array([window.start_s for window in windows([ramp(n_samples)], 5.0)])
    n_seconds = n_segments(n_samples)
    assert (means(np.ones(len(starts)), starts, 5.0, n_seconds) == 1).all()


def test_five_windows_over_nine_seconds_vote_on_the_second_they_share():
    starts = np.arange(5.0)
    margins = np.full(5, 0.4)
    for votes in range(6):
        crying = np.arange(5) < votes
        scores = vote(crying, margins, starts, 5.0, 9)
        assert scores[4] == pytest.approx((votes + 0.4) / 6)
        assert (scores[4] >= 0.5) == (votes >= 3)
    # The first second is in one window alone.
    assert vote(np.arange(5) == 0, margins, starts, 5.0, 9)[0] == pytest.approx(1.4 / 2)


def test_margins_order_equal_votes_and_never_outweigh_one():
    starts = np.arange(3.0)
    low = vote(np.array([1, 0, 0]), np.full(3, 1.0), starts, 5.0, 5)[2]
    high = vote(np.array([1, 1, 0]), np.zeros(3), starts, 5.0, 5)[2]
    same = vote(np.array([1, 0, 0]), np.full(3, 0.5), starts, 5.0, 5)[2]
    assert same < low <= high


def wave_of(kind: str) -> np.ndarray:
    t = np.arange(5 * RATE_HZ) / RATE_HZ
    noise = RNG(3).standard_normal(len(t))
    return {
        "noise": 0.1 * noise,
        "tones": 0.3 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 3000 * t),
        "silence": 0 * t,
    }[kind].astype(np.float32)


@pytest.mark.parametrize("kind", ["noise", "tones", "silence"])
def test_averages_are_the_means_of_librosas_frames(kind):
    from librosa import feature

    wave = wave_of(kind)
    given = {"y": wave, "sr": RATE_HZ}
    frames = [
        feature.zero_crossing_rate(wave),
        feature.rms(y=wave),
        feature.mfcc(**given, n_mfcc=13),
        feature.spectral_centroid(**given),
        feature.spectral_rolloff(**given, roll_percent=0.9),
        feature.spectral_bandwidth(**given),
    ]
    expected = np.concatenate(frames).mean(axis=1)
    assert len(NAMES) == 18
    np.testing.assert_allclose(averages(wave), expected, rtol=2e-3, atol=2e-3)


def classes_of(n_classes: int, seed: int = 0) -> Data:
    """Clouds that overlap a little, [240, 18]."""
    rng = RNG(seed)
    labels = np.arange(240) % n_classes
    centres = RNG(99).standard_normal((n_classes, 18))
    return Data(5 + 3 * (centres[labels] + rng.standard_normal((240, 18))), labels)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_the_svcs_arrays_decide_as_scikit_learn(n_classes):
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    train, new = classes_of(n_classes), classes_of(n_classes, seed=1)
    scaler = StandardScaler().fit(train.inputs)
    svc = SVC(C=1.0, gamma=0.05, class_weight="balanced", break_ties=n_classes > 2)
    svc.fit(scaler.transform(train.inputs), train.labels)
    arrays = SvcArrays.of(scaler, svc)
    rows = scaler.transform(new.inputs)
    found = arrays.decisions(new.inputs)
    assert np.array_equal(found.argmax(axis=1), svc.predict(rows))
    if n_classes > 2:  # of two, scikit-learn gives the duel's margin alone
        np.testing.assert_allclose(found, svc.decision_function(rows), atol=1e-9)
    shares = arrays.shares(new.inputs)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert np.array_equal(shares.argmax(axis=1), found.argmax(axis=1))


def test_the_grid_takes_the_best_on_the_validation_part():
    train, val = classes_of(3), classes_of(3, seed=1)
    fitted = fit_svc(train, val, [1.0], [50.0, 0.05])
    accuracies = [row["val_accuracy"] for row in fitted.history]
    assert fitted.metrics["val_accuracy"] == max(accuracies) > min(accuracies)
    assert 0.8 < fitted.metrics["train_accuracy"] <= 1
    arrays = SvcArrays(**{k.removeprefix("svc."): v.numpy() for k, v in fitted.weights.items()})
    called = arrays.decisions(val.inputs).argmax(axis=1)
    assert mean_recall(val.labels, called) == fitted.metrics["val_accuracy"]
    with pytest.raises(ConfigError, match="at least one"):
        fit_svc(train, val, [], [0.1])


def test_mean_recall_counts_every_class_the_same():
    labels, called = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert mean_recall(labels, called) == pytest.approx((2 / 3 + 1) / 2)


def test_networks_have_the_shapes_that_are_told():
    cnn = CnnNetwork(16, 4)
    assert Mfcc()(torch.zeros(2, RATE_HZ)).shape == (2, 98, 40)
    assert cnn(torch.zeros(2, 98, 40)).shape == (2, 4)
    expected = (20 * 8 + 1) * 16 + (10 * 4 * 16 + 1) * 16 + (49 * 20 * 16 + 1) * 4
    assert n_parameters(cnn) == expected
    assert n_parameters(DenseNetwork(18, 64, 4)) == 19 * 64 + 65 * 4


def test_the_apps_network_has_the_numbers_of_the_study():
    """Each layer halves a picture of 4 s, padded as TensorFlow does: 398 x 40 to 50 x 5."""
    app = AppNetwork(2)
    pictures = Mfcc()(torch.zeros(3, 4 * RATE_HZ))
    assert pictures.shape == (3, 398, 40)
    assert app(pictures).shape == (3, 2)
    convolutions = [(80 * before + 1) * after for before, after in ((1, 8), (8, 16), (16, 4))]
    assert n_parameters(app) == sum(convolutions) + (50 * 5 * 4 + 1) * 2 == 18_030
    # None of it is of the front end, which is no weight.
    assert not Mfcc().state_dict()


def test_the_apps_network_pads_as_tensorflow_does():
    """By one filter's weight at a time: where the first output of each layer looks."""
    app = AppNetwork(2).eval()
    first, *_ = app.layers
    with torch.no_grad():
        for parameter in app.parameters():
            parameter.zero_()
        # One weight 4 rows down and 3 to the right is at the picture's corner under SAME.
        first.weight[0, 0, 4, 3] = 1
        for layer in app.layers[1:]:
            layer.weight[0, 0, 4, 3] = 1
        app.out.weight[1, 0] = 1
        picture = torch.zeros(1, 398, 40)
        picture[0, 0, 0] = 2
        assert app(picture).tolist() == [[0, 2]]
        # And its last one: 398 rows are padded by 4 and 4, 199 by 4 and 5, 100 by 4 and 4.
        app.out.weight.zero_()
        app.out.weight[1, 50 * 5 - 1] = 1
        picture = torch.zeros(1, 398, 40)
        picture[0, 8 * 49, 8 * 4] = 3
        assert app(picture).tolist() == [[0, 3]]


def test_mfcc_pictures_follow_their_definition():
    """A slow one of a single frame, by the formulas."""
    import librosa

    wave = RNG(0).standard_normal(RATE_HZ).astype(np.float32)
    frame = wave[160 * 5 : 160 * 5 + 480] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480))
    magnitude = np.abs(np.fft.rfft(frame, 512))
    filters = librosa.filters.mel(
        sr=RATE_HZ, n_fft=512, n_mels=40, fmin=20, fmax=4000, htk=True, norm=None
    )
    energies = np.log(np.maximum(filters @ magnitude, 1e-12))
    expected = [
        np.sqrt(2 / 40)
        * sum(e * np.cos(np.pi * k / 40 * (b + 0.5)) for b, e in enumerate(energies))
        for k in range(40)
    ]
    found = Mfcc()(torch.from_numpy(wave)[None])[0, 5]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def fit(train: Data, val: Data, **changed) -> tuple:
    schedule = {"lr": 0.01, "batch_size": 32, "epochs": 12, "patience_epochs": 3} | changed
    torch.manual_seed(1)
    network = DenseNetwork(18, 16, 3)
    return fit_network(network, train, val, NetworkSchedule(**schedule), seed=1)


def test_a_network_keeps_the_epoch_of_the_lowest_loss_and_stops_after_it():
    train, val = classes_of(3), classes_of(3, seed=1)
    fitted = fit(train, val, lr=0.05, epochs=60)
    losses = [row["val_loss"] for row in fitted.history]
    best = int(np.argmin(losses))
    assert fitted.metrics["best_epoch"] == best
    assert len(losses) == best + 4 < 60
    network = DenseNetwork(18, 16, 3)
    network.load_state_dict({k.removeprefix("network."): v for k, v in fitted.weights.items()})
    called = network(torch.from_numpy(val.inputs).float()).argmax(dim=1).numpy()
    assert mean_recall(val.labels, called) == fitted.metrics["val_accuracy"] > 0.8
    called = network(torch.from_numpy(train.inputs).float()).argmax(dim=1).numpy()
    assert mean_recall(train.labels, called) == fitted.metrics["train_accuracy"]


def test_equal_seeds_give_equal_weights():
    train, val = classes_of(3), classes_of(3, seed=1)
    first, again = fit(train, val), fit(train, val)
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)


def test_a_network_that_diverges_is_told():
    train, val = classes_of(3), classes_of(3, seed=1)
    with pytest.raises(ConfigError, match="not finite.*lower lr"):
        fit(train, Data(np.full_like(val.inputs, np.nan), val.labels))
