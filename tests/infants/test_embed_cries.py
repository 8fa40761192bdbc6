"""Stage ``embed_cries``: a vector a recording, other sounds in turn, and changes of later ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.segments import RATE_HZ
from crywatch.core import models
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, CrywatchError, ModelError
from crywatch.data.tables import conform, write_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.infants import embed_cries
from crywatch.infants.embed_cries import (
    EmbedCriesConfig,
    EmbeddedCries,
    ShiftedConfig,
    embedding_info,
    pick_others,
    recording_vector,
    run,
    to_shift,
)
from crywatch.infants.shifts import Shift, ShiftsConfig, apply
from crywatch.speaker import ecapa
from crywatch.speaker.batches import AveragingConfig
from crywatch.speaker.cries.store import CryRow, CryStore, write_cries
from crywatch.speaker.logmel import LogMelStatistics, to_model
from tests.helpers import speaker_cases
from tests.helpers.embedded_cases import recordings_table
from tests.helpers.split_cases import cry_like, row

SHIFTS = ShiftsConfig(pitch=[1.2], formants=[], duration=[], breath_db=[], noise_db=[20.0], back=[])
LENGTHS_S = (0.4, 0.05, 0.6)  # the second is too short to be changed


def config(crops=0, workers=1, others=4, **shifted) -> EmbedCriesConfig:
    given = {"parts": ["val", "test"], "least_sessions": 3, "later_share": 0.5, "most": 2}
    return EmbedCriesConfig(
        network="ge2e",
        averaging=AveragingConfig(crops, 0.5),
        others_per_part=others,
        other_s=0.5,
        changed=["planted"],
        shifted=ShiftedConfig(**given | shifted),
        shifts=SHIFTS,
        workers=workers,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A store of cries, a table of clips with sounds that are no cries, and a network."""
    root = tmp_path_factory.mktemp("embed")
    frame = recordings_table({"a": 8, "b": 2}, {"a": "test"}, categories={7: "planted pitch +20 %"})
    long = cry_like(1, 3.0)

    def rows():
        for number, clip in frame.iterrows():
            for place, length_s in enumerate(LENGTHS_S if number else (0.05,)):
                start = 300 * (3 * number + place)
                wave = long[start : start + round(length_s * RATE_HZ)]
                yield CryRow(clip, place, place + length_s, "annotation", -3.0, wave / 0.5)

    write_cries(root / "cries", rows())
    clips = []
    for number, category in enumerate(["dog", "dog", "silence"]):
        wave = np.zeros(RATE_HZ) if category == "silence" else 0.1 * cry_like(number + 5, 1.0)
        wave = wave.astype(np.float32)
        clips.append(row(root, f"esc50/{number}", wave, category=category))
    table = pd.DataFrame(clips).assign(
        cluster_id=None, canonical=True, group_id="g", split=["train", "val", "train"]
    )
    write_table(conform(table, SPLIT_CLIPS), root / "clips.parquet", SPLIT_CLIPS)
    models.save(root / "ge2e", ecapa.to_model(speaker_cases.lively(), "ecapa ge2e"))
    return root


def embed(folders, out, given=None):
    return run(
        folders / "cries", folders / "clips.parquet", folders / "ge2e", given or config(), 1, out
    )


@pytest.mark.parametrize("crops", [0, 2])
def test_a_recording_is_the_vector_of_its_cries(folders, tmp_path, crops):
    given = config(crops)
    summary = embed(folders, tmp_path / "out", given)
    assert (summary.recordings, summary.infants, summary.others) == (10, 2, 3)
    store, cries = EmbeddedCries(tmp_path / "out"), CryStore(folders / "cries")
    network = ecapa.from_model(models.load(folders / "ge2e")).embed
    assert store.recordings["clip_id"].tolist() == cries.recordings
    for clip_id, vector in zip(cries.recordings, store.vectors, strict=True):
        own = recording_vector(cries.waves(clip_id), clip_id, network, given.averaging)
        np.testing.assert_array_equal(vector, own)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert store.recordings["cries"].tolist() == [1] + 9 * [3]
    assert store.recordings["cry_s"][1] == pytest.approx(sum(LENGTHS_S))
    assert store.info == embedding_info(folders / "ge2e", given.averaging)


def test_changes_are_made_to_the_later_normal_recordings_of_tested_infants(folders, tmp_path):
    assert embed(folders, tmp_path / "out").shifted_infants == 1
    store, cries = EmbeddedCries(tmp_path / "out"), CryStore(folders / "cries")
    frame = store.shifted
    assert frame["clip_id"].tolist() == 2 * ["recordings/a_003"] + 2 * ["recordings/a_006"]
    assert frame["shift"].tolist() == 2 * ["pitch +20 %", "noise 20 dB"]
    assert frame["control"].tolist() == 2 * [False, True]
    network = ecapa.from_model(models.load(folders / "ge2e")).embed
    first, _, third = cries.waves("recordings/a_006")
    changed = [apply(Shift("pitch", 1.2), cry, RATE_HZ, 1) for cry in (first, third)]
    own = recording_vector(changed, "recordings/a_006", network, AveragingConfig(0))
    np.testing.assert_array_equal(store.shifted_vectors[2], own)
    (infant,) = store.infants(["test"], ["planted"])
    assert [shifted.rows.tolist() for shifted in infant.shifted] == [[3, 6], [3, 6]]


def test_a_recording_of_too_short_cries_is_not_changed(folders, tmp_path):
    embed(folders, tmp_path / "out", config(later_share=1.0, most=20))
    changed = set(EmbeddedCries(tmp_path / "out").shifted["clip_id"])
    assert changed == {f"recordings/a_{number:03d}" for number in range(1, 7)}


def test_processes_and_repetition_change_nothing(folders, tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        embed(folders, tmp_path / name / "out", config(crops=2, workers=workers))
    digests = {files_sha256([tmp_path / name / "out"]) for name in ("one", "two")}
    assert len(digests) == 1


def test_a_process_that_dies_is_said(folders, tmp_path, monkeypatch):
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    embed_some, alive = embed_cries._embed_some, iter([True])  # the first is made here

    def dies(worker, tasks):
        if next(alive, False):
            return embed_some(worker, tasks)
        raise TerminatedWorkerError

    monkeypatch.setattr(embed_cries, "_embed_some", dies)
    with pytest.raises(CrywatchError, match="embed_cries.workers=1"):
        embed(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_network_or_averaging_has_another_digest(folders, tmp_path):
    plain = embedding_info(folders / "ge2e", AveragingConfig(0, 5.0)).digest
    assert plain == embedding_info(folders / "ge2e", AveragingConfig(0, 3.0)).digest
    assert plain != embedding_info(folders / "ge2e", AveragingConfig(2, 3.0)).digest
    other = speaker_cases.lively(ecapa.EcapaShape(8, 24, 12, 8))
    models.save(tmp_path / "other", ecapa.to_model(other, "other"))
    assert plain != embedding_info(tmp_path / "other", AveragingConfig(0)).digest
    with pytest.raises(ModelError, match="no model here"):
        embed_cries.run(
            folders / "cries", folders / "clips.parquet", tmp_path / "none", config(), 1, tmp_path
        )


def test_which_recordings_are_changed():
    frame = recordings_table(
        {"a": 20, "b": 4, "c": 20, "d": 20},
        {"a": "val", "b": "test", "c": "train", "d": "test"},
        categories={number: "planted x" for number in range(54, 64)},
    )
    frame.loc[frame["infant_id"] == "d", "recorded_at"] += pd.Timedelta(days=100)
    # Half of ten normal recordings, and of twenty; b has two sessions, c is trained on.
    found = to_shift(frame.sample(frac=1, random_state=1), config(most=4))
    assert found == [
        *(f"recordings/a_{number:03d}" for number in (10, 13, 16, 19)),
        *(f"recordings/d_{number:03d}" for number in (5, 6, 8, 9)),
    ]
    assert to_shift(frame, config(most=0)) == []
    frame["session_id"] = None
    assert to_shift(frame, config()) == []
    with pytest.raises(ConfigError, match="parts \\['tset'\\]"):
        config(parts=["tset"])


def test_other_sounds_are_taken_in_turn():
    names = [("dog", 10), ("cat", 10), ("rain", 1)]
    clips = pd.DataFrame(
        [
            {"clip_id": f"{part}/{category}{number}", "corpus": "x", "label": "other",
             "split": part, "category": category, "path": "p"}
            for part in ("test", "train")
            for category, count in names
            for number in range(count)
        ]
        + [{"clip_id": "c", "corpus": "x", "label": "cry", "split": "val", "category": "dog",
            "path": "p"}]
    )  # fmt: skip
    found = pick_others(clips, 7)
    assert found["split"].value_counts().to_dict() == {"train": 7, "test": 7}
    counts = found[found["split"] == "test"]["category"].value_counts()
    assert counts.to_dict() == {"dog": 3, "cat": 3, "rain": 1}
    again = pick_others(clips.sample(frac=1, random_state=1).reset_index(drop=True), 7)
    assert set(again["clip_id"]) == set(found["clip_id"])
    assert len(pick_others(clips, 100)) == 42


def test_nothing_to_embed_is_said(folders, tmp_path):
    write_cries(tmp_path / "cries", [])
    with pytest.raises(ConfigError, match="no cry of a known infant"):
        run(tmp_path / "cries", folders / "clips.parquet", folders / "ge2e", config(), 1, tmp_path)


def test_statistics_embed_as_a_network_does(folders, tmp_path):
    store = CryStore(folders / "cries")
    statistics = LogMelStatistics.of([np.concatenate(store.waves(c)) for c in store.recordings])
    models.save(tmp_path / "logmel", to_model(statistics, "logmel", ["toy"]))
    run(
        folders / "cries", folders / "clips.parquet", tmp_path / "logmel", config(), 1,
        tmp_path / "out",
    )  # fmt: skip
    made = EmbeddedCries(tmp_path / "out")
    assert (made.info.network, made.info.dim) == ("logmel", 128)
    own = statistics.embed([np.concatenate(store.waves(store.recordings[3]))])[0]
    np.testing.assert_allclose(made.vectors[3], own, atol=1e-6)
