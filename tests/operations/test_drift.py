"""What training sounds were like, and when recent recordings are said to have moved away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.channels import apply, channel
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import write_flac
from crywatch.core import params
from crywatch.core.errors import ConfigError, ModelError, TableError
from crywatch.detection.detectors import load_detector
from crywatch.operations import drift
from crywatch.operations.drift.measures import EMBEDDING, SoundMeasures, measure
from crywatch.operations.drift.reference import one_of_each_group, place, read_reference, table
from crywatch.operations.drift.two_sample import check_tables
from tests.helpers.blazenet_cases import write_clips
from tests.helpers.dag import ROOT
from tests.helpers.robust_model_cases import write_robust
from tests.helpers.split_cases import cry_like, noise

CONFIG = drift.DriftConfig(
    reference_clips=40, excerpt_s=1.0, reach_s=2.0, min_recordings=10, alpha=0.05, permutations=99
)
SECONDS = 1.5


def a_sound(seed: int) -> np.ndarray:
    """[samples] at 16 kHz: a cry or noise, at one of many levels."""
    level = np.random.default_rng(seed).uniform(0.1, 0.8)
    return (cry_like(seed, SECONDS) if seed % 2 else noise(seed, SECONDS)) * level


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A model, a table of clips with a pair of each group, and the reference of both."""
    folder = tmp_path_factory.mktemp("drift")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rows = []
        for i in range(30):
            path = Path("clips", f"{i}.flac")
            write_flac(path, a_sound(i))
            label = "cry" if i % 2 else "other"
            rows.append(row(f"a/{i}", path, label, f"group {i // 2}"))
        rows.append(row("a/held", Path("clips", "1.flac"), "cry", "held") | {"split": "test"})
        rows.append(row("a/alice", Path("clips", "2.flac"), "unknown", "alice"))
        write_clips(Path("clips.parquet"), rows)
        write_robust(Path("model"))
        drift.build_reference(Path("clips.parquet"), Path("model"), CONFIG, 3, Path("reference"))
        yield folder


def row(clip_id: str, path: Path, label: str, group: str) -> dict:
    return {
        "clip_id": clip_id,
        "corpus": "a",
        "path": path.as_posix(),
        "label": label,
        "group_id": group,
        "split": "train",
    }


def recordings(folder: Path, count: int, change=lambda wave: wave, first: int = 1000) -> list[Path]:
    paths = [folder / f"{i}.flac" for i in range(count)]
    for i, path in enumerate(paths):
        write_flac(path, change(a_sound(first + i)))
    return paths


def compared(world: Path, files: list[Path], **changed) -> drift.DriftReport:
    config = replace(CONFIG, **changed)
    return drift.check_drift(world / "reference", files, world / "model", config, 1)


def test_the_reference_has_a_row_a_training_clip_and_no_names(world):
    known = read_reference(world / "reference")
    assert len(known.frame) == 30
    assert sorted(known.frame["group"]) == sorted([i for i in range(15)] * 2)
    assert len(known.frame[EMBEDDING].iloc[0]) == 224
    content = b"".join(path.read_bytes() for path in (world / "reference").iterdir())
    for word in (b"clips/", b"group 3", b"alice", str(world).encode()):
        assert word not in content


def test_equal_inputs_give_equal_bytes_and_fewer_clips_are_a_draw(world, tmp_path, monkeypatch):
    monkeypatch.chdir(world)
    inputs = Path("clips.parquet"), Path("model")
    drift.build_reference(*inputs, CONFIG, 3, tmp_path / "again")
    for path in (world / "reference").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    few = replace(CONFIG, reference_clips=7)
    drift.build_reference(*inputs, few, 3, tmp_path / "few")
    drift.build_reference(*inputs, few, 4, tmp_path / "other")
    levels = [set(read_reference(tmp_path / name).frame["level"]) for name in ("few", "other")]
    whole = set(read_reference(world / "reference").frame["level"])
    # The excerpt is drawn by the seed as well.
    assert len(levels[0]) == 7 and levels[0] <= whole and levels[0] != levels[1]


def test_measures_are_those_of_the_excerpt(world, tmp_path):
    wave = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    found = measure(wave, load_detector(world / "model"))
    assert found.level == pytest.approx(-9.03, abs=0.01)
    assert found.peak == pytest.approx(-6.02, abs=0.01)
    assert 50 * 2**found.bandwidth == pytest.approx(1000, abs=40)
    assert 0 <= found.score <= 1
    silent = measure(np.zeros(RATE_HZ, np.float32), load_detector(world / "model"))
    assert (silent.level, silent.peak, silent.bandwidth) == (-100, -100, 0)


def test_the_place_of_an_excerpt_is_inside_and_spread():
    places = [place(100, 1, str(i)) for i in range(300)]
    assert min(places) < 10 and max(places) > 90 and max(places) <= 100
    assert places[3] == place(100, 1, "3") != place(100, 2, "3")
    assert place(0, 1, "x") == place(-5, 1, "x") == 0


def test_recordings_of_the_same_kind_are_no_drift(world, tmp_path):
    found = compared(world, recordings(tmp_path, 24))
    assert found.drifted == ()
    assert [one.name for one in found.quantities] == [
        *("level", "peak", "bandwidth", "score"),
        EMBEDDING,
    ]
    assert (found.n_reference, found.n_recent, found.n_unreadable) == (15, 24, 0)
    assert "sound like the training data" in found.said


def test_a_quiet_microphone_is_said(world, tmp_path):
    found = compared(world, recordings(tmp_path, 24, lambda wave: wave * 0.1))
    assert {"level", "peak"} <= set(found.drifted)
    assert "bandwidth" not in found.drifted
    [level] = [one for one in found.quantities if one.name == "level"]
    assert level.effect == pytest.approx(20, abs=4)
    assert level.said in found.said and "median" in level.said and "dBFS" in level.said


@pytest.mark.parametrize(
    "steps",
    [
        [{"band": {"low_hz": 50, "high_hz": 2000}}],
        [{"codec": {"name": "gsm"}}],
    ],
    ids=["band", "codec"],
)
def test_a_narrow_band_and_a_codec_are_said(world, tmp_path, steps):
    heard_by = channel("c", {"c": steps})
    files = recordings(tmp_path, 24, lambda wave: apply(heard_by, wave, "x"))
    assert "bandwidth" in compared(world, files).drifted


def test_a_file_that_cannot_be_read_is_counted(world, tmp_path):
    files = recordings(tmp_path, 11)
    files[0].write_bytes(b"no sound")
    found = compared(world, [*files, tmp_path / "gone.wav"])
    assert (found.n_recent, found.n_unreadable) == (10, 2)
    assert found.quantities


def test_too_little_is_said_and_not_tested(world, tmp_path):
    found = compared(world, recordings(tmp_path, 4))
    assert found.quantities == () and found.drifted == ()
    assert "4 recent recordings" in found.said and "10 of each" in found.said


def test_the_reference_of_another_model_is_refused(world, tmp_path):
    other = write_robust(tmp_path / "model", corpora=["b"])
    with pytest.raises(ModelError, match="another model"):
        drift.check_drift(world / "reference", [], other, CONFIG, 1)
    with pytest.raises(TableError, match="no reference"):
        drift.check_drift(tmp_path, [], other, CONFIG, 1)


# The statistics


def drawn(n: int, rng: np.random.Generator, level: float = 0, inside: float = 0) -> pd.DataFrame:
    rows = [
        SoundMeasures(
            level=rng.normal(-25 + level, 8),
            peak=rng.normal(-5, 4),
            bandwidth=rng.normal(7, 0.5),
            score=rng.beta(0.5, 0.5),
            embedding=rng.normal(inside, 1, 40).astype(np.float32),
        )
        for _ in range(n)
    ]
    return table(rows, range(n))


def test_the_stated_rate_of_false_alarms_is_kept_without_the_limits():
    rng = np.random.default_rng(4)
    open_limits = replace(
        CONFIG, level_db=0, peak_db=0, bandwidth_octaves=0, score=0, embedding_auc=0.5
    )
    alarms = 0
    for _ in range(200):
        old, new = (drawn(n, rng).drop(columns=EMBEDDING) for n in (60, 30))
        alarms += bool(check_tables(old, new, open_limits, 1).drifted)
    # 200 draws at 5 %: more than 18 has a chance below 1 %.
    assert alarms <= 18


def test_embeddings_of_one_kind_are_no_drift_and_of_two_are():
    rng = np.random.default_rng(5)
    open_limit = replace(CONFIG, embedding_auc=0.5)
    same = [check_tables(drawn(40, rng), drawn(30, rng), open_limit, 1).drifted for _ in range(40)]
    assert sum(EMBEDDING in found for found in same) <= 3
    moved = check_tables(drawn(40, rng), drawn(30, rng, inside=0.8), CONFIG, 1)
    assert moved.drifted == (EMBEDDING,)
    assert moved.quantities[-1].effect > 0.9


def test_a_small_shift_in_many_is_no_drift():
    rng = np.random.default_rng(6)
    old, new = (drawn(4000, rng, level).drop(columns=EMBEDDING) for level in (0, 1.5))
    found = check_tables(old, new, CONFIG, 1)
    assert found.quantities[0].p < 1e-6 and found.drifted == ()


def test_one_row_of_each_group_is_compared():
    frame = pd.DataFrame({"group": [0, 0, 1, 1, 1, 2], "level": range(6)})
    one = one_of_each_group(frame, 1)
    assert list(one["group"]) == [0, 1, 2]
    assert {tuple(one_of_each_group(frame, seed)["level"]) for seed in range(20)} > {
        tuple(one["level"])
    }


def test_limits_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="permutations"):
        replace(CONFIG, alpha=0.001)
    with pytest.raises(ConfigError, match="min_recordings"):
        replace(CONFIG, min_recordings=1)
    with pytest.raises(ConfigError, match="embedding_auc"):
        replace(CONFIG, embedding_auc=0.3)


def test_the_configuration_is_whole():
    config = params.section("drift", drift.DriftConfig, ROOT / params.PARAMS_FILE)
    assert config.reference_clips > config.newest
