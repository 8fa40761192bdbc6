"""ECAPA-TDNN: SpeechBrain's numbers, weights from a folder or the hub, frozen layers, files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from crywatch.core import models
from crywatch.core.errors import AudioError, ConfigError, ModelError
from crywatch.speaker import ecapa as module
from crywatch.speaker.ecapa import (
    CHECKPOINT,
    MIN_SAMPLES,
    PUBLISHED,
    Ecapa,
    EcapaConfig,
    EcapaShape,
    build,
    from_model,
    to_model,
)
from tests.helpers.speaker_cases import SHAPE, lively, noise, save_published

pytestmark = pytest.mark.usefixtures("one_thread")
LOWER = ("blocks.0", "blocks.1", "blocks.2")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return save_published(tmp_path_factory.mktemp("models") / "ecapa", lively())


# Numbers


def test_the_embedding_is_that_of_speechbrains_own_classifier(published):
    """Front end, normalisation, network and weights at once, put together as the publisher does.

    (Its hyperparams.yaml itself cannot be read with today's ruamel.yaml.)
    """
    from crywatch.speaker import torchaudio_cpu

    torchaudio_cpu.prepare_speechbrain()
    from speechbrain.inference.classifiers import EncoderClassifier
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, Classifier
    from speechbrain.processing.features import InputNormalization

    network = ECAPA_TDNN(
        80,
        channels=[16, 16, 16, 16, 40],
        kernel_sizes=[5, 3, 3, 3, 1],
        dilations=[1, 2, 3, 4, 1],
        attention_channels=12,
        se_channels=8,
        lin_neurons=192,
    )
    network.load_state_dict(torch.load(published / CHECKPOINT, weights_only=True))
    modules = {
        "compute_features": Fbank(n_mels=80),
        "mean_var_norm": InputNormalization(norm_type="sentence", std_norm=False),
        "embedding_model": network,
        "classifier": Classifier(192, out_neurons=7),
    }
    theirs = EncoderClassifier(modules, {}, {"device": "cpu"}).eval()
    wave = noise(24_000)
    expected = theirs.encode_batch(torch.from_numpy(wave)[None])[0, 0].numpy()
    found = build(EcapaConfig(str(published), 0, []), 0).embed([wave])[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_rows_have_length_one_and_do_not_depend_on_each_other():
    ecapa = lively()
    waves = [noise(n, i) for i, n in enumerate((16_000, 800, 16_000, 24_321, MIN_SAMPLES))]
    rows = ecapa.embed(waves)
    assert rows.shape == (5, 192) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for wave, row in zip(waves, rows, strict=True):
        np.testing.assert_allclose(ecapa.embed([wave])[0], row, atol=1e-6)
    assert np.abs(rows[0] - rows[2]).max() > 1e-3
    assert ecapa.embed([]).shape == (0, 192)


def test_many_cries_are_embedded_in_parts(monkeypatch):
    ecapa, waves = lively(), [noise(1600, seed) for seed in range(5)]
    whole = ecapa.embed(waves)
    monkeypatch.setattr(module, "BATCH_SAMPLES", 3200)
    np.testing.assert_allclose(ecapa.embed(waves), whole, atol=1e-6)


def test_the_level_does_not_matter():
    ecapa, wave = lively(), noise(8000)
    np.testing.assert_allclose(ecapa.embed([wave])[0], ecapa.embed([0.2 * wave])[0], atol=1e-4)


@pytest.mark.parametrize("length", [5_000, 12_345, 15_999, 16_000])
@torch.no_grad()
def test_padding_hardly_moves_an_embedding(length):
    ecapa = lively()
    waves = torch.zeros(2, 16_000)
    waves[0] = torch.from_numpy(noise(16_000))
    waves[1, :length] = torch.from_numpy(noise(length, 1))
    found = ecapa(waves, torch.tensor([16_000, length]))
    torch.testing.assert_close(found[0], ecapa(waves[:1])[0], atol=1e-5, rtol=0)
    alone = ecapa(waves[1:, :length])[0]
    assert found[1] @ alone > 0.98
    if length < 15_000:
        # Without its length the silence counts.
        assert ecapa(waves)[1] @ alone < found[1] @ alone


def test_embedding_leaves_the_mode_and_the_statistics_alone():
    ecapa = lively().train()
    before = {k: v.clone() for k, v in ecapa.network.state_dict().items()}
    ecapa.embed([noise(1600)])
    assert ecapa.training and ecapa.network.training
    assert all(torch.equal(v, before[k]) for k, v in ecapa.network.state_dict().items())


def test_too_short_a_cry_is_told():
    with pytest.raises(AudioError, match="639 samples is too short.*640 .40 ms."):
        lively().embed([noise(MIN_SAMPLES - 1)])


# Weights


def test_random_weights_come_from_the_seed_alone():
    config = EcapaConfig("random", 8, [])
    torch.manual_seed(1)
    first = build(config, 3).network.state_dict()
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)  # the caller's own draws are not disturbed
    second, other = build(config, 3).network.state_dict(), build(config, 4).network.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)
    assert build(config, 3).shape == EcapaShape(8, 24)


def test_a_published_folder_tells_its_own_widths(published):
    ecapa = build(EcapaConfig(str(published), 256, list(LOWER)), 0)
    assert ecapa.shape == SHAPE
    wave = noise(4000)
    np.testing.assert_array_equal(ecapa.embed([wave]), lively().embed([wave]))


def test_the_recipe_in_the_folder_is_not_executed(published, tmp_path):
    folder = save_published(tmp_path / "poisoned", lively())
    mark = tmp_path / "executed"
    (folder / "hyperparams.yaml").write_text(f"x: !apply:pathlib.Path.touch [{mark}]")
    build(EcapaConfig(str(folder), 0, []), 0)
    assert not mark.exists()


def test_a_checkpoint_with_what_is_no_number_is_refused(tmp_path):
    folder = save_published(tmp_path / "broken", lively())
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    state["fc.conv.weight"][0] = torch.nan
    torch.save(state, folder / CHECKPOINT)
    with pytest.raises(ModelError, match=f"{CHECKPOINT}: fc.conv.weight holds what is no number"):
        build(EcapaConfig(str(folder), 0, []), 0)


def test_code_in_a_checkpoint_is_refused_and_not_executed(tmp_path):
    mark = tmp_path / "executed"

    class Attack:
        def __reduce__(self):
            import pathlib

            return pathlib.Path.touch, (pathlib.Path(mark),)

    for name, save in (("torch", torch.save), ("pickle", None)):
        folder = tmp_path / name
        folder.mkdir()
        if save:
            save({"blocks.0.conv.conv.weight": Attack()}, folder / CHECKPOINT)
        else:
            (folder / CHECKPOINT).write_bytes(pickle.dumps(Attack()))
        with pytest.raises(ModelError, match=f"{CHECKPOINT}: not a file of weights alone"):
            build(EcapaConfig(str(folder), 0, []), 0)
    assert not mark.exists()


def test_what_does_not_fit_is_named(published, tmp_path):
    good = torch.load(published / CHECKPOINT, weights_only=True)
    wide = torch.zeros(16, 40, 5)
    for reason, state in {
        "fc.conv.weight is missing": {k: v for k, v in good.items() if k != "fc.conv.weight"},
        "takes 40 bands and gives 192": good | {"blocks.0.conv.conv.weight": wide},
        "does not fit ECAPA_TDNN": {k: v for k, v in good.items() if k != "asp.conv.conv.bias"},
        "not a state dict": [1, 2],
    }.items():
        folder = tmp_path / reason.replace(" ", "_")
        folder.mkdir()
        torch.save(state, folder / CHECKPOINT)
        with pytest.raises(ModelError, match=reason):
            build(EcapaConfig(str(folder), 0, []), 0)
    for junk in (b"", b"junk", (published / CHECKPOINT).read_bytes()[:5000]):
        (folder / CHECKPOINT).write_bytes(junk)
        with pytest.raises(ModelError, match=CHECKPOINT):
            build(EcapaConfig(str(folder), 0, []), 0)
    (folder / CHECKPOINT).unlink()
    with pytest.raises(ModelError, match=f"has no {CHECKPOINT}"):
        build(EcapaConfig(str(folder), 0, []), 0)


def test_weights_from_the_hub(published, monkeypatch):
    import huggingface_hub

    asked = []

    def download(repo, name, revision):
        asked.append((repo, name, revision))
        return str(published / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    wave = noise(4000)
    expected = lively().embed([wave])
    for revision, sent in (("", None), ("0f99f2d", "0f99f2d")):
        found = build(EcapaConfig(PUBLISHED, 0, [], revision), 0)
        np.testing.assert_array_equal(found.embed([wave]), expected)
        assert asked.pop() == (PUBLISHED, CHECKPOINT, sent)


def test_a_hub_out_of_reach_says_what_to_set(monkeypatch):
    import huggingface_hub

    def download(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ModelError, match="no folder 'a/b'.*OSError: no route.*set ecapa.source"):
        build(EcapaConfig("a/b", 0, []), 0)
    with pytest.raises(ModelError, match="'/no/such/folder' is neither"):
        build(EcapaConfig("/no/such/folder", 0, []), 0)


@pytest.mark.parametrize("channels", [0, 4, 12])
def test_channels_are_a_multiple_of_eight(channels):
    with pytest.raises(ConfigError, match=f"ecapa.channels is {channels}"):
        build(EcapaConfig("random", channels, []), 0)


# Frozen layers


def test_frozen_layers_never_change_and_the_others_learn():
    ecapa = lively(frozen=LOWER).train()
    before = {k: v.clone() for k, v in ecapa.network.state_dict().items()}
    optimiser = torch.optim.SGD((p for p in ecapa.parameters() if p.requires_grad), lr=0.1)
    for step in range(2):
        waves = torch.from_numpy(np.stack([noise(4000, seed) for seed in range(step, step + 4)]))
        optimiser.zero_grad()
        ecapa(waves)[:, :5].sum().backward()
        optimiser.step()
    changed = {k for k, v in ecapa.network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and not {k for k in changed if k.startswith(LOWER)}
    # Statistics of batch norm count: weights alone would not show a norm left in training.
    assert {"blocks.3.tdnn1.norm.norm.running_mean", "asp_bn.norm.running_var"} <= changed
    assert {"blocks.3.tdnn1.conv.conv.weight", "mfa.conv.conv.weight", "fc.conv.weight"} <= changed


def test_frozen_layers_are_named_by_whole_parts():
    ecapa = Ecapa(SHAPE, ("asp",))
    learning = {n for n, p in ecapa.network.named_parameters() if p.requires_grad}
    assert "asp_bn.norm.weight" in learning
    assert not any(name.startswith("asp.") for name in learning)
    assert ecapa.network.asp_bn.training and not ecapa.network.asp.tdnn.norm.training
    with pytest.raises(ConfigError, match=r"no layer 'blocks\.4'; there are asp, asp_bn, blocks"):
        Ecapa(SHAPE, ("blocks.4",))
    with pytest.raises(ConfigError, match="no layer 'block'"):
        Ecapa(SHAPE, ("block",))


def test_random_layers_cannot_be_frozen():
    with pytest.raises(ConfigError, match=r"ecapa.frozen.*set ecapa.frozen to \[\]"):
        build(EcapaConfig("random", 8, ["blocks.1"]), 0)


# Files


def test_a_model_folder_gives_the_same_network_and_equal_bytes(tmp_path):
    ecapa, wave = lively(frozen=LOWER), noise(4000)
    for name in ("one", "two"):
        models.save(tmp_path / name, to_model(ecapa, "ge2e", {"corpora": ["esc50"]}))
    loaded = models.load(tmp_path / "one")
    again = from_model(loaded)
    assert loaded.setting("corpora") == ["esc50"] and loaded.setting("kind") == "ecapa"
    assert again.frozen == LOWER and not again.training
    np.testing.assert_array_equal(again.embed([wave]), ecapa.embed([wave]))
    for file in ("model.json", "model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_folder_of_another_kind_or_shape_is_refused(tmp_path):
    good = to_model(lively(), "ge2e")
    for reason, change in {
        "a model of kind 'rtfm'": {"kind": "rtfm"},
        "shape: .*unexpected": {"shape": {"wide": 3}},
        "does not fit ECAPA_TDNN": {"shape": {"channels": 8, "pooled": 40}},
    }.items():
        with pytest.raises(ModelError, match=reason):
            from_model(models.ModelFolder(good.description | change, good.weights, tmp_path))
