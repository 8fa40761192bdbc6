"""The check of the corpora at each state: absent, raw, cleaned, split; and what is wrong."""

import contextlib
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from crywatch import corpora
from crywatch.cli import main as cli
from crywatch.core import params, paths
from crywatch.core.atomic import write_json
from crywatch.core.errors import ConfigError
from crywatch.core.paths import MISSING_NOTE
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.corpora.shared.recordings_table import read_recordings
from crywatch.data import clean, split
from crywatch.data.check import check_corpus, check_folder, missing_lines, render
from crywatch.data.clean import CleanConfig
from crywatch.data.counts import count_split, reason_kind
from crywatch.data.split import SplitConfig
from crywatch.data.tables import read_table, write_table
from crywatch.data.tables.clips import CLIPS, EVENTS, SPLIT_CLIPS

CONF = Path(__file__).parents[2] / "conf"
TINY = GeneratorConfig(3, 2, 3, 2, 2, other_infants=3)
NAMES = [name for name in corpora.NAMES if name != "esc10"]  # whose samples are ESC-50's


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A project with all corpora in their publishers' layouts; read only."""
    root = tmp_path_factory.mktemp("raw")
    for name in NAMES:
        generate(name, root / paths.raw(name), TINY)
    write_params(root)
    return root


@pytest.fixture(scope="module")
def done(raw, tmp_path_factory):
    """The same, cleaned and split, with a copy of a clip across and one within; read only."""
    root = tmp_path_factory.mktemp("done")
    shutil.copytree(raw, root, dirs_exist_ok=True)
    cries = root / paths.raw("esc50") / "ESC-50-master" / "audio"
    copied = sorted(cries.glob("*-20.wav"))[0]
    target = root / paths.raw("recordings")
    shutil.copy(copied, target / "copied.wav")
    shutil.copy(copied, target / "copied again.wav")
    (target / "broken.wav").write_bytes(b"no sound")
    with open(target / "recordings.csv", "a") as table:
        for name in ("copied", "copied again", "broken"):
            table.write(f"{name}.wav,cry,,,\n")
    config = params.typed(params.compose([], CONF).clean, CleanConfig, "clean")
    composed = params.compose(["split.infants.only=[]"], CONF).split
    split_config = params.typed(composed, SplitConfig, "split")
    with contextlib.chdir(root):  # as stages do: the tables' paths are those below the project
        for name in NAMES:
            raw_dir, clean_dir = paths.raw(name), paths.clean(name)
            clean.run(corpora.get(name), config, raw_dir, clean_dir, paths.WORK / name)
        folders = [paths.clean(name) for name in NAMES]
        kinds = params.plain(path=CONF / "kinds.yaml")
        split.run(folders, split_config, 1, paths.SPLIT, paths.SPLIT_INFANTS, kinds)
    return root


@pytest.fixture
def project(done, tmp_path):
    """A copy that a test may break."""
    shutil.copytree(done, tmp_path / "project")
    return tmp_path / "project"


def write_params(root, names=tuple(NAMES)):
    (root / "params.yaml").write_text(f"corpora: [{', '.join(names)}]\n")


def check(root, monkeypatch, *arguments):
    monkeypatch.chdir(root)
    return CliRunner().invoke(cli.app, ["data", "check", *arguments])


def line(output, name):
    """The numbers of a corpus in the table."""
    return next(row for row in output.splitlines() if row.startswith(f"{name} ")).split()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_indexed_and_nothing_is_made(name, raw, tmp_path, monkeypatch):
    folder = raw / paths.raw(name)
    result = check(tmp_path, monkeypatch, name, "--folder", str(folder))
    assert result.exit_code == 0, result.output
    found = check_folder(name, folder)
    assert found.counts.clips > 0 and found.counts.seconds is None
    assert line(result.output, name)[:4] == [name, "folder", str(found.counts.clips), "-"]
    assert f'corpus.{name}.folder="{folder}"' in result.output
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_raw_and_split_count_the_same_clips(name, raw, done):
    before, after = (check_corpus(name, root, NAMES) for root in (raw, done))
    assert (before.state, after.state) == ("raw", "split")
    assert not before.problems and not after.problems and not after.missing
    assert f"`dvc repro clean@{name}`" in before.missing[0]
    more = 2 if name == "recordings" else 0
    assert after.counts.clips == before.counts.clips + more
    assert after.counts.seconds > 0
    assert sum(after.split.parts.values()) == after.counts.clips
    if not more:
        for field in ("labels", "categories", "licences", "recordings", "infants", "events"):
            assert getattr(after.counts, field) == getattr(before.counts, field)


def test_kinds_of_other_sounds_are_counted(done, monkeypatch):
    found = check_corpus("esc50", done, NAMES).split
    assert found.kinds["dog"] == 2 and not found.unnamed
    assert "kinds of other sounds: " in check(done, monkeypatch, "esc50").output


def test_all_corpora_stand_in_one_table(done, monkeypatch):
    result = check(done, monkeypatch)
    assert result.exit_code == 0, result.output
    assert result.output == check(done, monkeypatch, "--all").output
    assert [row.split()[0] for row in result.output.splitlines()[1 : 1 + len(NAMES)]] == NAMES
    assert max(len(row) for row in result.output.splitlines()[: 1 + len(NAMES)]) <= 120
    table = read_table(done / paths.clean("icsd") / "events.parquet", EVENTS)
    assert line(result.output, "icsd")[9] == str(len(table)) != "0"


def test_duplicates_are_told_within_and_across(done, monkeypatch):
    found = check_corpus("recordings", done, NAMES).split.duplicates
    assert (found.within, found.across, found.clusters) == (2, 2, 1)
    # The generator puts ESC-50's cries into the other corpus, as its publisher did.
    assert found.corpora == {"baby_cry_detection": 2, "esc50": 2}
    there = check_corpus("esc50", done, NAMES).split.duplicates
    assert there.within == 0 and there.corpora["recordings"] == 1
    assert there.across == there.corpora["baby_cry_detection"] > 0
    output = check(done, monkeypatch, "recordings").output
    assert "the same sound in other corpora: baby_cry_detection 2, esc50 2" in output


def test_wrong_clocks_are_told(raw, project, tmp_path, monkeypatch):
    folder = tmp_path / "own"
    shutil.copytree(raw / paths.raw("recordings"), folder)
    table = folder / "recordings.csv"
    files = [row.path for row in read_recordings(folder)][:3]
    times = ("2000-01-01T00:00:00Z", "2190-01-01T00:00:00Z", "2015-01-01T00:00:00Z")
    rows = [f"{path},cry,,{time}," for path, time in zip(files, times, strict=True)]
    table.write_text("path,label,infant,recorded_at,category\n" + "\n".join(rows) + "\n")
    result = check(tmp_path, monkeypatch, "recordings", "--folder", str(folder))
    assert result.exit_code == 1 and f"{files[0]}: 2000-01-01T00:00:00+00:00 is" in result.output
    assert "WRONG: times of recording: 2 (" in result.output and "is after now" in result.output
    assert f"doubtful: times of recording: 1 ({files[2]}: 2015-01-01" in result.output
    # Those of a publisher are nobody's to correct; and what is cleaned is looked at too.
    for name, wrong in (("recordings", True), ("donateacry", False)):
        path = project / paths.clean(name) / "clips.parquet"
        clips = read_table(path, CLIPS)
        clips["recorded_at"] = pd.Timestamp("1970-01-01", tz="UTC")
        write_table(clips, path, CLIPS)
        told = check_corpus(name, project, NAMES)
        assert any("before 2000" in text for text in (told.problems if wrong else told.doubts))


def test_what_was_refused_is_told_with_its_reason(done, monkeypatch):
    output = check(done, monkeypatch, "recordings").output
    assert "refused (1)" in output and "1  not a recording that can be read" in output


def test_the_terms_are_told(raw, monkeypatch):
    output = check(raw, monkeypatch).output
    assert "CC BY-NC 3.0; commercial use not allowed" in output
    assert "licences of the clips: CC BY 3.0 " in output


def test_one_only_cleaned_says_what_splits_it(project, monkeypatch):
    shutil.rmtree(project / paths.SPLIT)
    result = check(project, monkeypatch, "esc50")
    assert result.exit_code == 0
    assert line(result.output, "esc50")[1] == "cleaned"
    assert line(result.output, "esc50")[-2:] == ["-", "-"]
    assert "`dvc repro split`" in result.output


def test_a_split_of_other_clips_does_not_count(project):
    file = project / paths.clean("esc50") / "clips.parquet"
    clips = read_table(file, CLIPS)
    assert count_split(clips, project / paths.SPLIT, project / paths.SPLIT_INFANTS) is not None
    clips.loc[0, "sha256"] = "0" * 64
    write_table(clips, file, CLIPS)
    found = check_corpus("esc50", project, NAMES)
    assert found.state == "cleaned" and "does not cover" in found.missing[0]


def test_one_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    write_params(tmp_path, ["esc50"])
    result = check(tmp_path, monkeypatch)
    assert result.exit_code == 1
    assert "`dvc repro download@esc50` brings it" in result.output
    result = check(tmp_path, monkeypatch, "chillanto")
    assert result.exit_code == 1
    assert "dvc exp run -S 'corpora=[esc50,chillanto]'" in result.output
    assert corpora.get("chillanto").obtain in result.output


def test_one_that_could_not_be_had_is_told(tmp_path, monkeypatch):
    write_params(tmp_path, ["esc50"])
    folder = tmp_path / paths.raw("esc50")
    folder.mkdir(parents=True)
    (folder / MISSING_NOTE).write_text("esc50 could not be had: HTTP 404\n")
    result = check(tmp_path, monkeypatch)
    assert result.exit_code == 1 and "WRONG: esc50 could not be had: HTTP 404" in result.output


def test_the_end_of_a_rebuild_tells_what_did_not_come_and_is_quiet_where_all_did(tmp_path):
    def lines(source: str, **folders: str) -> list[str]:
        named = {name: {"folder": folder} for name, folder in folders.items()}
        text = yaml.safe_dump({"data": {"source": source}, "corpora": named})
        (tmp_path / params.PARAMS_FILE).write_text(text)
        return missing_lines(tmp_path)

    none, own = "conf/corpora/none", str(tmp_path)
    for name in ("esc50", "icsd"):
        (tmp_path / paths.raw(name)).mkdir(parents=True)
        summary = {"n_clips": 3, "seconds": 1800.0, "n_quarantined": 1}
        write_json(tmp_path / paths.clean(name) / "summary.json", summary)
    assert lines("publishers", esc50=none, icsd=none, donateacry=none) == []
    note = "icsd could not be had: HTTP 403 Forbidden. Accept the terms\n"
    (tmp_path / paths.raw("icsd") / MISSING_NOTE).write_text(note)
    head, columns, *rows = lines("publishers", esc50=none, icsd=none, donateacry=none)
    assert "not all" in head and columns.split()[:4] == ["corpus", "came", "clips", "hours"]
    assert [row.split()[:5] for row in rows[:2]] == [
        ["esc50", "all", "3", "0.50", "1"],
        ["icsd", "nothing", "3", "0.50", "1"],
    ]
    assert rows[3].startswith("icsd: HTTP 403 Forbidden. Accept the terms; then `dvc repro -f -s ")
    # Of what a program generates nothing is missing; of one's own folder it may.
    assert lines("generated", icsd=none) == [] and lines("generated", icsd=own)


@pytest.mark.parametrize("harm", ["lost", "empty", "stray"])
def test_a_table_that_does_not_fit_the_audio_is_wrong(harm, project, monkeypatch):
    audio = project / paths.clean("esc50") / "audio"
    file = sorted(audio.glob("*.flac"))[0]
    if harm == "lost":
        file.unlink()
    elif harm == "empty":
        file.write_bytes(b"")
    else:
        file = audio / "stray.flac"
        file.write_bytes(b"x")
    result = check(project, monkeypatch, "esc50")
    assert result.exit_code == 1
    assert f"WRONG: data/clean/esc50: 1 ({file.name}) is" in result.output
    assert "`dvc repro -f -s clean@esc50`" in result.output
    # The others are still told.
    assert check(project, monkeypatch, "--all").output.count("WRONG") == 1


def test_a_broken_table_is_told(project):
    (project / paths.clean("esc50") / "events.parquet").write_bytes(b"no table")
    found = check_corpus("esc50", project, NAMES)
    assert "events.parquet cannot be read" in found.problems[0] and found.counts is None
    assert "esc50" in render([found])


def test_a_corpus_of_which_nothing_is_left_is_wrong(project):
    file = project / paths.clean("esc50") / "clips.parquet"
    write_table(read_table(file, CLIPS).iloc[:0], file, CLIPS)
    for flac in file.parent.glob("audio/*.flac"):
        flac.unlink()
    assert "every file was refused" in check_corpus("esc50", project, NAMES).problems[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_out_of_layout_is_told(name, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    result = check(tmp_path, monkeypatch, name, "--folder", "folder")
    assert result.exit_code == 1 and "WRONG: folder: " in result.output
    result = check(tmp_path, monkeypatch, name, "--folder", "nowhere")
    assert result.exit_code == 1 and "nowhere: no such folder" in result.output


@pytest.mark.parametrize("arguments", [["dogs"], ["dogs", "--folder", "."]])
def test_an_unknown_corpus_is_told_with_those_there_are(arguments, raw, monkeypatch):
    result = check(raw, monkeypatch, *arguments)
    assert isinstance(result.exception, ConfigError)
    assert "'dogs' is unknown; there are esc50, " in str(result.exception)


@pytest.mark.parametrize("arguments", [["--folder", "."], ["esc50", "--all"]])
def test_options_that_do_not_go_together(arguments, raw, monkeypatch):
    result = check(raw, monkeypatch, *arguments)
    assert result.exit_code == 1 and "--" in str(result.exception)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("12 ms, shorter than 0.1 s", "N ms, shorter than N s"),
        ("silent (peak -97 dBFS)", "silent (peak N dBFS)"),
        ("not listed in meta/esc50.csv", "not listed in meta/esc50.csv"),
        ("its MPEG-4 header", "its MPEG-4 header"),
    ],
)
def test_reasons_are_counted_without_what_was_measured(reason, kind):
    assert reason_kind(reason) == kind


@pytest.mark.parametrize(
    "folder", ["plain", "my, folder (1) ü", "it's [x]=~y", r"a\b\\ \"c\" $HOME `d` \\", "e\\"]
)
def test_the_command_for_a_folder_is_right_as_it_stands(folder, raw, tmp_path):
    shutil.copytree(raw / paths.raw("recordings"), tmp_path / folder)
    for listed, expected in (
        (["esc50"], ["esc50", "recordings"]),
        (["esc50", "recordings"], params.compose([], CONF).corpora),
    ):
        [told] = check_folder("recordings", tmp_path / folder, listed).missing
        words = shlex.split(told.partition("dvc exp run ")[2])
        config = params.compose([word for word in words if word != "-S"], CONF)
        assert list(config.corpora) == list(expected)
        assert config.corpus.recordings.folder == str(tmp_path / folder)


def test_one_that_could_not_be_had_and_was_cleaned_still_says_why(tmp_path, monkeypatch):
    write_params(tmp_path, ["esc50"])
    raw = tmp_path / paths.raw("esc50")
    raw.mkdir(parents=True)
    (raw / MISSING_NOTE).write_text("esc50 could not be had: HTTP 404\n")
    config = params.typed(params.compose([], CONF).clean, CleanConfig, "clean")
    clean.run(corpora.get("esc50"), config, raw, tmp_path / paths.clean("esc50"), tmp_path / "work")
    result = check(tmp_path, monkeypatch)
    assert result.exit_code == 1 and "WRONG: esc50 could not be had: HTTP 404" in result.output
    assert "every file was refused" not in result.output


def test_a_repair_of_what_params_yaml_does_not_list_names_what_lists_it(project):
    (project / paths.clean("icsd") / "events.parquet").write_bytes(b"no table")
    assert "`dvc repro -f -s clean@icsd`" in check_corpus("icsd", project, ["icsd"]).problems[0]
    [problem] = check_corpus("icsd", project, ["esc50"]).problems
    assert "dvc exp run -S 'corpora=[esc50,icsd]'" in problem and "clean@icsd" not in problem


def test_other_grounds_than_the_first_are_told_where_they_are_written(project):
    index = {f"not in table {chr(97 + i)}": 1 for i in range(10)}
    for state, told in (("folder", False), ("raw", False), ("split", True)):
        found = check_corpus("esc50", project, NAMES)
        counts = replace(found.counts, quarantined=index)
        output = render([replace(found, state=state, counts=counts)])
        assert "on 2 other grounds" in output and ("quarantine.parquet" in output) == told


def test_the_command_that_it_names_composes():
    config = params.compose(
        ["corpora=[esc50,icsd]", "corpus.icsd.folder=/some/folder", "corpus.recordings.folder=x"],
        CONF,
    )
    assert config.corpus.icsd.folder == "/some/folder" and config.corpus.recordings.folder == "x"


def test_no_clip_is_counted_twice():
    clusters = pd.DataFrame({"cluster_id": ["c"] * 3, "clip_id": ["a/1", "a/2", "b/1"]})
    from crywatch.data.counts import _duplicates

    found = _duplicates(clusters, {"a/1", "a/2", "a/3"})
    assert (found.within, found.across, found.corpora) == (2, 2, {"b": 2})


def test_a_corpus_that_the_detector_does_not_hear_is_found_among_the_infants(project, tmp_path):
    clips = read_table(project / paths.clean("donateacry") / "clips.parquet", CLIPS)
    infants = read_table(project / paths.SPLIT_INFANTS / "clips.parquet", SPLIT_CLIPS)
    (tmp_path / "split").mkdir()
    for name in ("clips", "duplicates"):
        shutil.copy(project / paths.SPLIT / f"{name}.parquet", tmp_path / "split")
    every = read_table(tmp_path / "split/clips.parquet", SPLIT_CLIPS)
    corpus = clips["corpus"].iloc[0]
    heard = every[every["corpus"] != corpus]
    write_table(heard, tmp_path / "split/clips.parquet", SPLIT_CLIPS)
    found = count_split(clips, tmp_path / "split", project / paths.SPLIT_INFANTS)
    assert sum(found.parts.values()) == (infants["corpus"] == corpus).sum() > 0
    assert count_split(clips, tmp_path / "split", tmp_path / "none") is None
