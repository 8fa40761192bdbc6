"""The benchmark of few clips fits on the first ones and tests on later sessions."""

from __future__ import annotations

from omegaconf import OmegaConf

from benchmarks import few_clips
from crywatch.core.atomic import read_json
from tests.helpers.embedded_cases import fit_config, write_timelines


def test_models_are_measured_by_clips(tmp_path, capsys):
    write_timelines(tmp_path / "store")
    section = OmegaConf.structured(fit_config())
    OmegaConf.save(OmegaConf.create({"fit_infants": section}), tmp_path / "params.yaml")
    models = ["mahalanobis", "mixture_iclas", few_clips.DIAGONAL]
    target = tmp_path / "few.json"
    given = ["--store", tmp_path / "store", "--params", tmp_path / "params.yaml", "--json", target]
    options = ["--clips", "6", "12", "--models", *models]
    assert few_clips.main([*map(str, given), *options]) == 0
    runs = read_json(target)["runs"]
    assert [(run["clips"], run["model"]) for run in runs] == [
        (clips, name) for clips in (6, 12) for name in models
    ]
    assert len({run["infants"] for run in runs}) == 1
    printed = capsys.readouterr().out
    for run in runs:
        assert run["model"] in printed
        assert 0 <= run["auc"] <= 1 and 0 <= run["above_own"] <= 1
        # With 6 clips no p is below 1 / 7: 0.1 cannot be promised.
        assert (run["promised"] > 0) == (run["clips"] == 12) == (run["alarms"] is not None)
        assert (run["components"] is None) == (run["model"] == "mahalanobis")
    full = [run for run in runs if run["model"] == "mixture_iclas"]
    # Two components or more of 6 or 12 clips: together they differ in n - K directions.
    assert all(run["rank"] <= run["clips"] - 1 for run in full)
