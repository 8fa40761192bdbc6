"""`crywatch compare`: pairs, verdicts and outputs; its numbers are those of the MLflow run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.core.errors import ConfigError
from crywatch.data.tables import write_table
from crywatch.data.tables.evaluation import MEASURED
from crywatch.evaluation.evaluate.detection.seconds import (
    FILE,
    clip_rows,
    metric_name,
    named_metrics,
)
from crywatch.metrics.paired import paired_differences
from crywatch.operations.compare_runs import Options, ScoredRun, compare
from crywatch.operations.compare_runs.differences import BETTER, FEW, NOTHING, SAME, WORSE, decide
from crywatch.operations.compare_runs.page import render
from crywatch.operations.compare_runs.pairs import join_groups, pair
from crywatch.operations.compare_runs.tables import FORMATS, as_csv, as_json, as_text, telling
from crywatch.tracking import parent, runs, store
from crywatch.tracking.runs import EvaluatedRun
from tests.helpers.compare_cases import clips, measured_table, seconds, summary

pytest_plugins = ["tests.helpers.tracking_fixtures"]

ROBUST, PAPER = "robust/robust", "blazenet/all_1s"
GOOD, BAD = {ROBUST: 1.6, PAPER: 0.5}, {ROBUST: 0.4, PAPER: 0.5}
TABLE_OF_CLIPS = clips(groups=12)
POOLED = Options(models=(ROBUST,), scopes=("pooled",), units=("second",))


def scored(name: str, skills: dict, table: pd.DataFrame = TABLE_OF_CLIPS, **options) -> ScoredRun:
    run = EvaluatedRun(name * 8, name * 8, f"rebuild {name}", "c" * 40, False, "", "", {})
    return ScoredRun(run, measured_table(seconds(table, skills, **options), table))


@pytest.fixture(scope="module")
def told():
    return compare([(scored("a", BAD, seed=1), scored("b", GOOD, seed=2))], Options())


def only(comparison, **wanted):
    (found,) = [
        line
        for line in comparison.lines
        if all(getattr(line, name) == value for name, value in wanted.items())
    ]
    return found


def one(**wanted) -> dict:
    return {"model": ROBUST, "scope": "pooled", "unit": "second", "metric": "auc"} | wanted


# Pairing


def test_rows_are_paired_by_sound_and_second_whatever_their_names_and_order():
    rows = scored("a", GOOD).seconds
    rows = rows[(rows["model"] == ROBUST) & (rows["split"] == "test")]
    other = rows.sample(frac=1, random_state=1)
    renamed = other.assign(clip_id=other["corpus"] + "/new-" + other["clip_id"].str[2:])
    found = pair(rows, renamed, "second")
    assert found.whole and len(found.labels) == len(rows)
    assert (found.first == found.second).all()


def test_other_sound_under_the_same_name_is_no_pair():
    rows = scored("a", GOOD).seconds
    rows = rows[(rows["model"] == ROBUST) & (rows["split"] == "test")]
    changed = rows.copy()
    names = sorted(set(rows["clip_id"]))
    changed.loc[changed["clip_id"] == names[0], "sha256"] = "another"
    found = pair(rows, changed, "second")
    assert (found.only_first, found.only_second, found.relabelled) == (3, 3, 0)
    changed.loc[changed["clip_id"] == names[1], "is_cry"] = False
    found = pair(rows, changed, "second")
    assert (found.only_first, found.only_second, found.relabelled) == (3, 3, 3)
    assert len(found.labels) == len(rows) - 6 and not found.whole
    clip = pair(clip_rows(rows), clip_rows(rows[rows["clip_id"] != names[2]]), "clip")
    assert (clip.only_first, clip.only_second) == (1, 0)


def test_copies_of_a_clip_are_paired_each_with_its_own():
    rows = scored("a", GOOD).seconds
    rows = rows[(rows["model"] == ROBUST) & (rows["split"] == "test")].copy()
    names = sorted(set(rows["clip_id"]))[:2]
    rows.loc[rows["clip_id"].isin(names), "sha256"] = "same"
    found = pair(rows, rows, "second")
    assert found.whole and len(found.labels) == len(rows)
    assert (found.first == found.second).all()


def test_groups_hold_together_what_either_run_holds_together():
    first = pd.Series(["a", "a", "b", "c", "d"])
    second = pd.Series(["1", "2", "2", "3", "4"])
    found = join_groups(first, second)
    assert found[0] == found[1] == found[2]
    assert len(set(found)) == 3
    assert len(join_groups(first[:0], second[:0])) == 0


# Lines


def test_own_numbers_are_those_that_the_stage_logs(told):
    """The golden check: the table and the MLflow UI show the same."""
    for side, skills, seed in (("first", BAD, 1), ("second", GOOD, 2)):
        made = summary(TABLE_OF_CLIPS, seconds(TABLE_OF_CLIPS, skills, seed=seed))
        logged = named_metrics(made.rows, [ROBUST, PAPER])
        shown = {}
        for line in told.lines:
            values = line.as_dict()
            name = metric_name(line.model, line.scope, line.unit, line.metric)
            shown[name] = values[f"{side}_value"]
            shown[f"{name}_low"] = values[f"{side}_low"]
            shown[f"{name}_high"] = values[f"{side}_high"]
        assert shown == pytest.approx(logged, abs=1e-6)
        headline = made.headlines[ROBUST]["auc"]
        assert headline == pytest.approx(shown[f"{ROBUST}/auc"], abs=1e-6)


def test_every_place_of_every_model_has_a_line(told):
    found = [(line.model, line.scope, line.unit, line.metric) for line in told.lines]
    assert len(set(found)) == len(found) == 2 * 3 * 2 * 2
    assert {line.scope for line in told.lines} == {"pooled", "a", "b"}


def test_a_clear_gain_is_better_and_turns_to_worse(told):
    line = only(told, **one())
    assert line.verdict == BETTER and line.common.difference > 0 and line.p_holm < 0.05
    back = compare([(scored("b", GOOD, seed=2), scored("a", BAD, seed=1))], POOLED)
    turned = only(back, metric="auc")
    assert turned.verdict == WORSE
    assert turned.common.difference == pytest.approx(-line.common.difference)


def test_what_does_not_differ_is_not_said_to(told):
    assert {line.verdict for line in told.lines if line.model == PAPER} == {SAME}
    same = scored("a", GOOD)
    for line in compare([(same, same)], Options()).lines:
        assert (line.common.difference, line.common.p, line.verdict) == (0, 1, SAME)


def test_the_difference_is_the_paired_test_of_the_common_rows(told):
    first, second = (
        scored(name, skills, seed=seed).seconds
        for name, skills, seed in (("a", BAD, 1), ("b", GOOD, 2))
    )
    mine = [rows[(rows["model"] == ROBUST) & (rows["split"] == "test")] for rows in (first, second)]
    labels, groups = mine[0]["is_cry"].to_numpy(), mine[0]["group_id"].to_numpy()
    expected = paired_differences(
        labels, mine[0]["score"].to_numpy(), mine[1]["score"].to_numpy(), groups
    )["auc"]
    line = only(told, **one())
    assert line.common.difference == pytest.approx(expected.difference)
    assert (line.common.low, line.common.high) == pytest.approx(
        (expected.low, expected.high), abs=0.02
    )
    assert (line.n_common, line.common.cry_groups) == (len(labels), 24)


def test_p_is_corrected_for_the_lines_that_are_shown(told):
    alone = only(compare([(scored("a", BAD, seed=1), scored("b", GOOD, seed=2))], POOLED), **one())
    among = only(told, **one())
    assert among.common.p == alone.common.p
    assert alone.common.p < alone.p_holm < among.p_holm  # two lines, and all of them


def test_few_groups_are_no_verdict():
    table = clips(groups=2, corpora=("a",))
    found = compare([(scored("a", BAD, table), scored("b", GOOD, table, seed=3))], POOLED)
    assert {line.verdict for line in found.lines} == {FEW}
    assert {line.p_holm for line in found.lines} == {None}


def test_nothing_in_common_is_said():
    other = clips(groups=12, tag="new ")
    found = compare([(scored("a", BAD), scored("b", GOOD, other))], POOLED)
    assert {line.verdict for line in found.lines} == {NOTHING}
    line = only(found, metric="auc")
    assert line.n_common == 0 and line.of_first.value is not None
    assert [c.corpus for c in found.clips] == ["a", "b"]
    assert "the clips differ in a: 0 of the test part in both" in as_text(found)
    json.loads(as_json(found))


def test_a_run_with_more_clips_is_compared_on_those_of_both():
    few = TABLE_OF_CLIPS[TABLE_OF_CLIPS["corpus"] == "a"]
    first, second = scored("a", BAD, few, seed=1), scored("b", GOOD, seed=2)
    line = only(compare([(first, second)], POOLED), metric="auc")
    assert (line.only_first, line.only_second) == (0, 144)
    assert line.of_second.n == line.n_common + 144 == 288
    assert line.common.second != line.of_second.value


def test_a_corpus_left_out_is_compared_too_and_decides_nothing():
    first, second = (
        scored(name, {ROBUST: skill}, leave_out="b") for name, skill in (("a", 0.4), ("b", 1.5))
    )
    found = compare([(first, second)], Options())
    assert "b, left out" in {line.scope for line in found.lines}
    assert {one.scope for one in found.decisions} == {"pooled", "a", "b"}


def test_decisions_are_of_whole_recordings_at_each_runs_own_threshold(told):
    (found,) = [d for d in told.decisions if (d.model, d.scope) == (ROBUST, "pooled")]
    assert found.test.n == 48  # recordings of two clips
    assert found.test.second_right > found.test.first_right
    assert found.threshold_first != found.threshold_second
    told_right = 0
    rows = scored("b", GOOD, seed=2).seconds
    rows = clip_rows(rows[(rows["model"] == ROBUST) & (rows["split"] == "test")])
    for _, frame in rows.groupby("group_id"):
        told_right += ((frame["score"] >= found.threshold_second) == frame["is_cry"]).all()
    assert found.test.second_right == told_right


def test_two_models_of_one_run():
    run = scored("a", GOOD)
    found = compare([(run, run)], replace(POOLED, models=(PAPER,), against=ROBUST))
    line = only(found, metric="auc")
    assert (line.model, line.against, line.verdict) == (PAPER, ROBUST, BETTER)
    assert found.title == f"{PAPER} and {ROBUST} of one run"
    with pytest.raises(ConfigError, match="one --model"):
        compare([(run, run)], Options(against=ROBUST))


def test_what_is_not_there_is_named():
    first, second = scored("a", GOOD), scored("b", {ROBUST: 1.0})
    with pytest.raises(ConfigError, match=r"rebuild b .* no model 'blazenet/all_1s'"):
        compare([(first, second)], Options(models=(PAPER,)))
    with pytest.raises(ConfigError, match=r"scope gone in both runs; there are a, b, pooled"):
        compare([(first, second)], Options(scopes=("gone",)))
    found = compare([(first, second)], POOLED)
    assert found.notes == []
    found = compare([(first, second)], replace(POOLED, models=()))
    assert found.notes == ["only rebuild a [aaaaaaaa] has blazenet/all_1s"]


def test_several_runs_are_each_compared_with_the_first():
    a, b, c = (scored(name, GOOD, seed=n) for n, name in enumerate("abc"))
    found = compare([(a, b), (a, c)], POOLED)
    assert [line.second for line in found.lines] == [b.run.label] * 2 + [c.run.label] * 2
    assert found.metrics() == {}
    assert "second run" in as_text(found)


# What is printed


def test_formats_say_the_same(told):
    assert set(FORMATS) == {"table", "csv", "json"}
    loaded = json.loads(as_json(told))
    frame = pd.read_csv(pd.io.common.StringIO(as_csv(told)))
    assert len(frame) == len(loaded["lines"]) == len(told.lines)
    assert frame["difference"].tolist() == pytest.approx([r["difference"] for r in loaded["lines"]])
    line = only(told, **one())
    text = as_text(told)
    values = line.as_dict()
    assert f"{values['first_value']:.3f} [{values['first_low']:.3f}" in text
    assert f"{values['difference']:+.3f} [{values['difference_low']:+.3f}" in text
    assert BETTER in text and "Holm" in text


def test_a_terminal_gets_what_can_answer_and_a_count_of_the_rest():
    first, second = scored("a", BAD, seed=1), scored("b", GOOD, seed=1)
    whole = compare([(first, second)], Options())  # the other model is as good in both
    brief = telling(whole)
    assert {line.models for line in whole.lines} > {line.models for line in brief.lines}
    assert brief.lines == [line for line in whole.lines if line in brief.lines]
    assert all(line.common.difference for line in brief.lines)
    left = len(whole.lines) - len(brief.lines)
    assert f"{left} of {len(whole.lines)} lines are left out" in as_text(brief)
    assert "nothing differs, as far as can be told, of" in as_text(brief)
    same = telling(compare([(first, first)], Options()))
    assert same.lines == [] and "Does the second differ" not in as_text(same)


def test_the_page_is_whole_and_the_same_bytes(told):
    html = render(told)
    assert html == render(told)
    assert html.count("data:image/svg+xml") == 2  # a figure a model
    assert "http" not in html.replace("http://www.w3.org", "") and BETTER in html
    assert told.title in html


def test_the_page_shows_what_differs_and_folds_the_rest():
    first, second = scored("a", BAD, seed=1), scored("b", GOOD, seed=1)
    recorded = [
        {"mine.top_t": "2", "seed": "1", "tracking.uri": "a"},
        {"mine.top_t": "3", "seed": "1"},
    ]
    for run, params in zip((first, second), recorded, strict=True):
        object.__setattr__(run, "run", replace(run.run, params=params))
    told = compare([(first, second)], Options())
    shown, _, folded = render(told).partition("<details")
    assert shown.index("What differs") < shown.index("Parameters that differ")
    assert ROBUST in shown and f"<td>{PAPER}</td>" not in shown and f"<td>{PAPER}</td>" in folded
    assert shown.index(f"<td>{BETTER}</td>") < shown.index("mine.top_t")
    assert "<td>2</td><td>3</td>" in shown and "seed" not in shown and "tracking.uri" not in shown
    assert (shown.count("data:image"), folded.count("data:image")) == (1, 1)
    [differs] = json.loads(as_json(told))["params_differ"]
    assert (differs["name"], differs["first"], differs["second"]) == ("mine.top_t", "2", "3")

    alike = [scored(name, {ROBUST: 1.0, PAPER: 0.5}, seed=n) for n, name in enumerate("ab")]
    page = render(compare([tuple(alike)], POOLED))
    assert SAME in page and "<h2>No difference shown</h2>" in page
    same = render(compare([(first, first)], Options())).partition("<details")[0]
    assert "Nothing that was measured" in same and "None: the same clips" in same
    unknown = scored("c", GOOD, seed=1)
    assert "Unknown: a run has no parameters" in render(compare([(first, unknown)], Options()))


def test_verdicts_need_no_line():
    assert decide([]) == []


# The command


@pytest.fixture
def project(project):
    """That of the tests of tracking, with a name for registered models."""
    file = project / "params.yaml"
    file.write_text(file.read_text() + yaml.safe_dump({"register": {"name": "cry-detector"}}))
    return project


def log_run(skills: dict, seed: int, table: pd.DataFrame = TABLE_OF_CLIPS, **tags: str) -> str:
    """A rebuild with its evaluation in the store, as stage and script log them; the parent's id."""
    opened = store.open_store()
    made = seconds(table, skills, seed=seed)
    name = tags.pop("name", f"rebuild {seed}")
    head = {parent.STAGE: "rebuild", "git.commit": f"{seed}" * 40} | tags
    above = opened.client.create_run(opened.experiment_id, run_name=name, tags=head)
    above_id = above.info.run_id
    tags = {parent.STAGE: "evaluate", parent.PARENT: above_id, parent.OUTS: f"d{seed}"}
    run = opened.client.create_run(opened.experiment_id, run_name="evaluate", tags=head | tags)
    for key, value in named_metrics(summary(table, made).rows, list(skills)).items():
        opened.client.log_metric(run.info.run_id, key, value)
    Path("scores").mkdir(exist_ok=True)
    write_table(measured_table(made, table), f"scores/{FILE}", MEASURED)
    opened.client.log_artifact(run.info.run_id, f"scores/{FILE}")
    for run_id in (run.info.run_id, above_id):
        opened.client.set_terminated(run_id)
    return above_id


def crywatch(*args: str):
    return CliRunner().invoke(cli.app, list(args), catch_exceptions=False)


def test_the_command_compares_the_latest_rebuild_with_the_one_before(project):
    first, second = log_run(BAD, 1), log_run(GOOD, 2)
    args = ("--model", ROBUST, "--scope", "pooled", "--html", "page.html")
    done = crywatch("compare", *args, "--format", "json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [told["runs"][0][side]["rebuild_id"] for side in ("first", "second")] == [first, second]
    assert "data:image" in Path("page.html").read_text()

    opened = store.open_store()
    (recorded,) = [
        run
        for run in opened.client.search_runs([opened.experiment_id])
        if run.data.tags.get(parent.STAGE) == runs.COMPARISON
    ]
    ids = [told["runs"][0][side]["run_id"] for side in ("first", "second")]
    assert [recorded.data.tags[name] for name in (runs.FIRST, runs.SECOND)] == ids
    assert all(run_id in recorded.data.tags["mlflow.note.content"] for run_id in ids)
    files = {file.path for file in opened.client.list_artifacts(recorded.info.run_id)}
    assert files == {"comparison.html", "comparison.csv", "comparison.json"}
    (line,) = [one for one in told["lines"] if (one["unit"], one["metric"]) == ("second", "auc")]
    name = f"{ROBUST}/auc_difference"
    assert recorded.data.metrics[name] == pytest.approx(line["difference"], abs=1e-6)
    assert recorded.info.status == "FINISHED"

    # The UI's numbers of the two runs are those of the comparison.
    for side, run_id in zip(("first", "second"), ids, strict=True):
        logged = opened.client.get_run(run_id).data.metrics
        for end in ("", "_low", "_high"):
            shown = line[f"{side}{end or '_value'}"]
            assert logged[f"{ROBUST}/auc{end}"] == pytest.approx(shown, abs=1e-6)


def test_one_run_is_compared_with_the_working_tree(project):
    old = log_run(BAD, 1, name="old")
    made = measured_table(seconds(TABLE_OF_CLIPS, GOOD, seed=2), TABLE_OF_CLIPS)
    write_table(made, f"data/evaluate/detection/{FILE}", MEASURED)
    below = project / "deep"
    below.mkdir()
    args = ("compare", old, "--model", ROBUST, "--scope", "pooled", "--unit", "clip", "--no-log")
    done = crywatch(*args)
    assert done.exit_code == 0, done.output
    assert "first: old" in done.stdout and "second: workspace" in done.stdout
    assert BETTER in done.stdout
    turned = crywatch("compare", "workspace", *args[2:])
    assert turned.stdout == done.stdout  # the latest rebuild, when nothing else is said
    within = crywatch("compare", "workspace", *args[2:], "--against", PAPER)
    assert f"{ROBUST} - {PAPER}" in within.stdout and "rebuild" not in within.stdout
    opened = store.open_store()
    stages = {run.data.tags.get(parent.STAGE) for run in opened.client.search_runs(["0", "1", "2"])}
    assert runs.COMPARISON not in stages


def test_errors_are_one_line_and_say_what_to_do(project):
    with pytest.raises(Exception, match=r"0 rebuild\(s\) with different scores"):
        crywatch("compare")
    rebuilt = log_run(BAD, 1)
    with pytest.raises(Exception, match=r"1 rebuild\(s\) with different scores"):
        crywatch("compare")
    with pytest.raises(Exception, match="evaluate/detection/measured.parquet is missing"):
        crywatch("compare", rebuilt, "--no-log")
    with pytest.raises(Exception, match="no run is called 'nobody'"):
        crywatch("compare", "nobody")
    with pytest.raises(Exception, match="no version of cry-detector is the champion"):
        crywatch("compare", "champion", rebuilt)
    with pytest.raises(Exception, match="no run is called '7'"):
        crywatch("compare", "7")


def test_a_store_that_is_gone_is_named(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Exception, match="tracking store"):
        crywatch("compare", "a", "b")
