"""Stage ``evaluate``: what is measured on what, and that nothing trained on is measured."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from crywatch.core import params
from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.data.selection import Source, weak_cries
from crywatch.data.tables import write_table
from crywatch.data.tables.evaluation import SECONDS
from crywatch.detection.systems import load_system
from crywatch.evaluation.evaluate import EvaluateConfig, run
from crywatch.evaluation.evaluate.detection.measures import CURVE_MODELS, HEADLINE, measure
from crywatch.evaluation.evaluate.shortcuts import ProbeConfig, ShortcutsConfig
from crywatch.evaluation.evaluate.systems import SystemsConfig
from crywatch.evaluation.scopes import scopes
from crywatch.evaluation.scored import DETECTION, SHORTCUTS, SYSTEMS, Scored
from crywatch.metrics.curves import binary_metrics
from crywatch.metrics.intervals import Intervals
from crywatch.metrics.rows import flat
from tests.helpers.blazenet_cases import clip_rows, write_clips
from tests.helpers.dvc_cases import environment
from tests.helpers.evaluation_cases import World, label, row, write_cries
from tests.helpers.score_cases import score, scored, scored_system

ROOT = Path(__file__).parents[2]
CONFIG = EvaluateConfig(
    threshold=0.5,
    shortcuts=ShortcutsConfig(main=[], probe=ProbeConfig(folds=2, permutations=1)),
    systems=SystemsConfig(peer="yamnet/zero_shot", main=[]),
)
LEFT_OUT = "blazenet/no_cries"
NAMES = ["blazenet/all_1s", "blazenet/all_5s", "rtfm/trimmed", "rtfm/untrimmed"]


@pytest.fixture(scope="module")
def world(tmp_path_factory, one_thread) -> World:
    return World(tmp_path_factory.mktemp("world"))


def evaluate(world: World, names: list[str], folder: Path):
    """Score into ``folder``/score, measure into ``folder``/out."""
    systems = [world.system(name, "cries" if name == LEFT_OUT else "") for name in names]
    audited = [world.system("rtfm/trimmed")]
    given = {DETECTION: systems, SHORTCUTS: audited, SYSTEMS: audited}
    score(folder / "score", world.sources, given, load_system)
    return run(folder / "score", world.sources, CONFIG, 1, folder / "out").detection


@pytest.fixture(scope="module")
def evaluated(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    return evaluate(world, [*NAMES, LEFT_OUT], folder), folder / "out" / "detection"


def rows_of(summary, **wanted) -> list:
    return [r for r in summary.rows if all(getattr(r, k) == v for k, v in wanted.items())]


# The stage


def test_seconds_of_untrimmed_recordings_are_labelled_by_their_events(evaluated):
    summary, _ = evaluated
    seconds = summary.measured[summary.measured["model"] == NAMES[0]]
    by_clip = seconds.groupby("clip_id")["is_cry"].apply(list)
    # A cry from 0.6 to 2.4 s: 0.4 s of the first second, all of the second, 0.4 s of the third.
    assert by_clip["untrimmed/cry-0"] == [False, True, False, False]
    assert by_clip["untrimmed/other-0"] == [False] * 4
    assert by_clip["few/cry-long"] == [True] * 7
    # Strongly labelled: the cry ends at 0.9 s.
    assert by_clip["both/cry-2"] == [True, False]


@pytest.mark.parametrize("unit", ["second", "clip"])
def test_pooled_metrics_come_from_the_stored_scores(world, evaluated, unit):
    summary, out = evaluated
    stored = scored(out.parents[1] / "score", world.sources)
    clips = stored.clips.set_index("clip_id")
    for name in NAMES:
        labels, values = [], []
        truth = summary.measured.set_index(["model", "clip_id"])["is_cry"].sort_index()
        for clip_id, frame in stored.scores(name, "as recorded").groupby("clip_id"):
            if clip_id.startswith("untrimmed") or clips.loc[clip_id, "split"] != "test":
                continue
            if clips.loc[clip_id, "canonical"]:
                kept = frame["score"].tolist() if unit == "second" else [frame["score"].max()]
                values += kept
                is_cry = truth.loc[[(name, clip_id)]].tolist()
                labels += is_cry if unit == "second" else [label(clip_id) == "cry"]
        (found,) = rows_of(summary, model=name, scope="pooled", unit=unit, part="test")
        expected = binary_metrics(np.array(labels), np.array(values), 0.5)
        assert flat(found.metrics) == pytest.approx(flat(expected))


def test_files(evaluated):
    summary, out = evaluated
    files = {"tables.json", "events.json", "metrics.json", "roc.csv", "pr.csv"}
    assert {path.name for path in out.iterdir()} == files | {"measured.parquet", "charts"}
    assert {path.name for path in out.parent.iterdir()} == {"detection", "shortcuts", "systems"}
    assert read_json(out / "tables.json") == [flat(r) for r in summary.rows]
    short = read_json(out / "metrics.json")
    assert set(short) == {*CURVE_MODELS, LEFT_OUT}
    for model in CURVE_MODELS:
        (pooled,) = rows_of(summary, model=model, scope="pooled", unit="second", part="test")
        for name in HEADLINE:
            expected = flat(pooled.metrics)[name]
            assert short[model][name] == pytest.approx(expected, abs=1e-6)
    (left,) = rows_of(summary, model=LEFT_OUT, unit="second", part="all")
    assert short[LEFT_OUT] == {"auc_left_out": pytest.approx(left.metrics.auc, abs=1e-6)}


def test_intervals_hold_the_number_and_are_of_what_is_reported(evaluated):
    summary, _ = evaluated
    assert all(row.intervals == Intervals() for row in rows_of(summary, part="val"))
    found = [one for one in summary.rows if one.intervals.auc_low is not None]
    assert found
    for one in found:
        assert one.intervals.auc_low <= one.metrics.auc <= one.intervals.auc_high


def test_curves_are_those_of_figure_3(evaluated):
    summary, out = evaluated
    roc, pr = pd.read_csv(out / "roc.csv"), pd.read_csv(out / "pr.csv")
    assert list(roc.columns) == ["model", "fpr", "tpr"]
    assert list(pr.columns) == ["model", "recall", "precision"]
    assert set(roc["model"]) == set(pr["model"]) == set(CURVE_MODELS)
    for name, frame in roc.groupby("model"):
        (found,) = rows_of(summary, model=name, scope="pooled", unit="second", part="test")
        assert np.trapezoid(frame["tpr"], frame["fpr"]) == pytest.approx(found.metrics.auc)


def test_headline_is_that_of_the_metrics_files(world, evaluated, tmp_path):
    _, out = evaluated
    name = "rtfm/trimmed"
    config = replace(CONFIG, shortcuts=replace(CONFIG.shortcuts, main=[name]))
    config = replace(config, systems=replace(config.systems, main=[name]))
    summary = run(out.parents[1] / "score", world.sources, config, 1, tmp_path / "out")
    expected = {}
    for folder, prefix in {
        "detection": "",
        "shortcuts": "shortcuts/",
        "systems": "systems/",
    }.items():
        rows = read_json(tmp_path / "out" / folder / "metrics.json")
        assert set(rows) == ({*CURVE_MODELS, LEFT_OUT} if folder == "detection" else {name})
        for row_name, values in rows.items():
            expected |= {f"{prefix}{row_name}/{metric}": v for metric, v in values.items()}
    headline, compared = summary.headline(config), summary.compared(config)
    assert headline | compared == expected and not headline.keys() & compared.keys()
    assert all(name.startswith("systems/") for name in compared)
    assert len(expected) < 60


def test_the_same_scores_give_the_same_bytes(world, evaluated, tmp_path):
    _, out = evaluated
    run(out.parents[1] / "score", world.sources, CONFIG, 1, tmp_path / "out")
    for path in [path for path in out.parent.rglob("*") if path.is_file()]:
        other = tmp_path / "out" / path.relative_to(out.parent)
        assert path.read_bytes() == other.read_bytes(), path.name


def test_without_the_models_of_figure_3_the_curves_are_empty(world, tmp_path):
    evaluate(world, ["blazenet/all_5s"], tmp_path)
    out = tmp_path / "out" / "detection"
    assert pd.read_csv(out / "roc.csv").columns.tolist() == ["model", "fpr", "tpr"]
    assert pd.read_csv(out / "pr.csv").empty


def test_without_scores_there_is_nothing(world, tmp_path):
    with pytest.raises(TableError, match="index.json is missing: run the stage"):
        run(tmp_path / "score", world.sources, CONFIG, 1, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_all_of_it_is_there_or_nothing(world, evaluated, tmp_path, monkeypatch):
    def broken(*args):
        raise OSError("full")

    monkeypatch.setattr("crywatch.evaluation.evaluate.systems.save_svg", broken)
    with pytest.raises(OSError, match="full"):
        run(evaluated[1].parents[1] / "score", world.sources, CONFIG, 1, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_imported_that_networks_need(world, evaluated, tmp_path):
    code = f"""
import sys
from pathlib import Path
from crywatch.data.selection import Source
from crywatch.evaluation.evaluate import EvaluateConfig, run
from crywatch.core import params

config = params.section("evaluate", EvaluateConfig, {str(ROOT / "params.yaml")!r})
sources = [Source(Path(c), Path(e)) for c, e in zip(sys.argv[3::2], sys.argv[4::2])]
summary = run(Path(sys.argv[1]), sources, config, 1, Path(sys.argv[2]))
assert summary.detection.rows and summary.detection.events and summary.shortcuts.channels
print(*sorted(name for name in list(sys.modules) if "." not in name))
"""
    tables = [str(path) for source in world.sources for path in (source.clips, source.events)]
    given = [str(evaluated[1].parents[1] / "score"), str(tmp_path / "out"), *tables]
    found = subprocess.run(
        [sys.executable, "-c", code, *given], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    heavy = {"torch", "tensorflow", "lightning", "librosa", "mlflow", "speechbrain"}
    assert heavy.isdisjoint(found.stdout.split())


# Scopes


def seconds_of(rows: list[dict], score: float = 0.3) -> pd.DataFrame:
    """Seconds for `measure`; every clip has two seconds, a cry's second one is higher."""
    clips = clip_rows(rows)
    parts = []
    for clip in clips.itertuples():
        cry = clip.label == "cry"
        columns = {"model": "m", "clip_id": clip.clip_id, "start_s": [0.0, 1.0]}
        columns |= {"end_s": [1.0, 2.0], "score": [score, 0.9 if cry else 0.2], "is_cry": cry}
        parts.append(pd.DataFrame(columns))
    columns = ["clip_id", "corpus", "split", "canonical", "label", "group_id", "unknown"]
    clips["unknown"] = weak_cries(clips)
    return pd.concat(parts, ignore_index=True).merge(clips[columns], on="clip_id")


def clips_in(frame: pd.DataFrame) -> set[str]:
    return set(frame["clip_id"])


def test_scopes():
    rows = [row(c, "test") for c in ("a/cry-0", "a/other-0", "b/other-0", "c/cry-0")]
    rows += [row("a/cry-1", "test", canonical=False), row("b/other-1", "test", canonical=False)]
    rows += [row("untrimmed/cry-0", "test"), row("soundscapes/cry-0", "test")]
    found = {name: clips_in(frame) for name, frame in scopes(seconds_of(rows))}
    assert found == {
        "pooled": {"a/cry-0", "a/other-0", "b/other-0", "c/cry-0"},
        # A corpus by itself has its duplicates.
        "a": {"a/cry-0", "a/other-0", "a/cry-1"},
        # Cries alone: against the others of each corpus that has some.
        "c cries, a others": {"c/cry-0", "a/other-0"},
        "c cries, b others": {"c/cry-0", "b/other-0", "b/other-1"},
        "untrimmed": {"untrimmed/cry-0"},
        "soundscapes": {"soundscapes/cry-0"},
    }


def metrics_of(rows: list[dict], leave_out: str = "") -> dict[tuple[str, str, str], object]:
    model = scored_system("blazenet/m", leave_out)
    found = list(measure(model, seconds_of(rows), 0.5))
    assert {r.model for r in found} == {"blazenet/m"}
    return {(r.scope, r.unit, r.part): r.metrics for r in found}


WORLD = [f"{corpus}/{kind}-{n}" for corpus in "ab" for kind in ("cry", "other") for n in range(3)]
PARTED = [row(clip_id, ("train", "val", "test")[int(clip_id[-1])]) for clip_id in WORLD]


def test_nothing_trained_on_is_measured():
    found = metrics_of(PARTED)
    assert {key[2] for key in found} == {"val", "test"}
    assert {key[0] for key in found} == {"pooled", "a", "b"}
    for (scope, unit, _), metrics in found.items():
        clips = 4 if scope == "pooled" else 2
        assert metrics.n == (clips if unit == "clip" else 2 * clips)


def test_a_clip_has_the_score_of_its_highest_second():
    metrics = metrics_of(PARTED)[("pooled", "clip", "test")]
    assert (metrics.accuracy, metrics.f1_threshold, metrics.auc) == (1.0, 0.9, 1.0)
    by_second = metrics_of(PARTED)[("pooled", "second", "test")]
    assert by_second.recall == 0.5


def test_a_weak_cry_counts_as_a_clip_and_none_of_its_seconds():
    exact = metrics_of(PARTED)
    weak = [row("a/cry-w", "test", weak=True), row("a/other-w", "test", weak=True)]
    found = metrics_of([*PARTED, *weak])
    for scope in ("pooled", "a"):
        second, clip = found[scope, "second", "test"], found[scope, "clip", "test"]
        before = {unit: exact[scope, unit, "test"] for unit in ("second", "clip")}
        assert second.n_cry == before["second"].n_cry and second.n == before["second"].n + 2
        assert clip.n_cry == before["clip"].n_cry + 1 and clip.n == before["clip"].n + 2


def test_scored_seconds_of_a_weak_cry_are_unknown(tmp_path):
    names = ["a/cry-0", "a/cry-weak", "a/cry-onset", "a/other-weak"]
    rows = [row(name, "test", weak=not name.endswith("-0")) for name in names]
    source = Source(
        write_clips(tmp_path / "clips.parquet", rows),
        write_cries(tmp_path / "events.parquet", {"a/cry-onset": [(0.0, 1.0)]}),
    )
    seconds = [(name, start_s, False) for name in names for start_s in (0.0, 1.0)]
    table = pd.DataFrame(seconds, columns=list(SECONDS.columns))
    write_table(table, tmp_path / "seconds.parquet", SECONDS)
    known = Scored(tmp_path, [source]).known.groupby("clip_id")
    assert known["unknown"].all().to_dict() == {name: name == "a/cry-weak" for name in names}
    assert not known["unknown"].any().drop("a/cry-weak").any()
    assert known["is_cry"].apply(list)["a/cry-onset"] == [True, False]


def test_a_corpus_whose_cries_are_all_weak_has_no_cry_by_the_second():
    rows = [row(f"a/{kind}-0", "test", weak=kind == "cry") for kind in ("cry", "other")]
    found = metrics_of(rows)
    assert found["a", "second", "test"].auc is None
    assert found["a", "second", "test"].n_cry == 0
    assert found["a", "clip", "test"].auc == 1.0


def test_a_recording_whose_cry_fills_no_second_is_a_cry_clip():
    rows = [*PARTED, row("untrimmed/cry-0", "test"), row("untrimmed/other-0", "test")]
    seconds = seconds_of(rows)
    seconds.loc[seconds["clip_id"] == "untrimmed/cry-0", "is_cry"] = False
    model = scored_system("blazenet/m")
    found = [r for r in measure(model, seconds, 0.5) if r.scope == "untrimmed"]
    assert {r.unit: (r.metrics.n, r.metrics.n_cry) for r in found} == {
        "second": (4, 0),
        "clip": (2, 1),
    }


def test_a_corpus_left_out_is_measured_whole():
    found = metrics_of(PARTED, leave_out="b")
    left = {key: metrics for key, metrics in found.items() if key[2] == "all"}
    assert set(left) == {("b, left out", "second", "all"), ("b, left out", "clip", "all")}
    clip = left[("b, left out", "clip", "all")]
    assert (clip.n, clip.n_cry) == (6, 3)  # of all parts, of corpus b alone
    assert found[("a", "clip", "test")].n == 2  # of the others, no clip of their training part


def test_cries_left_out_are_measured_against_the_test_part_of_the_others():
    rows = [*PARTED, row("c/cry-0", "train"), row("c/cry-1", "val"), row("c/cry-2", "test")]
    rows += [row("a/other-9", "test", canonical=False), row("untrimmed/other-0", "test")]
    found = metrics_of(rows, leave_out="c")
    metrics = found[("c, left out, against test others", "clip", "all")]
    assert (metrics.n, metrics.n_cry) == (5, 3)  # a/other-2 and b/other-2


def test_a_left_out_model_scores_its_corpus_whole_and_is_reported(world, evaluated):
    summary, _ = evaluated
    found = rows_of(summary, model=LEFT_OUT, part="all", unit="clip")
    assert [r.scope for r in found] == ["cries, left out, against test others"]
    assert found[0].metrics.n_cry == 3  # one of each part
    assert not rows_of(summary, model=NAMES[0], part="all")


def test_leaving_out_does_not_change_what_the_parts_are_measured_on(world, tmp_path, evaluated):
    summary, _ = evaluated
    for part in ("val", "test"):
        rows = rows_of(summary, model="blazenet/all_1s", part=part)
        same = rows_of(summary, model=LEFT_OUT, part=part)
        assert [replace(r, model=LEFT_OUT) for r in rows] == same


# The tree


def test_models_of_figure_3_are_trained():
    config = params.compose(["profile=paper"], ROOT / "conf")
    names = {f"{f}/{name}" for f in ("blazenet", "rtfm") for name in config[f"train_{f}"].variants}
    assert set(CURVE_MODELS) <= names


def test_dvc_scores_nothing_again_for_a_changed_parameter_of_evaluate(tmp_path):
    """The two stages as dvc.yaml has them, with commands that leave their outs at once."""
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    stages = {name: content["stages"][name] for name in ("score", "evaluate")}
    for name, body in stages.items():
        body["cmd"] = f"mkdir -p data/{name} && echo {name} > data/{name}/made"
        for dep in set(body["deps"]) - {"data/score"}:
            file = tmp_path / dep if Path(dep).suffix else tmp_path / dep / "file"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    config = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(config))

    def dvc(*words: str) -> str:
        command = [sys.executable, "-m", "dvc", *words]
        env = environment(DVC_SITE_CACHE_DIR=str(tmp_path / ".cache"))
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        ).stdout

    dvc("init", "--no-scm", "-q")
    dvc("repro", "-q")
    config["evaluate"]["shortcuts"]["probe"]["folds"] += 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(config))
    ran = dvc("repro")
    assert "Running stage 'evaluate'" in ran
    assert "Stage 'score' didn't change, skipping" in ran
    config["score"]["audited"]["background"]["level_dbfs"] -= 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(config))
    assert "Running stage 'score'" in dvc("repro")
