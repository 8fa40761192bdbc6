"""Parts by infant: long histories are held back, publishers' parts and the detector's are kept."""

from __future__ import annotations

import pandas as pd
import pytest

from crywatch.core.errors import ConfigError
from crywatch.data.split.infants import InfantPartsConfig, infant_parts


def clips(sessions: dict[str, int], corpus: str = "toy", split: str = "train") -> pd.DataFrame:
    """Two clips a session of each infant; an infant is a group."""
    return pd.DataFrame(
        [
            {
                "clip_id": f"{corpus}/{infant}/{session}/{take}",
                "corpus": corpus,
                "infant_id": f"{corpus}/{infant}",
                "session_id": f"{infant}/{session}",
                "group_id": f"{corpus}/{infant}",
                "label": "cry",
                "canonical": True,
                "split": split,
            }
            for infant, count in sessions.items()
            for session in range(count)
            for take in range(2)
        ]
    )


def parts(frame: pd.DataFrame, official=None, **config) -> dict[str, str]:
    found = infant_parts(frame, official or {}, InfantPartsConfig(**config))
    assert found.groupby("infant_id")["split"].nunique().max() == 1
    return found.groupby("infant_id")["split"].first().to_dict()


def test_the_longest_histories_are_held_back_and_dealt_to_val_and_test():
    sessions = {f"{n:02d}": n for n in range(1, 21)}
    found = parts(clips(sessions), long_sessions=12, held_share=0.5, val_share=0.34)
    held = {infant for infant, part in found.items() if part != "train"}
    assert held == {f"toy/{n:02d}" for n in range(12, 21)}
    assert sum(part == "val" for part in found.values()) == 3
    assert [found[f"toy/{n}"] for n in (20, 19, 18)] == ["test", "test", "val"]


def test_at_most_a_share_of_a_corpus_is_held_back():
    found = parts(clips({f"{n}": 9 for n in range(10)}), held_share=0.3)
    assert sum(part != "train" for part in found.values()) == 3


def test_what_the_detector_is_tested_on_trains_no_network_of_infants():
    frame = pd.concat([clips({f"{n}": 1 for n in range(6)}), clips({"x": 1}, split="test")])
    assert parts(frame)["toy/x"] == "test"
    assert parts(frame, only=["toy"])["toy/x"] == "train"


def test_all_infants_of_a_measured_corpus_are_held_back():
    frame = pd.concat([clips({f"{n}": 2 for n in range(6)}), clips({"x": 2}, corpus="other")])
    found = parts(frame, only=["toy"], measured=["toy"])
    assert found.pop("other/x") == "train"
    assert sorted(found.values()) == ["test"] * 4 + ["val"] * 2


def test_a_publishers_part_is_kept_and_of_several_the_strictest():
    frame = clips({"a": 9, "b": 9, "c": 1})
    official = {"toy/a/0/0": "train", "toy/c/0/0": "dev", "toy/c/0/1": "test"}
    found = parts(frame, official)
    assert (found["toy/a"], found["toy/c"]) == ("train", "test")


def test_clips_without_an_infant_are_left_out_and_settings_are_checked():
    frame = clips({"a": 1})
    frame.loc[0, "infant_id"] = None
    assert len(infant_parts(frame, {}, InfantPartsConfig())) == 1
    for key in ({"long_sessions": 1}, {"held_share": 1.0}, {"val_share": 0.0}):
        with pytest.raises(ConfigError, match="split.infants"):
            InfantPartsConfig(**key)
