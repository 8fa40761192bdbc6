"""Systems: names become folders, rows and corpora left out; a wrong name is told."""

from __future__ import annotations

import pytest

from crywatch.core import paths
from crywatch.core.atomic import write_text
from crywatch.core.errors import ConfigError
from crywatch.detection.peer.zero_shot import YamnetConfig
from crywatch.detection.systems import System, systems

VARIANTS = {
    "robust": {
        "robust_s2": {"seed": 2, "row": "robust"},
        "robust_no_esc50": {"leave_out": "esc50", "row": ""},
    },
    "blazenet": {"all_1s": None},
}
VARIANTS["fused"] = VARIANTS["robust"]
PEER, NONE = YamnetConfig("file", 0.2), YamnetConfig("", 0.2)


def test_names_become_systems_in_their_order():
    names = ["robust/robust_s2", "robust/robust_no_esc50", "yamnet/zero_shot", "blazenet/all_1s"]
    names.append("fused/robust_s2")
    assert systems(names, VARIANTS, PEER) == [
        System("robust/robust_s2", "data/train_robust/robust_s2", "", "robust/robust"),
        System(names[1], "data/train_robust/robust_no_esc50", "esc50", names[1]),
        System("yamnet/zero_shot", "file", "", "yamnet/zero_shot"),
        System("blazenet/all_1s", "data/train_blazenet/all_1s", "", "blazenet/all_1s"),
        System(names[4], "data/train_robust/robust_s2", "", "fused/robust", yamnet=PEER),
    ]
    assert [one.name for one in systems(names[2:], VARIANTS, NONE)] == ["blazenet/all_1s"]


def test_a_variant_whose_sound_could_not_be_had_is_no_system(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["robust/robust_s2", "blazenet/all_1s"]
    write_text(paths.TRAIN_ROBUST / "robust_s2" / paths.MISSING_NOTE, "gone\n")
    assert [one.name for one in systems(names, VARIANTS, NONE)] == ["blazenet/all_1s"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("robust/robust_s9", r"train_robust\.variants has no 'robust_s9'; there are robust_s2"),
        ("robust", r"train_robust\.variants has no ''"),
        (
            "robots/x",
            r"system 'robots/x': name a family/variant of robust, blazenet, fused, yamnet",
        ),
    ],
)
def test_a_system_that_is_not_there_is_named(name, message):
    with pytest.raises(ConfigError, match=message):
        systems([name], VARIANTS, NONE)
