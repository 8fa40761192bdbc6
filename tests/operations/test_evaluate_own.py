"""`crywatch evaluate`: a foreign detector on the pages of ours, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from crywatch.audio.segments import cut
from crywatch.audio.waves.cleaned import read_clean
from crywatch.cli import main as cli
from crywatch.core import params, paths
from crywatch.core.atomic import read_json
from crywatch.core.errors import ConfigError, CrywatchError, TableError
from crywatch.data.tables import empty, read_table, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.detection.detect import DetectConfig, detect_file
from crywatch.detection.detectors import Detector
from crywatch.detection.formats import to_jsonl
from crywatch.detection.systems import System
from crywatch.evaluation.scored import SHORTCUTS, SYSTEMS
from crywatch.tracking.store import open_store
from tests.helpers.baseline_cases import world
from tests.helpers.score_cases import CHANNELS, CONFIG, score, with_models

pytest_plugins = ["tests.helpers.tracking_fixtures"]
ROOT = Path(__file__).parents[2]
PEERS = [System(name, name, "", name) for name in ("robust/robust", "baselines/svc")]
# The sound's share of power around a cry's pitch, as one of the callables knows it.
THEIRS = """
import numpy as np

def tonal(wave):
    seconds = np.pad(wave, (0, -len(wave) % 16000)).reshape(-1, 16000)
    spectrum = np.abs(np.fft.rfft(seconds, axis=1)) ** 2
    return spectrum[:, 250:650].sum(axis=1) / (spectrum.sum(axis=1) + 1e-9)

def nan(wave):
    return np.full(len(wave) // 16000, np.nan)

tonal.rate_hz = nan.rate_hz = 16000
"""


class Theirs(Detector):
    """One of ours, as the callable is; or the peak of a second."""

    def __init__(self, name: str):
        super().__init__(name, 7)

    def score_stream(self, chunks):
        seconds = cut(np.concatenate(list(chunks)))
        if self.name == "robust/robust":
            return np.clip(np.abs(seconds).max(axis=1), 0, 1)
        spectrum = np.abs(np.fft.rfft(seconds, axis=1)) ** 2
        return spectrum[:, 250:650].sum(axis=1) / (spectrum.sum(axis=1) + 1e-9)


@pytest.fixture(scope="module")
def rebuild(tmp_path_factory):
    """A project whose stages up to ``score`` ran: clips, parameters and scores of two systems."""
    folder = tmp_path_factory.mktemp("rebuild")
    values = params.plain(path=ROOT / params.PARAMS_FILE)
    values["score"] = asdict(CONFIG)
    values["channels"] = CHANNELS
    values["tracking"]["uri"] = "sqlite:///mlflow.db"
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    (folder / "theirs.py").write_text(THEIRS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("crywatch.metrics.intervals.RESAMPLES", 60)
        made = world(folder / "data" / "clean")
        clips = read_table(made.clips, SPLIT_CLIPS)
        for table in paths.CLIPS_TABLES:
            rows = clips if table == paths.SPLIT_CLIPS else empty(SPLIT_CLIPS)
            write_table(rows, table, SPLIT_CLIPS)
        for table in paths.EVENTS_TABLES:
            write_table(empty(EVENTS), table, EVENTS)
        given = {name: with_models(folder / "models", PEERS) for name in (SHORTCUTS, SYSTEMS)}
        score(paths.SCORE, [made], given, lambda system: Theirs(system.name))
        yield folder
    sys.modules.pop("theirs", None)


@pytest.fixture
def here(rebuild, monkeypatch):
    """In its folder, with no path of the tests before that of the commands."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    return rebuild


def evaluate(*words):
    result = CliRunner().invoke(cli.app, ["evaluate", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def callable_pages(rebuild):
    """Of the callable, beside the system that does the same."""
    words = ("theirs:tonal", "--against", "baselines/svc", "--against", "robust/robust")
    return evaluate(*words), rebuild / "evaluated" / "tonal"


@pytest.fixture(scope="module")
def lines(rebuild):
    """What `crywatch detect --format jsonl` gives of all sounds that `--sounds` writes."""
    said = evaluate("--sounds", "sounds")
    config = DetectConfig("", 0.5, 1.0, 1.0)
    files = sorted(Path("sounds").rglob("*.flac"))
    assert f"{len(files)} files" in said
    return [to_jsonl(detect_file(path, Theirs("baselines/svc"), config)) for path in files]


def rows_of(pages, name):
    """Of tables.json by place, without what tells systems apart."""
    rows = read_json(pages / "systems" / "tables.json")["rows"]
    places = [row for row in rows if row["row"] == name]
    plain = ("mean", "sd", "low", "high")
    return {
        (row["channel"], row["scope"], row["unit"]): (
            row["n"],
            {key: [value[end] for end in plain] for key, value in row["metrics"].items()},
        )
        for row in places
    }


def test_a_callable_has_the_numbers_of_the_same_system(callable_pages):
    said, pages = callable_pages
    own, same = rows_of(pages, "own/tonal"), rows_of(pages, "baselines/svc")
    assert own == same and {channel for channel, *_ in own} == {"as recorded", "dull", "phone"}
    means = read_json(pages / "shortcuts" / "means.json")
    for table in ("channels", "factors", "background"):
        ours, theirs = (
            [{k: v for k, v in row.items() if k not in ("row", "system")} for row in means[table]
             if row["row"] == name]
            for name in ("own/tonal", "baselines/svc")
        )  # fmt: skip
        assert ours and ours == theirs, table
    other = rows_of(pages, "robust/robust")
    assert other.keys() == own.keys() and other != own
    assert "pooled: average precision" in said and "less that of baselines/svc: 0.000" in said
    text = (pages / "comparison.md").read_text()
    assert "AP less that of baselines/svc" in text and "trained on is not known here" in text
    assert "Corpora and kinds left out" not in text and (pages / "shortcuts.html").is_file()


def test_json_lines_have_the_numbers_of_the_detector_that_wrote_them(lines, here):
    """Into a folder of older pages, which are replaced."""
    Path("all.jsonl").write_text("\n".join(lines))
    Path("pages").mkdir()
    Path("pages", "comparison.html").write_text("older")
    evaluate("all.jsonl", "--against", "baselines/svc", "--out", "pages")
    assert Path("pages", "comparison.html").read_text() != "older"
    own, same = rows_of(Path("pages"), "own/all"), rows_of(Path("pages"), "baselines/svc")
    assert own.keys() == same.keys()
    for place in own:
        if place[0] == "as recorded":
            assert own[place] == same[place], place
        else:  # the sounds of channels are of 16 bits
            for metric, values in own[place][1].items():
                assert values == pytest.approx(same[place][1][metric], abs=0.02), (place, metric)


def test_only_what_has_scores_is_judged_if_it_is_said_so(lines, here):
    recorded = [line for line in lines if "/as recorded/" in line]
    few = [line for line in recorded if "-0.flac" in line]
    Path("few.jsonl").write_text("\n".join(few))
    n_missing, n = len(recorded) - len(few), len(recorded)
    told = rf"few.jsonl: {n_missing} of {n} clips have no scores as recorded \(cries/.*, \.\.\.\)"
    with pytest.raises(TableError, match=told):
        evaluate("few.jsonl")
    evaluate("few.jsonl", "--partial", "--name", "some", "--against", "baselines/svc")
    own, same = (rows_of(Path("evaluated/some"), name) for name in ("own/some", "baselines/svc"))
    assert own == same and {channel for channel, *_ in own} == {"as recorded"}
    assert own["as recorded", "pooled", "clip"][0] == sum("-test-" in line for line in few)


def test_a_clip_that_could_not_be_read_has_no_scores(lines, here):
    broken = json.dumps({"path": json.loads(lines[0])["path"], "error": "not decoded"})
    Path("broken.jsonl").write_text("\n".join([broken, *lines[1:]]))
    with pytest.raises(TableError, match=r"broken.jsonl: 1 of \d+ clips have no scores as rec"):
        evaluate("broken.jsonl")


def test_clips_of_the_training_part_are_passed_over(lines, here):
    clips = read_table(paths.SPLIT_CLIPS, SPLIT_CLIPS)
    path = clips.loc[clips["split"] == "train", "path"].iloc[0]
    detected = detect_file(Path(path), Theirs("x"), DetectConfig("", 0.5, 1.0, 1.0))
    recorded = [line for line in lines if "/as recorded/" in line]
    Path("train.jsonl").write_text("\n".join([*recorded, to_jsonl(detected)]))
    assert "pooled: average precision" in evaluate("train.jsonl")


def damaged(line, **changes):
    return json.dumps(json.loads(line) | changes)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda line: line[:-9], r"bad.jsonl, line 2: not JSON \(.*\): give lines as"),
        (lambda line: "[1]", "bad.jsonl, line 2: 'path' is missing or no str"),
        (lambda line: damaged(line, path=None), "bad.jsonl, line 2: 'path' is missing or no str"),
        (lambda line: '{"path": "x.wav"}', "bad.jsonl, line 2: 'seconds' is missing or no list"),
        (lambda line: damaged(line, path="x.wav"), "line 2: x.wav is no clip of this rebuild"),
        (lambda line: damaged(line, seconds=[]), "line 2: seconds: 0 scores, .* has 6 plain sec"),
        (lambda line: damaged(line, seconds=[3]), r"seconds\[0\]: 'start_s' or 'cry' is missing"),
        (
            lambda line: line.replace('"start_s": 3.0', '"start_s": 3.5'),
            r"line 2: seconds\[3\]: start_s is 3.5, not 3",
        ),
        (
            lambda line: damaged(line, seconds=[{"start_s": 0, "cry": float("nan")}]),
            r"line 2: seconds\[0\]: cry: nan is no probability",
        ),
        (
            lambda line: damaged(line, seconds=[{"start_s": 0, "cry": 1.5}]),
            r"line 2: seconds\[0\]: cry: 1.5 is no probability",
        ),
        (lambda line: f"{line}\n{line}", "bad.jsonl, line 3: .* has a line above"),
    ],
)
def test_what_is_wrong_with_a_line_is_told_with_its_place(lines, here, damage, told):
    recorded = [line for line in lines if "/as recorded/" in line]
    Path("bad.jsonl").write_text("\n".join([recorded[0], damage(recorded[1]), *recorded[2:]]))
    with pytest.raises(TableError, match=told) as error:
        evaluate("bad.jsonl")
    assert "\n" not in str(error.value) and not Path("evaluated/bad").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name a detector, or a folder with --sounds"),
        (["theirs:tonal", "more:tonal"], "name one .yaml file or module:function, or files of sc"),
        (["none.jsonl"], "none.jsonl: cannot be read"),
        (["none.yaml"], "none.yaml is missing"),
        (["theirs:tonal", "--against", "a/b"], "'a/b' was not compared; there are robust/robust"),
        (["theirs:tonal", "--name", "a/b"], "--name: .* is not a name for a folder"),
        (["theirs:nan"], r"/.*-0, as recorded: theirs:nan: second 0: nan is no probability"),
        (["theirs:tonal", "--out", "."], r"--out: .* would be replaced, and \S+ is no page"),
        (["theirs:tonal", "--out", "theirs.py"], r"--out: .*theirs\.py would be replaced"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(here, words, told):
    with pytest.raises(CrywatchError, match=told):
        evaluate(*words)
    assert Path("theirs.py").read_text() == THEIRS


@pytest.fixture
def settings(here):
    """What changes a section of params.yaml, which is as before after the test."""
    file = here / params.PARAMS_FILE
    text = file.read_text()

    def change(section, **changes):
        values = yaml.safe_load(text)
        values[section] |= changes
        file.write_text(yaml.safe_dump(values))

    yield change
    file.write_text(text)


def test_without_a_usual_system_one_must_be_named(settings):
    settings("detect", model="data/train_blazenet/all_1s")
    told = "neither detect.model nor yamnet/zero_shot was compared: .*baselines/svc, robust/robust"
    with pytest.raises(ConfigError, match=told):
        evaluate("theirs:tonal")


def test_a_run_of_its_own_records_it(project, here, settings, monkeypatch):
    """By the default detector as what it is compared with."""
    settings("tracking", uri=f"sqlite:///{project}/mlflow.db")
    monkeypatch.chdir(here)
    evaluate("theirs:tonal", "--track", "--name", "tracked")
    store = open_store()
    (run,) = store.client.search_runs([store.experiment_id], "tags.`crywatch.own.source` != ''")
    assert run.info.run_name == "evaluate own/tracked" and run.info.status == "FINISHED"
    assert run.data.tags["crywatch.own.against"] == "robust/robust"
    assert 0 < run.data.metrics["systems/auc_pooled"] <= 1
    assert {f.path for f in store.client.list_artifacts(run.info.run_id)} >= {"comparison.html"}


def test_the_sounds_are_those_that_are_heard(lines, here):
    clips = read_table(paths.SPLIT_CLIPS, SPLIT_CLIPS).set_index("clip_id")
    clip = clips.loc["mixed/rain-test-0"]
    tail = Path(clip["path"]).parts[-3:]
    assert (read_clean(Path("sounds", "as recorded", *tail)) == read_clean(clip["path"])).all()
    quiet = read_clean(Path("sounds", "quiet", *tail))
    assert quiet == pytest.approx(0.1 * read_clean(clip["path"]), abs=2**-15)
    assert not list(Path("sounds").rglob("*train*"))
    assert not list(Path("sounds", "quiet").rglob("*-val-*"))
