"""Drawn devices: the same whatever else is drawn, and what the table says of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import microphones
from crywatch.audio.channels import apply, channel


def test_a_device_is_the_same_however_many_are_drawn():
    twelve = microphones.devices(12, 18)
    assert microphones.devices(3, 18) == twelve[:3] and microphones.devices(1, 19) != twelve[:1]
    assert len({device.gain_db for device in twelve}) == 12
    assert 0 < sum(device.cut_dbfs < 0 for device in twelve) < 12


def test_alone_a_device_has_one_property():
    made = microphones.alone()
    plain = {"gain_db": 0.0, "cut_dbfs": 0.0, "snr_db": 90.0, "edge_hz": 8000.0}
    for device in made:
        changed = [key for key, value in plain.items() if getattr(device, key) != value]
        changed += ["response_db"] if any(device.response_db.values()) else []
        assert [key.partition("_")[0] for key in changed] in (
            [device.name.partition(" ")[0]],
            ["snr"],
        )
        channel(device.name, {device.name: device.steps()})
    assert len({device.name for device in made}) == len(made) == 11


def test_a_device_changes_level_and_cuts_and_leaves_the_time_axis():
    wave = (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
    for device in microphones.devices(12, 18):
        through = channel(device.name, {device.name: device.steps()})
        heard = apply(through, wave, "clip")
        assert heard.shape == wave.shape and np.isfinite(heard).all()
        assert np.abs(heard).max() <= 10 ** (device.cut_dbfs / 20) + 2**-15
        assert np.array_equal(heard, apply(through, wave, "clip"))


def test_the_last_lines_are_the_spread_over_devices_alone():
    def run(name: str, auc: float | None) -> microphones.Run:
        return microphones.Run(name, "", 4, auc, 0.5, None, 0, 0, None, None)

    runs = [run(microphones.AS_IS, 0.1), run("device 1", 0.9), run("device 2", 0.7)]
    *shown, least, middle, most = microphones.with_spread(iter(runs))
    assert shown == runs
    assert [one.device for one in (least, middle, most)] == ["least", "middle", "most"]
    assert (least.auc, most.auc) == (0.7, 0.9) and middle.auc == pytest.approx(0.8)
    assert middle.called is None and "-" in microphones._line(middle)


def test_shares_are_of_the_clips_that_there_are():
    labels, scores = np.array([True, True, False, False]), np.array([0.9, 0.2, 0.6, 0.1])
    assert microphones._found(labels, scores, 0.5) == (0.75, 0.5, 0.5)
    assert microphones._found(np.ones(2, bool), np.array([0.9, 0.2]), 0.5) == (None, 0.5, None)
