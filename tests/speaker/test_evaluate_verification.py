"""Stage evaluate_verification: error rates that are known, what is in no trial, who is best."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from crywatch.core import params
from crywatch.core.atomic import read_json
from crywatch.core.errors import ConfigError, ModelError, TableError
from crywatch.core.models import save
from crywatch.corpora.shared import cryceleb_tables
from crywatch.data.tables import read_table
from crywatch.data.tables.infants import TRIALS
from crywatch.metrics.rows import flat
from crywatch.speaker import evaluate_verification as module
from crywatch.speaker import logmel
from crywatch.speaker.batches import AveragingConfig
from crywatch.speaker.cries.store import CryStore, training_sounds
from crywatch.speaker.ecapa import to_model
from crywatch.speaker.evaluate_verification import (
    SUBMISSION,
    EvaluateVerificationConfig,
    MapConfig,
    Network,
    VerificationInputs,
    figures,
    run,
)
from crywatch.speaker.evaluate_verification.networks import open_networks
from crywatch.speaker.evaluate_verification.protocols import at_most, recordings
from crywatch.speaker.logmel import LogMelStatistics
from crywatch.speaker.trials import TrialConfig
from crywatch.speaker.verification import DetCurve, VerificationConfig, equal_error
from tests.helpers import verification_cases as cases
from tests.helpers.generated import generated
from tests.helpers.speaker_cases import generated_cries, lively, save_published

ROOT = Path(__file__).parents[2]
CONFIG = EvaluateVerificationConfig(
    off_the_shelf="",
    changed=["planted"],
    phone=[],
    recordings=40,
    cohort=8,
    averaging=AveragingConfig(0),
    trials=TrialConfig(),
    measures=VerificationConfig(resamples=20),
    map=MapConfig(3, 5),
    threads=1,
)
FILES = {"metrics.json", "tables.json", "det.csv", "embedding_map.csv", "trials.parquet"}
FILES |= {"det.svg", "embedding_map.svg"}


def measured(monkeypatch, folder, networks, rows, config=CONFIG, **store):
    """The summary of made networks on made recordings."""
    monkeypatch.setattr(module, "open_networks", lambda *_: networks)
    inputs = VerificationInputs(cases.write_store(folder / "cries", rows, **store), {}, None)
    return run(inputs, config, 0, folder / "out")


def found(summary, line, protocol, part="test", scope="pooled"):
    """The metrics of one row."""
    (row,) = (
        row
        for row in summary.rows
        if (row.line, row.protocol, row.part, row.scope) == (line, protocol, part, scope)
    )
    return row.metrics


def eer(summary, *key, **more):
    return found(summary, *key, **more).eer


def trials(folder) -> pd.DataFrame:
    return read_table(folder / "out" / "trials.parquet", TRIALS)


# What is measured


def test_a_network_that_hears_the_room_shines_within_a_session_alone(monkeypatch, tmp_path):
    networks = [
        Network("room", cases.room_vectors),
        Network("infant", cases.infant_vectors),
        Network("nothing", cases.noise_vectors),
    ]
    summary = measured(monkeypatch, tmp_path, networks, cases.clips())
    assert eer(summary, "room", "within") == 0
    assert eer(summary, "room", "across") > 0.3
    for protocol in ("within", "across"):
        assert eer(summary, "infant", protocol) == 0
        assert eer(summary, "nothing", protocol) > 0.3
    assert summary.choice.network == "infant" and summary.choice.protocol == "across"


def test_one_of_two_recordings_goes_through_a_phone(monkeypatch, tmp_path):
    def embed(waves):  # what is quiet sounds like the phone
        vectors = cases.infant_vectors(waves)
        quiet = np.array([np.abs(wave).max() < 0.1 for wave in waves])
        return np.where(quiet[:, None], cases.code("phone"), vectors)

    config = replace(CONFIG, phone=[{"gain": {"db": -20}}])
    networks = [Network("deaf", embed)]
    summary = measured(monkeypatch, tmp_path, networks, cases.clips(), config)
    assert eer(summary, "deaf", "across") == 0 and eer(summary, "deaf", "phone") > 0.3
    across, heard = found(summary, "deaf", "across"), found(summary, "deaf", "phone")
    assert (heard.n_same, heard.n_other) == (across.n_same, across.n_other)
    table = trials(tmp_path)
    pairs = table[(table["protocol"] == "phone") & (table["part"] == "test")]
    assert pairs["second"].str.endswith("@phone").all()
    assert not pairs["first"].str.contains("@").any()
    assert set(summary.det["protocol"]) == {"within", "across"}
    plain = measured(monkeypatch, tmp_path / "plain", networks, cases.clips())
    assert [row for row in summary.rows if row.protocol != "phone"] == plain.rows


def test_an_equal_error_rate_worked_by_hand(monkeypatch, tmp_path):
    """Infants a and b sound the same: 1 of 6 pairs of two infants scores like a pair of one.

    Operating points are (0, 1) and (1/6, 0); the line between them meets the diagonal at 1/7.
    """

    infants = [*cases.VAL, *cases.TEST]
    codes = np.stack([cases.code(infant) for infant in infants])

    def embed(waves):  # one of the axes, so that cosines are 0 or 1
        heads = cases.infant_vectors(waves)
        numbers = np.abs(heads[:, None] - codes).sum(axis=2).argmin(axis=1)
        numbers[numbers == infants.index("home/b")] = infants.index("home/a")
        return np.eye(len(infants))[numbers]

    summary = measured(monkeypatch, tmp_path, [Network("deaf", embed)], cases.clips())
    for protocol in ("within", "across"):
        assert eer(summary, "deaf", protocol) == pytest.approx(1 / 7)
        assert eer(summary, "deaf", protocol, scope="home") == pytest.approx(1 / 7)
        assert eer(summary, "deaf", protocol, part="val") == 0
    # 4 infants, 3 pairs of sessions, 2 x 2 recordings; 6 pairs of infants, 6 x 6 recordings.
    metrics = found(summary, "deaf", "across")
    assert (metrics.n_same, metrics.n_other, metrics.n_infants) == (48, 216, 4)
    assert metrics.eer_low <= metrics.eer <= metrics.eer_high
    assert found(summary, "deaf", "across", part="val").eer_low is None  # not reported


def test_one_sound_and_abnormal_recordings_are_in_no_pair(monkeypatch, tmp_path):
    rows = cases.clips()
    a, b = (row for row in rows if row["session_id"] == "home/a/0")
    a["recording_id"] = b["recording_id"] = "one upload"
    c, d = (next(r for r in rows if r["session_id"] == f"home/b/{n}") for n in (0, 1))
    c["cluster_id"] = d["cluster_id"] = "one cluster"
    rows += [cases.clip("home/c", 5, take, "test", category="planted breath") for take in (0, 1)]
    measured(monkeypatch, tmp_path, [Network("infant", cases.infant_vectors)], rows)
    table = trials(tmp_path)
    pairs = {frozenset(pair) for pair in zip(table["first"], table["second"], strict=True)}
    assert frozenset((a["clip_id"], b["clip_id"])) not in pairs
    assert frozenset((c["clip_id"], d["clip_id"])) not in pairs
    assert frozenset((a["clip_id"], c["clip_id"])) in pairs
    assert not {name for pair in pairs for name in pair if name.startswith("home/c/5")}
    names = set(table["first"]) | set(table["second"])
    assert not {name for name in names if name.split("/")[1] in ("t0", "t1", "t2")}
    # Without that parameter the planted ones are heard.
    every = replace(CONFIG, changed=[])
    measured(monkeypatch, tmp_path, [Network("infant", cases.infant_vectors)], rows, config=every)
    assert trials(tmp_path)["first"].str.startswith("home/c/5").any()


def test_pairs_of_two_infants_are_of_one_corpus(monkeypatch, tmp_path):
    rows = [
        {**row, "corpus": "other" if row["infant_id"] in ("home/c", "home/d") else "home"}
        for row in cases.clips()
    ]
    networks = [Network("infant", cases.infant_vectors)]
    summary = measured(monkeypatch, tmp_path, networks, rows)
    assert found(summary, "infant", "across").n_other == 2 * 36
    for scope in ("home", "other"):
        metrics = found(summary, "infant", "across", scope=scope)
        assert (metrics.n_same, metrics.n_other, metrics.n_infants) == (24, 36, 2)
        assert metrics.eer == 0 and metrics.eer_low is None  # two infants have no interval


def test_the_best_is_chosen_on_the_validation_part(monkeypatch, tmp_path):
    def good_on(*infants):
        codes = np.stack([cases.code(infant) for infant in infants])

        def embed(waves):
            heads, noise = cases.infant_vectors(waves), cases.noise_vectors(waves)[:, : cases.CODE]
            known = (np.abs(heads[:, None] - codes).max(axis=2) < 1e-3).any(axis=1)
            return np.where(known[:, None], heads, noise)

        return embed

    networks = [
        Network("test", good_on(*cases.TEST)),
        Network("val", good_on(*cases.VAL)),
        Network("val too", good_on(*cases.VAL)),
    ]
    summary = measured(monkeypatch, tmp_path, networks, cases.clips())
    assert eer(summary, "test", "across") == 0 < eer(summary, "val", "across")
    assert summary.choice == module.Choice("val", "across", 0.0)
    assert read_json(tmp_path / "out" / "tables.json")["choice"]["network"] == "val"
    headline = summary.headline()
    assert headline["verification/eer_across"] == pytest.approx(
        eer(summary, "val", "across"), abs=1e-6
    )
    assert headline["verification/test/eer_across"] == 0


def test_without_two_sessions_in_val_what_is_within_decides(monkeypatch, tmp_path):
    networks = [Network("room", cases.room_vectors), Network("nothing", cases.noise_vectors)]
    rows = [r for r in cases.clips() if r["split"] != "val" or r["session_id"].endswith("/0")]
    summary = measured(monkeypatch, tmp_path, networks[::-1], rows)
    assert (summary.choice.network, summary.choice.protocol) == ("room", "within")
    rows = [r for r in rows if r["split"] != "val"]
    summary = measured(monkeypatch, tmp_path, networks[::-1], rows)
    assert summary.choice == module.Choice("nothing", "", None)


# Averaging


def test_the_best_network_stands_there_without_averaging_too(monkeypatch, tmp_path):
    config = replace(CONFIG, averaging=AveragingConfig(4, cases.LENGTH / 16_000))
    calls = []

    def embed(waves):
        calls.extend(map(len, waves))
        return np.stack([np.abs(np.fft.rfft(wave[: cases.LENGTH], 512)) for wave in waves])

    networks = [
        Network("spectrum", embed),
        Network("nothing", cases.noise_vectors),
        Network("whole", cases.noise_vectors, crops=False),
    ]
    summary = measured(monkeypatch, tmp_path, networks, cases.clips(), config=config, cries=2)
    lines = {row.line: (row.network, row.crops) for row in summary.rows}
    assert lines == {
        "spectrum": ("spectrum", 4),
        "nothing": ("nothing", 4),
        "whole": ("whole", 0),
        "spectrum-unaveraged": ("spectrum", 0),
    }
    recorded = 3 * 6 + 4 * 6
    assert calls == [cases.LENGTH] * 4 * recorded + [2 * cases.LENGTH] * recorded
    assert "test.across.spectrum-unaveraged.eer" in summary.as_metrics()
    assert set(summary.det["network"]) == {"spectrum", "nothing", "whole"}


def test_off_the_shelf_is_measured_as_the_challenge_did_whoever_is_best(monkeypatch, tmp_path):
    config = replace(CONFIG, averaging=AveragingConfig(4, cases.LENGTH / 16_000))
    networks = [
        Network("infant", cases.infant_vectors),
        Network("off-the-shelf", cases.noise_vectors),
    ]
    summary = measured(monkeypatch, tmp_path, networks, cases.clips(), config=config)
    assert summary.choice.network == "infant"
    joined = {row.line for row in summary.rows if not row.crops}
    assert joined == {"infant-unaveraged", "off-the-shelf-unaveraged"}


def test_what_is_never_averaged_has_one_line(monkeypatch, tmp_path):
    config = replace(CONFIG, averaging=AveragingConfig(4, 0.2))
    networks = [Network("infant", cases.infant_vectors, crops=False)]
    summary = measured(monkeypatch, tmp_path, networks, cases.clips(), config=config)
    assert {row.line for row in summary.rows} == {"infant"}


# Recordings


def test_an_infant_has_no_more_recordings_than_that(tmp_path):
    rows = cases.clips(sessions=6, takes=3)
    rows += [cases.clip("home/alone", 0, 0, "test", session_id=None)]
    known = recordings(CryStore(cases.write_store(tmp_path, rows)), [])
    kept = at_most(known, 8, 0)
    assert set(kept["infant_id"]) == set(known["infant_id"])
    sizes = kept.groupby("infant_id").size()
    assert set(sizes.drop("home/alone")) == {8} and sizes["home/alone"] == 1
    # Four sessions of two: pairs within and across.
    of_session = kept[kept["session_id"].notna()].groupby(["infant_id", "session_id"]).size()
    assert set(of_session) == {2}
    assert kept["clip_id"].tolist() == [c for c in known["clip_id"] if c in set(kept["clip_id"])]
    assert at_most(known, 100, 0).equals(known)
    assert at_most(known, 8, 0).equals(kept) and not at_most(known, 8, 1).equals(kept)


def test_a_part_without_cries_is_told(monkeypatch, tmp_path):
    rows = [row for row in cases.clips() if row["split"] != "test"]
    with pytest.raises(TableError, match="part test holds no cry of a known infant"):
        measured(monkeypatch, tmp_path, [Network("infant", cases.infant_vectors)], rows)
    assert not (tmp_path / "out").exists()


# Networks


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Generated cries, two small networks, and CryCeleb in its publisher's layout."""
    folder = tmp_path_factory.mktemp("world")
    heard = generated_cries(infants=9, sessions=3, of_session=2, seconds=0.5, seed=0)
    parts = ["train"] * 3 + ["val"] * 3 + ["test"] * 3
    rows, waves = [], {}
    for ref, wave in zip(heard.refs, heard.waves, strict=True):
        number, session, take = map(int, ref.clip_id.split("/"))
        rows.append(cases.clip(f"home/{number}", session, take, parts[number]))
        waves[rows[-1]["clip_id"]] = wave
    cases.write_store(folder / "cries", rows, sound=lambda row: waves[row["clip_id"]])
    for number, name in enumerate(("ge2e", "ntxent")):
        network = lively()
        network.network.fc.conv.bias.data += number
        save(folder / "models" / name, to_model(network, name))
    generated("cryceleb", folder / "cryceleb", seed=0, infants=12)
    return folder


def inputs_of(world, **changes) -> VerificationInputs:
    models = {name: world / "models" / name for name in ("ge2e", "ntxent")}
    return replace(VerificationInputs(world / "cries", models, world / "cryceleb"), **changes)


AVERAGED = replace(CONFIG, averaging=AveragingConfig(2, 0.4))


@pytest.fixture(scope="module")
def evaluated(world):
    return run(inputs_of(world), AVERAGED, 0, world / "out"), world / "out"


def test_fine_tuned_networks_and_baselines_share_the_table(evaluated):
    summary, out = evaluated
    networks = list(dict.fromkeys(row.network for row in summary.rows))
    assert networks == ["ge2e", "ntxent", "random", "logmel", "mfcc"]
    crops = {row.network: row.crops for row in summary.rows if row.line == row.network}
    assert crops == {"ge2e": 2, "ntxent": 2, "random": 2, "logmel": 0, "mfcc": 0}
    for network in networks:
        for part in ("val", "test"):
            for protocol in ("within", "across"):
                assert 0 <= eer(summary, network, protocol, part) <= 1
    assert {path.name for path in out.iterdir()} == FILES | {SUBMISSION}
    told = read_json(out / "tables.json")
    assert told["rows"] == [flat(row) for row in summary.rows]
    assert told["parts"] == {p: {"recordings": 18, "infants": 3} for p in ("val", "test")}
    metrics = read_json(out / "metrics.json")
    assert metrics == summary.as_metrics()
    assert metrics["test.across.ge2e.eer"] == pytest.approx(
        eer(summary, "ge2e", "across"), abs=1e-6
    )
    assert set(metrics) >= {f"val.cryceleb.{network}.eer" for network in networks}


def test_rates_are_those_of_the_stored_scores(evaluated):
    """Against a threshold after the other."""
    summary, out = evaluated
    table = read_table(out / "trials.parquet", TRIALS)
    for (network, protocol, part), rows in table.groupby(["network", "protocol", "part"]):
        scope = "cryceleb" if protocol == "cryceleb" else "pooled"
        metrics = found(summary, network, protocol, part, scope)
        same, scores = rows["same"].to_numpy(), rows["score"].to_numpy()
        assert (metrics.n_same, metrics.n_other) == (same.sum(), (~same).sum())
        worse = [max((scores[~same] >= t).mean(), (scores[same] < t).mean()) for t in scores]
        better = [min((scores[~same] >= t).mean(), (scores[same] < t).mean()) for t in scores]
        assert max(better) - 1e-9 <= metrics.eer <= min(worse) + 1e-9


def test_baselines_are_standardised_on_training_cries_alone(world, tmp_path):
    store = CryStore(world / "cries")
    *_, logmel, _ = open_networks({}, "", store, 100, 0)
    clips = {
        part: store.table.loc[store.table["split"] == part, "clip_id"] for part in ("train", "test")
    }
    vectors = logmel.embed([np.concatenate(store.waves(c)) for c in clips["train"]])
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(vectors.std(axis=0).max(), 1, atol=1e-6)
    others = logmel.embed([np.concatenate(store.waves(c)) for c in clips["test"]])
    assert np.abs(others.mean(axis=0)).max() > 1e-3
    rows = [row for row in cases.clips() if row["split"] != "train"]
    with pytest.raises(TableError, match="part train has 0 recordings of cries"):
        open_networks({}, "", CryStore(cases.write_store(tmp_path / "cries", rows)), 8, 0)


def test_statistics_with_a_folder_of_their_own_stand_there_once(world, tmp_path):
    store = CryStore(world / "cries")
    statistics = LogMelStatistics.of(training_sounds(store, 100))
    save(tmp_path / "logmel", logmel.to_model(statistics, "logmel", ["home"]))
    networks = open_networks({"logmel": tmp_path / "logmel"}, "", store, 100, 0)
    assert [network.name for network in networks] == ["logmel", "random", "mfcc"]
    assert not networks[0].crops


def test_a_network_that_is_not_there_is_told(world, tmp_path):
    missing = {"ge2e": world / "models" / "ge2e", "gone": world / "models" / "gone"}
    with pytest.raises(ModelError, match=r"models/gone: no model here .*run `dvc repro`"):
        run(inputs_of(world, finetuned=missing), CONFIG, 0, tmp_path / "out")
    wanted = replace(CONFIG, off_the_shelf=str(tmp_path / "no such folder"))
    with pytest.raises(ModelError, match=r"evaluate_verification\.off_the_shelf is .*no such fol"):
        run(inputs_of(world), wanted, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_published_weights_have_a_line_where_they_are_at_hand(world, tmp_path):
    folder = save_published(tmp_path / "published", lively())
    networks = open_networks(
        {"ge2e": world / "models" / "ge2e"}, str(folder), CryStore(world / "cries"), 4, 0
    )
    assert [one.name for one in networks] == ["ge2e", "off-the-shelf", "random", "logmel", "mfcc"]
    store = CryStore(world / "cries")
    waves = [store.wave(row) for row in range(3)]
    # The same weights by either way.
    np.testing.assert_allclose(networks[0].embed(waves), networks[1].embed(waves), atol=1e-6)
    assert np.abs(networks[2].embed(waves)[:, :9] - networks[0].embed(waves)[:, :9]).max() > 0.01


# CryCeleb


def test_crycelebs_trials_and_the_submission(evaluated, world):
    summary, out = evaluated
    metrics = found(summary, "ge2e", "cryceleb", "val", "cryceleb")
    pairs = cryceleb_tables.read_pairs(world / "cryceleb", "dev")
    assert metrics.n_same == sum(pair.same for pair in pairs) == 3
    assert metrics.n_other == 6 and metrics.eer_low is not None
    assert not [r for r in summary.rows if r.protocol == "cryceleb" and r.part == "test"]
    sample, mine = (
        list(csv.reader((folder / name).open()))
        for folder, name in (
            (world / "cryceleb", cryceleb_tables.SAMPLE_SUBMISSION),
            (out, SUBMISSION),
        )
    )
    assert mine[0] == sample[0] == ["id", "score"]
    assert [row[0] for row in mine] == [row[0] for row in sample] and len(mine) > 2
    scores = {row[0]: float(row[1]) for row in mine[1:]}
    assert len(set(scores.values())) > 1 and all(-1 <= s <= 1 for s in scores.values())


def test_pairs_within_corpus_cryceleb_are_not_the_metrics_of_all_corpora(monkeypatch, tmp_path):
    """The corpus and its protocol have one name: as a scope the corpus is one of several."""
    more = [
        cases.clip(f"cryceleb/{baby}", session, take, "test")
        for baby in "xy"
        for session in range(2)
        for take in range(2)
    ]
    networks = [Network("whole", cases.noise_vectors, crops=False)]
    summary = measured(monkeypatch, tmp_path, networks, [*cases.clips(), *more])
    inside, over_all = (
        eer(summary, "whole", "across", scope=scope) for scope in ("cryceleb", "pooled")
    )
    assert inside != over_all
    assert summary.as_metrics()["test.across.whole.eer"] == pytest.approx(over_all, abs=1e-6)
    stored = trials(tmp_path)
    assert not stored.duplicated(["network", "protocol", "part", "first", "second"]).any()


def test_the_submission_is_of_the_chosen_network(monkeypatch, world, tmp_path):
    """Its scores are the cosines of all cries of a baby at birth and of another at discharge."""
    seen = []

    def embed(waves):
        seen.extend(waves)
        return np.stack([np.abs(np.fft.rfft(wave, 1024)) for wave in waves])

    def levels(waves):
        return np.stack([[1.0, wave.std()] for wave in waves])

    networks = [Network("spectrum", embed), Network("level", levels)]
    monkeypatch.setattr(module, "open_networks", lambda *_: networks)
    summary = run(inputs_of(world), CONFIG, 0, tmp_path / "out")
    best = {one.name: one.embed for one in networks}[summary.choice.network]
    store = module.protocols.cryceleb_protocol(
        world / "cryceleb", recordings(CryStore(world / "cries"), [])
    )
    vectors = {
        one.name: best([np.concatenate([store.load(path) for path in one.paths])])[0]
        for one in store.utterances
    }
    pair = cryceleb_tables.read_pairs(world / "cryceleb", "test")[1]
    a, b = vectors[f"{pair.baby_b}/B"], vectors[f"{pair.baby_d}/D"]
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    written = pd.read_csv(tmp_path / "out" / SUBMISSION).set_index("id")["score"]
    assert written[pair.trial_id] == pytest.approx(expected)
    assert max(np.abs(wave).max() for wave in seen) == pytest.approx(1, abs=1e-3)


def test_labels_that_have_been_published_are_measured(monkeypatch, world, tmp_path):
    folder = tmp_path / "cryceleb"
    folder.mkdir()
    for path in (world / "cryceleb").iterdir():
        (folder / path.name).symlink_to(path)
    pairs = cryceleb_tables.read_pairs(folder, "test")
    rows = [(p.baby_b, p.baby_d, p.trial_id, int(p.baby_b == p.baby_d)) for p in pairs]
    (folder / cryceleb_tables.PAIRS["test"]).unlink()
    frame = pd.DataFrame(rows, columns=["baby_id_B", "baby_id_D", "id", "label"])
    frame.to_csv(folder / cryceleb_tables.PAIRS["test"], index=False)
    monkeypatch.setattr(module, "open_networks", lambda *_: [Network("n", cases.noise_vectors)])
    summary = run(inputs_of(world, cryceleb=folder), CONFIG, 0, tmp_path / "out")
    metrics = found(summary, "n", "cryceleb", "test", "cryceleb")
    assert metrics.n_same + metrics.n_other == len(pairs)


def test_a_baby_of_the_trials_that_was_trained_on_stops_the_stage(world, tmp_path):
    baby = cryceleb_tables.read_pairs(world / "cryceleb", "dev")[0].baby_b
    rows = cases.clips() + [cases.clip(f"cryceleb/{baby}", 0, 0, "train")]
    inputs = inputs_of(world, cries=cases.write_store(tmp_path / "cries", rows))
    with pytest.raises(TableError, match=f"baby {baby} of the dev pairs is in part train"):
        run(inputs, CONFIG, 0, tmp_path / "out")


# Files and figures


def test_the_same_inputs_give_the_same_bytes(evaluated, world, tmp_path):
    _, out = evaluated
    run(inputs_of(world), AVERAGED, 0, tmp_path / "again")
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_curves_hold_the_equal_error_rate(evaluated):
    summary, out = evaluated
    points = pd.read_csv(out / "det.csv")
    assert list(points.columns) == ["model", "network", "protocol", "false_alarm", "miss"]
    assert set(points["protocol"]) == {"within", "across", "cryceleb"}
    for (network, protocol), rows in points.groupby(["network", "protocol"]):
        assert set(rows["model"]) == {f"{network}, {protocol}"}
        assert len(rows) <= figures.CURVE_POINTS + 4
        part, scope = ("val", protocol) if protocol == "cryceleb" else ("test", "pooled")
        x, y = rows["false_alarm"].to_numpy(), rows["miss"].to_numpy()
        rate = equal_error(DetCurve(x, y, -np.arange(len(x)))).rate
        assert rate == pytest.approx(eer(summary, network, protocol, part, scope), abs=1e-5)


def test_a_long_curve_keeps_its_shape_on_the_axes_of_a_det_plot():
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    same = np.arange(40_000) % 4 == 0
    scores = rng.standard_normal(40_000) + 1.5 * same
    points = figures.det_points([figures.ScoredTrials("n", "across", same, scores)])
    assert len(points) <= figures.CURVE_POINTS + 4
    inside = points[points["false_alarm"].between(0.005, 0.9) & points["miss"].between(0.005, 0.9)]
    for name in ("false_alarm", "miss"):
        assert np.abs(np.diff(norm.ppf(inside[name]))).max() < 0.15
    # Normal scores of one deviation: a straight line, 1.5 below the diagonal.
    total = norm.ppf(inside["false_alarm"]) + norm.ppf(inside["miss"])
    assert np.abs(total + 1.5).max() < 0.15


def test_the_picture_shows_the_infants_with_the_most_recordings(monkeypatch, tmp_path):
    rows = [r for r in cases.clips() if r["clip_id"] != "home/a/2/1"]
    config = replace(CONFIG, map=MapConfig(3, 4))
    networks = [Network("infant", cases.infant_vectors)]
    summary = measured(monkeypatch, tmp_path, networks, rows, config=config)
    shown = summary.embedding_map
    assert shown["infant_id"].unique().tolist() == ["home/b", "home/c", "home/d"]
    assert set(shown.groupby("infant_id").size()) == {4}
    assert np.isfinite(shown[["x", "y"]].to_numpy()).all()
    drawn = (tmp_path / "out" / "embedding_map.svg").read_text(encoding="utf-8")
    assert drawn.count("<svg") == 1 and "home/b" in drawn


def test_too_few_recordings_are_no_picture_and_no_error():
    known = pd.DataFrame(cases.clips(1, 1)[:2])
    shown = figures.embedding_map(known, {}, 3, 5, 0)
    assert list(shown.columns) == figures.MAP and shown.empty
    figures.map_figure(shown, "n")
    figures.det_figure(figures.det_points([]))


def test_dvc_draws_a_line_a_network_and_protocol(evaluated):
    from dvc_render.vega import VegaRenderer

    _, out = evaluated
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    drawn = (plot for plot in plots if isinstance(plot, dict))
    bodies = [body for plot in drawn for body in plot.values()]
    (plot,) = [b for b in bodies if "data/evaluate_verification/det.csv" in b["y"]]
    points = pd.read_csv(out / "det.csv").assign(rev="workspace").to_dict("records")
    (y,) = plot["y"].values()
    renderer = VegaRenderer(
        points, "det", x=plot["x"], y=y, template=plot["template"], template_dir=ROOT / ".dvc/plots"
    )
    content = renderer.get_filled_template()
    assert content["encoding"]["color"]["field"] == "model"
    assert content["data"]["values"] == points and "<DVC" not in str(content)


# Parameters


def test_the_section_is_read(tmp_path):
    found = params.section(
        "evaluate_verification", EvaluateVerificationConfig, ROOT / "params.yaml"
    )
    assert found.off_the_shelf == "" and found.trials.gap_s == 6 * 3600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cohort": 1}, r"evaluate_verification\.cohort is 1: set it to 2"),
        ({"recordings": 0}, r"evaluate_verification\.recordings is 0"),
        ({"map": MapConfig(12, 1)}, r"evaluate_verification\.map\.recordings is 1"),
        ({"threads": 0}, r"evaluate_verification\.threads is 0"),
    ],
)
def test_parameters_out_of_range_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **change)
