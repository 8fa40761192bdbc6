"""Stage ``train_speaker``: it learns, keeps its best epoch, and a killed training goes on."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from crywatch.audio.segments import RATE_HZ
from crywatch.core import params
from crywatch.core.atomic import read_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, ModelError, TableError
from crywatch.core.models import load
from crywatch.speaker import train_speaker
from crywatch.speaker.batches import AveragingConfig, BatchConfig, CropConfig
from crywatch.speaker.cries.store import CryRow, CryStore, training_sounds, write_cries
from crywatch.speaker.ecapa import RANDOM, EcapaConfig, EcapaShape, build, from_model
from crywatch.speaker.logmel import LogMelStatistics, open_network
from crywatch.speaker.losses import (
    AamConfig,
    Ge2eConfig,
    LogMelConfig,
    NtXentConfig,
    SpeakerLoss,
    SpeakerLossConfig,
)
from crywatch.speaker.train_speaker import TrainSpeakerConfig, run, weights_sha256
from crywatch.speaker.train_speaker.augmentation import CropAugmentationConfig, CropNoiseConfig
from crywatch.speaker.train_speaker.training import EcapaSchedule, _optimiser
from crywatch.speaker.train_speaker.validation import (
    ACROSS,
    LOSS,
    WITHIN,
    InfantValidation,
    InfantVerdict,
    ValidationConfig,
    choose_recordings,
)
from tests.helpers.code_cases import edit
from tests.helpers.speaker_cases import generated_cries, lively, save_published

ROOT = Path(__file__).parents[2]
TINY = EcapaConfig(RANDOM, 16, [])
VALIDATION = ValidationConfig(40, 4, AveragingConfig(2, 0.5))
LOSSES = {
    "ge2e": SpeakerLossConfig(ge2e_softmax=Ge2eConfig()),
    "ntxent": SpeakerLossConfig(ntxent=NtXentConfig()),
    "views": SpeakerLossConfig(views=True, ntxent=NtXentConfig()),
    "sum": SpeakerLossConfig(ge2e_contrast=Ge2eConfig(), aam=AamConfig(weight=0.1)),
}


def config(**changes) -> TrainSpeakerConfig:
    given = {
        "losses": LOSSES,
        "changed": ["planted"],
        "batches": BatchConfig(4, 2),
        "crops": CropConfig(0.4, 0.5, "join"),
        "augmentation": CropAugmentationConfig(noise=CropNoiseConfig(0.5, 5.0, 30.0)),
        "validation": VALIDATION,
        "epochs": 4,
        "epoch_steps": 2,
        "patience_epochs": 4,
        "lr": 3e-3,
        "loss_lr": 1e-3,
        "warmup": 0.1,
        "weight_decay": 1e-4,
        "threads": 1,
    }
    return TrainSpeakerConfig(**(given | changes))


def cry_rows(part: str, infants: int, sessions: int = 2, corpus: str = "donateacry") -> list:
    """Two recordings a session, six hours and more between sessions."""
    seed = sum(part.encode())
    cries = generated_cries(infants, sessions, 2, 0.8, seed)
    rows = []
    for ref, wave in zip(cries.refs, cries.waves, strict=True):
        infant, session, take = (f"{part}-{name}" for name in ref.clip_id.split("/"))
        hours = 12 * int(ref.session_id[1:])
        clip = {
            "clip_id": f"{infant}/{session}/{take}",
            "corpus": corpus,
            "infant_id": infant,
            "session_id": f"{infant}/{session}",
            "recorded_at": pd.Timestamp("2025-01-01", tz="UTC") + pd.Timedelta(hours=hours),
            "recording_id": f"{infant}/{session}/{take}",
            "cluster_id": None,
            "split": part,
            "category": "hunger",
        }
        rows.append(CryRow(clip, 0.0, len(wave) / RATE_HZ, "annotation", -3.0, wave))
    return rows


def write(folder: Path, *rows: CryRow) -> Path:
    write_cries(folder, rows)
    return folder


@pytest.fixture(scope="module")
def cries(tmp_path_factory) -> Path:
    train, val, test = cry_rows("train", 12), cry_rows("val", 6, corpus="recordings"), []
    test = cry_rows("test", 1, corpus="cryceleb")
    return write(tmp_path_factory.mktemp("data") / "cries", *train, *val, *test)


def train(cries: Path, folder: Path, name="ge2e", cfg=None, seed=5, network=TINY, on_epoch=None):
    folders = folder / "out", folder / "work"
    return run(name, cfg or config(), network, cries, 1.0, seed, *folders, on_epoch)


@pytest.fixture(scope="module")
def undisturbed(cries, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    epochs = []
    return folder / "out", train(cries, folder, on_epoch=epochs.append), epochs


def test_every_epoch_is_validated_and_written(undisturbed):
    out, summary, epochs = undisturbed
    assert [epoch.epoch for epoch in summary.history] == [0, 1, 2, 3]
    assert epochs == summary.history
    with open(out / "history.csv", newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert list(lines[0]) == [
        *("epoch", "train_loss", "train_ge2e_softmax"),
        *("val_eer", "val_eer_within", "val_loss", "lr"),
    ]
    for line, epoch in zip(lines, epochs, strict=True):
        values = {name: float(value) for name, value in line.items()}
        assert values == pytest.approx(epoch.as_row())
        assert np.isfinite(list(values.values())).all()
        assert values["train_loss"] == pytest.approx(values["train_ge2e_softmax"])


def test_the_best_epoch_is_in_the_folder_and_tells_what_it_heard(cries, undisturbed):
    out, summary, _ = undisturbed
    files = {path.name for path in out.iterdir()}
    assert files == {"model.json", "model.safetensors", "metrics.json", "history.csv"}
    ranked = sorted(summary.history, key=lambda e: (e.val.eer, e.val.loss))
    assert summary.best == ranked[0]
    ecapa = from_model(load(out))
    verdict = InfantValidation(CryStore(cries), VALIDATION, 5).judge(ecapa)
    assert (verdict.eer, verdict.eer_within) == (summary.best.val.eer, summary.best.val.eer_within)
    assert verdict.loss == pytest.approx(summary.best.val.loss, rel=1e-5)
    found = load(out).description
    assert found["corpora"] == ["donateacry", "recordings"]  # not those of part test
    assert found["loss"]["name"] == "ge2e" and found["loss"]["ge2e_softmax"]["w"] == 10.0
    assert found["weights_sha256"] == weights_sha256(ecapa.network.state_dict())
    begun = weights_sha256(build(TINY, 5).network.state_dict())
    assert found["start"] == {"source": RANDOM, "weights_sha256": begun}
    metrics = read_json(out / "metrics.json")
    assert metrics["measure"] == ACROSS and metrics["loss"] == "ge2e"
    assert metrics["val_eer"] == summary.best.val.eer
    assert (metrics["train_infants"], metrics["train_cries"]) == (12, 48)
    assert (metrics["val_infants"], metrics["val_recordings"]) == (6, 24)


def test_a_tiny_network_learns_to_tell_unheard_infants_apart(tmp_path):
    folder = write(tmp_path / "cries", *cry_rows("train", 32), *cry_rows("val", 10))
    longer = config(
        batches=BatchConfig(8, 3),
        crops=CropConfig(0.6, 0.6, "join"),
        augmentation=CropAugmentationConfig(),
        epochs=5,
        epoch_steps=24,
        lr=6e-3,
    )
    summary = train(folder, tmp_path, cfg=longer)
    assert summary.measure == ACROSS
    assert summary.best.val.eer < 0.8 * summary.start.eer, summary
    assert summary.best.val.loss < summary.start.loss
    assert summary.history[-1].train_loss < 0.7 * summary.history[0].train_loss


def test_equal_inputs_give_equal_bytes_and_nothing_else_is_written(
    cries, undisturbed, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    torch.manual_seed(99)
    threads = torch.get_num_threads()
    train(cries, tmp_path)
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])
    assert not list((tmp_path / "here").iterdir())
    assert not (tmp_path / "work").exists()
    assert torch.get_num_threads() == threads


class Killed(BaseException):
    """Stands for the end of the process."""


def killer(epoch_number: int, seen: list):
    def on_epoch(epoch):
        seen.append(epoch.epoch)
        if epoch.epoch == epoch_number:
            raise Killed

    return on_epoch


@pytest.mark.parametrize("name", ["ge2e", "sum"])
def test_a_training_killed_twice_goes_on_to_the_same_bytes(cries, undisturbed, tmp_path, name):
    if name == "ge2e":
        expected = undisturbed[0]
    else:  # with weights of the loss, and moments of the optimiser for them
        train(cries, tmp_path / "whole", name)
        expected = tmp_path / "whole" / "out"
    seen: list[int] = []
    for at in (0, 2):
        with pytest.raises(Killed):
            train(cries, tmp_path, name, on_epoch=killer(at, seen))
        assert not (tmp_path / "out").exists()
        torch.manual_seed(at)  # of another process
    train(cries, tmp_path, name, on_epoch=killer(-1, seen))
    assert seen == [0, 1, 2, 3]  # no epoch is done again
    assert files_sha256([tmp_path / "out"]) == files_sha256([expected])


def test_a_kill_inside_an_epoch_does_that_epoch_again(cries, undisturbed, tmp_path, monkeypatch):
    calls = []
    batch = train_speaker.Material.batch

    def dying(self, step):
        calls.append(step)
        if len(calls) == 4:
            raise Killed
        return batch(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(train_speaker.Material, "batch", dying)
        with pytest.raises(Killed):
            train(cries, tmp_path)
        train(cries, tmp_path)
    assert calls == [0, 1, 2, 3, 2, 3, 4, 5, 6, 7]
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


def test_a_kill_after_the_last_epoch_loses_nothing(cries, undisturbed, tmp_path, monkeypatch):
    def failing(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train_speaker, "_write", failing)
        with pytest.raises(Killed):
            train(cries, tmp_path)
    seen: list[int] = []
    train(cries, tmp_path, on_epoch=killer(-1, seen))
    assert seen == []
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


@pytest.mark.parametrize("change", ["seed", "config", "code", "cries", "weights"])
def test_what_something_else_began_is_not_gone_on_from(cries, tmp_path, monkeypatch, change):
    given = {"seed": 5, "cfg": config()}
    first, start = cries, TINY
    if change == "seed":
        given["seed"] = 6
    elif change == "config":
        given["cfg"] = config(lr=1e-3)
    elif change == "cries":
        first = write(tmp_path / "cries", *cry_rows("train", 11), *cry_rows("val", 6))
    elif change == "weights":  # another folder of the same name
        folder = save_published(tmp_path / "published", lively(EcapaShape(16, 40)))
        start = EcapaConfig(str(folder), 0, [])
    with monkeypatch.context() as patch:
        if change == "code":
            edit(patch, "data/tables/infants.py")
        with pytest.raises(Killed):
            train(first, tmp_path, on_epoch=killer(1, []), network=start, **given)
    if change == "weights":
        save_published(folder, lively(EcapaShape(16, 48)))
    seen: list[int] = []
    train(cries, tmp_path, on_epoch=killer(-1, seen), network=start)
    assert seen[0] == 0


def test_only_what_is_not_frozen_moves(cries, tmp_path):
    frozen = ["blocks.0", "blocks.1"]
    folder = save_published(tmp_path / "published", lively())
    before = build(EcapaConfig(str(folder), 0, frozen), 0).network.state_dict()
    train(
        cries,
        tmp_path,
        cfg=config(epochs=1),
        network=EcapaConfig(str(folder), 0, frozen),
    )
    after = from_model(load(tmp_path / "out")).network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    kept = {name for name in before if name.startswith(("blocks.0.", "blocks.1."))}
    assert kept and not moved & kept
    # All others do, the statistics of their batch norms too.
    assert moved == set(before) - kept


def test_what_decays_and_what_learns_at_which_rate():
    ecapa, loss = build(TINY, 0), SpeakerLoss(LOSSES["sum"], 3, 192)
    schedule = EcapaSchedule(4, 2, 4, lr=1e-5, loss_lr=1e-2, warmup=0.1, weight_decay=0.5)
    optimiser = _optimiser(ecapa, loss, schedule)
    groups = {id(p): group for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in ecapa.network.named_parameters():
        group = groups[id(parameter)]
        assert group["lr"] == 1e-5
        assert group["weight_decay"] == (0.5 if name.endswith("conv.weight") else 0), name
    for parameter in loss.parameters():  # GE2E's w and b, AAM's classes
        assert groups[id(parameter)]["lr"] == 1e-2
        assert groups[id(parameter)]["weight_decay"] == 0
    assert len(groups) == len(list(ecapa.parameters())) + len(list(loss.parameters()))


def test_the_rate_rises_then_falls_to_nothing():
    shares = [EcapaSchedule(10, 10, 1, 1.0, 1.0, 0.1, 0.0).share(step) for step in range(101)]
    assert shares[0] == pytest.approx(1 / 11)
    assert int(np.argmax(shares)) == 10 and max(shares) == 1
    assert (np.diff(shares[:11]) > 0).all() and (np.diff(shares[10:]) < 0).all()
    assert shares[100] == 0 and shares[99] > 0
    assert EcapaSchedule(1, 1, 1, 1.0, 1.0, 0.0, 0.0).share(0) == 1


def test_the_schedule_is_scaled_and_patience_stops(cries, tmp_path, monkeypatch):
    schedule = config(epochs=125, patience_epochs=50, epoch_steps=10).schedule(0.12)
    assert (schedule.epochs, schedule.patience_epochs, schedule.epoch_steps) == (15, 6, 10)
    verdicts = iter([InfantVerdict(0.5, 0.5, loss) for loss in (9.0, 3.0, 2.0, 2.5, 2.5, 2.5, 1.0)])
    monkeypatch.setattr(InfantValidation, "judge", lambda self, ecapa: next(verdicts))
    summary = train(cries, tmp_path, cfg=config(epochs=9, epoch_steps=1, patience_epochs=3))
    assert summary.start.loss == 9.0
    assert [epoch.val.loss for epoch in summary.history] == [3.0, 2.0, 2.5, 2.5, 2.5]
    assert summary.best.epoch == 1  # at equal error rates the loss decides


def test_a_training_that_diverges_says_so(cries, tmp_path):
    with pytest.raises(ConfigError, match=r"not finite at step \d+: lower train_speaker\.lr"):
        train(cries, tmp_path, cfg=config(lr=1e30, warmup=0.0))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs, epoch_steps, patience_epochs and threads are 0, 2, 4, 1"),
        ({"threads": 0}, "set all above 0"),
        ({"lr": 0.0}, "lr is 0"),
        ({"warmup": 1.0}, "warmup 1: set the rates above 0"),
        ({"batches": BatchConfig(13, 2)}, "batches.infants is 13, but only 12 infants"),
        ({"crops": CropConfig(2.0, 1.0)}, "crops: min_s is 2"),
        (
            {"augmentation": CropAugmentationConfig(noise=CropNoiseConfig(2.0, 0, 1))},
            "noise.share is 2",
        ),
        (
            {"validation": replace(VALIDATION, averaging=AveragingConfig(1, 0.5))},
            "validation.averaging.crops is 1: set it to 2",
        ),
        ({"losses": {"ge2e": SpeakerLossConfig()}}, "no term is set"),
    ],
)
def test_bad_values_are_named(cries, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(cries, tmp_path, cfg=config(**changes))


def test_a_loss_a_network_or_infants_that_are_not_there_are_named(cries, tmp_path):
    with pytest.raises(ConfigError, match=r"train_speaker\.losses has no 'triplet'"):
        train(cries, tmp_path, "triplet")
    with pytest.raises(ModelError, match="ecapa.source"):
        train(cries, tmp_path, network=EcapaConfig("/no/such folder", 16, []))
    layers = [f"blocks.{n}" for n in range(4)] + ["mfa", "asp", "asp_bn", "fc"]
    folder = save_published(tmp_path / "published", lively())
    with pytest.raises(ConfigError, match=r"ecapa\.frozen: no layer is left to learn"):
        train(cries, tmp_path, network=EcapaConfig(str(folder), 0, layers))
    alone = write(tmp_path / "alone", *cry_rows("train", 6), *cry_rows("val", 1))
    with pytest.raises(TableError, match="1 infants in part val, two or more are needed"):
        train(alone, tmp_path)


# Validation


def test_changed_recordings_are_neither_learnt_from_nor_validated_on(tmp_path, undisturbed):
    """A network with them in the store is that without them."""
    rows = [*cry_rows("train", 12), *cry_rows("val", 6, corpus="recordings")]
    planted = [*cry_rows("train", 13)[-4:], *cry_rows("val", 7)[-4:]]
    marked = [
        replace(row, clip=row.clip | {"category": "planted breath", "corpus": "own"})
        for row in planted
    ]
    summary = train(write(tmp_path / "cries", *rows, *marked), tmp_path)
    assert summary.corpora == ("donateacry", "recordings")
    assert summary.history == undisturbed[1].history


def test_error_rates_are_of_trials_of_their_kind(cries):
    """An embedding of the session alone: no error within sessions, half of all across them."""
    store = CryStore(cries)
    found = InfantValidation(store, VALIDATION, 5)
    sessions = {
        c: f"{i}{s}" for c, i, s in store.table[["clip_id", "infant_id", "session_id"]].values
    }
    names = sorted(set(sessions.values()))
    vectors = np.eye(len(names))[[names.index(sessions[c]) for c in found.recordings]]

    class OfSession:
        def embed(self, waves):
            per_clip = len(waves) // len(vectors)
            return np.repeat(vectors, per_clip, axis=0).astype(np.float32)

    verdict = found.judge(OfSession())
    assert verdict.eer_within == 0 and verdict.eer == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("sessions", "takes", "measure"), [(2, 2, ACROSS), (1, 2, WITHIN), (1, 1, LOSS)]
)
def test_what_decides_is_what_the_part_has(tmp_path, sessions, takes, measure):
    rows = [row for row in cry_rows("val", 4, sessions) if int(row.clip["clip_id"][-1]) < takes]
    store = CryStore(write(tmp_path, *rows))
    found = InfantValidation(store, VALIDATION, 0)
    assert found.measure == measure
    verdict = found.judge(build(TINY, 0))
    assert (verdict.eer is None) == (measure == LOSS)
    assert (verdict.eer_within is None) == (takes == 1)
    assert np.isfinite(verdict.loss)
    if measure == WITHIN:
        assert verdict.eer == verdict.eer_within


def test_error_rate_first_then_loss():
    assert InfantVerdict(0.1, None, 9.0).better_than(InfantVerdict(0.2, 0.0, 1.0))
    assert InfantVerdict(0.1, 0.9, 1.0).better_than(InfantVerdict(0.1, 0.0, 2.0))
    assert not InfantVerdict(0.1, None, 1.0).better_than(InfantVerdict(0.1, None, 1.0))
    assert InfantVerdict(None, None, 1.0).better_than(InfantVerdict(None, None, 2.0))


def test_validation_does_not_depend_on_order_or_on_what_was_drawn_before(cries):
    found, ecapa = InfantValidation(CryStore(cries), VALIDATION, 3), build(TINY, 0)
    ecapa.train()
    first = found.judge(ecapa)
    np.random.seed(1)
    torch.manual_seed(1)
    assert found.judge(ecapa) == first
    assert ecapa.training


def test_recordings_are_chosen_in_pairs_of_sessions():
    rows = [
        {"clip_id": f"{i}/{s}/{t}", "infant_id": f"i{i}", "session_id": f"{i}/{s}"}
        for i in range(3)
        for s in range(1 if i == 0 else 5)
        for t in range(4)
    ]
    table = pd.DataFrame(rows)
    found = choose_recordings(table, ValidationConfig(10, 6, AveragingConfig(2)), 1)
    assert list(found["clip_id"]) == [c for c in table["clip_id"] if c in set(found["clip_id"])]
    counts = found.groupby("infant_id").size()
    # Infants of two sessions are first, and no more of each than the limit; then the limit of all.
    assert set(counts.index) == {"i1", "i2"} and sorted(counts) == [4, 6]
    assert set(found.groupby("session_id").size()) == {2}
    assert len(choose_recordings(table, ValidationConfig(999, 999, AveragingConfig(2)), 1)) == len(
        table
    )


# conf/


@pytest.mark.parametrize("name", ["views", "ntxent"])
def test_views_ask_nothing_of_who_cries(cries, tmp_path, name):
    """Other names of infants and sessions: another network, but where views are compared."""
    rows = cry_rows("train", 12)
    renamed = [
        replace(row, clip=row.clip | {"infant_id": f"x{n % 4}", "session_id": f"x{n % 8}"})
        for n, row in enumerate(rows)
    ]
    val = cry_rows("val", 6, corpus="recordings")
    write(tmp_path / "renamed", *renamed, *val, *cry_rows("test", 1, corpus="cryceleb"))
    cfg = config(epochs=1)
    as_they_are = train(cries, tmp_path / "a", name, cfg)
    otherwise = train(tmp_path / "renamed", tmp_path / "b", name, cfg)
    assert as_they_are.n_cries == otherwise.n_cries and as_they_are.n_infants == 12
    digests = [load(tmp_path / at / "out").setting("weights_sha256") for at in "ab"]
    assert (digests[0] == digests[1]) == (name == "views")


@pytest.mark.parametrize("profile", ["demo", "local", "full"])
def test_every_profile_gives_typed_sections(tmp_path, profile):
    composed = params.compose([f"profile={profile}", "data.mirror=corpora"], ROOT / "conf")
    OmegaConf.save(composed, tmp_path / "params.yaml", resolve=True)
    section = params.section("train_speaker", TrainSpeakerConfig, tmp_path / "params.yaml")
    network = params.section("ecapa", EcapaConfig, tmp_path / "params.yaml")
    assert {"ge2e", "ntxent"} <= set(section.losses)
    assert ({"aam", "ge2e_aam", "ntxent_views"} <= set(section.losses)) == (profile != "demo")
    for loss in section.losses.values():
        assert loss.logmel or SpeakerLoss(loss, 3, 192).weights
    assert section.schedule(composed.schedule.scale).epochs >= 10
    assert (network.source == RANDOM) == (profile != "full")
    assert section.lr == (1e-5 if profile == "full" else 1e-3)


def test_the_group_of_losses_has_all_of_them():
    names = sorted(path.stem for path in (ROOT / "conf" / "speaker_loss").glob("*.yaml"))
    assert names == ["aam", "ge2e", "ge2e_aam", "ge2e_contrast", "logmel", "ntxent", "ntxent_views"]
    for name in names:
        added = f"+speaker_loss@train_speaker.losses.more={name}"
        composed = params.compose([added], ROOT / "conf")
        loss = params.typed(composed.train_speaker.losses.more, SpeakerLossConfig, name)
        assert (loss.logmel is not None) == (name == "logmel")
        assert loss.logmel or SpeakerLoss(loss, 3, 192).weights


@pytest.mark.parametrize(("speaker", "network"), [("ecapa", "ge2e"), ("logmel", "logmel")])
def test_an_option_says_whose_vectors_the_infants_half_has(speaker, network):
    composed = params.compose([f"speaker={speaker}"], ROOT / "conf")
    assert composed.embed_cries.network == network
    assert network in composed.train_speaker.losses
    assert composed.infant.hearing.network == f"data/train_speaker/{network}"


def test_statistics_train_nothing_and_are_judged_as_networks_are(cries, tmp_path):
    losses = LOSSES | {"logmel": SpeakerLossConfig(logmel=LogMelConfig(recordings=20))}
    summary = train(cries, tmp_path, "logmel", config(losses=losses))
    assert (summary.n_infants, summary.n_val_infants, summary.history) == (12, 6, [])
    assert summary.measure == ACROSS and 0 <= summary.best.val.eer <= 1
    model = load(tmp_path / "out")
    assert model.description["kind"] == "logmel"
    assert model.description["corpora"] == ["donateacry", "recordings"]  # of test nothing is heard
    store = CryStore(cries)
    expected = LogMelStatistics.of(training_sounds(store, 20, ["planted"]))
    np.testing.assert_array_equal(open_network(tmp_path / "out").mean, expected.mean)
    losses["both"] = SpeakerLossConfig(ntxent=NtXentConfig(), logmel=LogMelConfig())
    with pytest.raises(ConfigError, match=r"losses\.both: logmel stands alone"):
        train(cries, tmp_path, "both", config(losses=losses))
