"""Stage ``train_rtfm``: the anomaly head on the frozen BlazeNet, in one self-contained folder."""

from __future__ import annotations

import shutil
from dataclasses import asdict

import numpy as np
import pytest
import torch

from crywatch.core import params
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, ModelError
from crywatch.core.models import EMBEDDINGS, ModelFolder, load, n_parameters, save
from crywatch.data.features import StoreInfo
from crywatch.detection.anomaly.network import load_head, score_seconds
from crywatch.detection.anomaly.train_rtfm import RtfmVariant, TrainRtfmConfig, run
from crywatch.detection.blazenet.network import FEATURES, N_PARAMETERS, BlazeNet
from crywatch.detection.blazenet.train_blazenet import TrainBlazenetConfig
from crywatch.detection.detectors import load_detector
from crywatch.detection.robust.train_robust import TrainRobustConfig
from tests.helpers.anomaly_cases import RTFM, fields_of, training_config, write_two_corpora
from tests.helpers.blazenet_cases import ONE_SECOND, sound
from tests.helpers.robust_model_cases import write_robust

pytestmark = pytest.mark.usefixtures("one_thread")

INFO = StoreInfo("blazenet all_1s", FEATURES, "digest of the backbone")
VARIANTS = {
    "trimmed": RtfmVariant("all_1s", "trimmed", 5, ""),
    "untrimmed": RtfmVariant("all_1s", "untrimmed", 10, ""),
    "robust": RtfmVariant("robust", "trimmed", 5, "", "robust"),
    "trimmed_no_b": RtfmVariant("all_1s_no_b", "trimmed", 5, "b"),
    "heard_b": RtfmVariant("all_1s", "trimmed", 5, "b"),
    "no_such_corpus": RtfmVariant("all_1s_no_c", "trimmed", 5, "c"),
    "no_such_dataset": RtfmVariant("all_1s", "video", 5, ""),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    torch.manual_seed(1)
    weights = {f"backbone.{name}": value for name, value in BlazeNet().state_dict().items()}
    description = {
        "kind": "blazenet",
        "name": "all_1s",
        "segment_s": 1.0,
        "frontend": ONE_SECOND.as_dict(),
    }
    for name, leave_out in (("all_1s", ""), ("all_1s_no_b", "b"), ("all_1s_no_c", "c")):
        own = {"name": name, "trained_on": {"leave_out": leave_out}, "corpora": ["a", "heard"]}
        save(folder / name, ModelFolder(description | own, weights))
        clips, store = write_two_corpora(folder, INFO)
        store.rename(folder / name / EMBEDDINGS)
    return clips, folder / "all_1s"


def go(inputs, folder, name="trimmed", backbone=None, **changes):
    clips, backbone_dir = inputs
    config = training_config(**({"steps": 4, "val_every": 2} | changes))
    return run(
        name,
        TrainRtfmConfig(**fields_of(config), variants=VARIANTS),
        {"trimmed": clips, "untrimmed": clips},
        backbone or backbone_dir.parent / getattr(VARIANTS.get(name), "backbone", "all_1s"),
        1.0,
        3,
        folder / "out",
        folder / "work",
    )


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder / "out", go(inputs, folder)


def test_every_variant_of_the_conf_sits_on_a_backbone_that_is_trained_and_embedded():
    conf = params.compose(["profile=full"])
    config = params.typed(conf.train_rtfm, TrainRtfmConfig, "train_rtfm")
    blazenet = params.typed(conf.train_blazenet, TrainBlazenetConfig, "train_blazenet")
    robust = params.typed(conf.train_robust, TrainRobustConfig, "train_robust")
    trained = {"blazenet": blazenet.variants, "robust": robust.variants}
    assert {"trimmed", "untrimmed"} <= set(config.variants)
    assert (config.top_k, config.lr, config.steps, config.batch_size) == (2, 1e-3, 20_000, 128)
    assert config.loss == RTFM
    for variant in config.variants.values():
        assert trained[variant.family][variant.backbone].embeddings
        assert variant.segments == {"trimmed": 5, "untrimmed": 10}[variant.dataset]
        # A head that leaves a corpus out must not sit on a backbone that has heard it.
        assert variant.leave_out == trained[variant.family][variant.backbone].leave_out


def test_the_model_folder_holds_the_backbone(inputs, undisturbed):
    out, summary = undisturbed
    model, backbone = load(out), load(inputs[1])
    assert model.description == {
        "kind": "rtfm",
        "name": "trimmed",
        "segment_s": 1.0,
        "backbone": backbone.description,
        "dim": FEATURES,
        "segments": 5,
        "top_k": 2,
        "temporal": "msnl",
        "loss": asdict(RTFM),
        "trained_on": asdict(VARIANTS["trimmed"]),
        "corpora": ["a", "b", "heard"],  # its own and the backbone's
    }
    assert set(model.part("backbone")) == set(backbone.part("backbone"))
    for name, value in backbone.part("backbone").items():
        assert torch.equal(model.part("backbone")[name], value)
    assert (summary.n_abnormal, summary.n_normal) == (8, 8)


def test_the_folder_is_a_detector_without_the_backbones(inputs, tmp_path):
    backbone = shutil.copytree(inputs[1], tmp_path / "backbone")
    wave = sound(3 * 16_000)
    features = load_detector(backbone).features(wave)
    go(inputs, tmp_path, backbone=backbone)
    shutil.rmtree(backbone)
    detector = load_detector(tmp_path / "out")
    head = load_head(tmp_path / "out")
    assert detector.n_parameters == N_PARAMETERS + n_parameters(head)
    scores = detector.score(wave)
    assert scores.shape == (3,)
    np.testing.assert_allclose(scores, score_seconds(head, features), rtol=1e-5)


def test_a_head_sits_on_a_robust_network_too(inputs, tmp_path):
    backbone = write_robust(tmp_path / "robust")
    shutil.copytree(inputs[1] / EMBEDDINGS, backbone / EMBEDDINGS)
    go(inputs, tmp_path, "robust", backbone=backbone)
    wave = sound(6 * 16_000)
    features = load_detector(backbone).features(wave)
    shutil.rmtree(backbone)
    detector = load_detector(tmp_path / "out")
    head = load_head(tmp_path / "out")
    assert detector.n_parameters == N_PARAMETERS + n_parameters(head)
    np.testing.assert_allclose(detector.score(wave), score_seconds(head, features), rtol=1e-5)
    description = load(tmp_path / "out").description
    assert description["backbone"]["kind"] == description["trained_on"]["family"] == "robust"


def test_equal_inputs_give_equal_bytes(inputs, undisturbed, tmp_path):
    go(inputs, tmp_path)
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


def test_untrimmed_bags_have_ten_segments(inputs, tmp_path):
    go(inputs, tmp_path, "untrimmed", steps=1)
    assert load(tmp_path / "out").description["segments"] == 10


def test_a_corpus_left_out_takes_its_groups_along(inputs, tmp_path):
    summary = go(inputs, tmp_path, "trimmed_no_b", steps=1)
    assert (summary.n_abnormal, summary.n_normal) == (3, 4)
    description = load(tmp_path / "out").description
    assert description["trained_on"]["leave_out"] == "b"
    assert description["corpora"] == ["a", "heard"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("best", r"train_rtfm\.variants has no 'best'"),
        ("no_such_dataset", r"variants\.no_such_dataset\.dataset: the project has no 'video'"),
        ("no_such_corpus", "no corpus 'c'"),
        ("heard_b", r"variants\.heard_b: leaves out 'b', but its backbone 'all_1s' has heard"),
    ],
)
def test_what_is_unknown_is_named(inputs, tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        go(inputs, tmp_path, name)
    assert not (tmp_path / "out").exists()


def test_a_missing_backbone_or_its_embeddings_are_named(inputs, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        # Before the training, not after it.
        patch.setattr(
            "crywatch.detection.anomaly.train_rtfm.train_on",
            lambda *_: pytest.fail("it was trained"),
        )
        with pytest.raises(ModelError, match="nowhere"):
            go(inputs, tmp_path, backbone=tmp_path / "nowhere", steps=1)
        description = load(inputs[1]).description
        silent = {name: description[name] for name in description if name != "corpora"}
        save(tmp_path / "silent", ModelFolder(silent, load(inputs[1]).weights))
        with pytest.raises(ModelError, match="silent: .*no 'corpora'"):
            go(inputs, tmp_path, backbone=tmp_path / "silent", steps=1)
        bare = shutil.copytree(inputs[1], tmp_path / "bare", ignore=lambda *_: [EMBEDDINGS])
        with pytest.raises(ConfigError, match=r"'all_1s' has no embeddings: .*train_blazenet\.var"):
            go(inputs, tmp_path, backbone=bare)
