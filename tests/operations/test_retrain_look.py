"""What is noticed of corpora, of the commit, and of recent recordings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.core.paths import NO_CORPUS
from crywatch.operations.retrain import champion, look
from crywatch.operations.retrain.decide import Decision, compare, decide
from crywatch.operations.retrain.look import Inputs, Look, Source
from crywatch.operations.retrain.record import Changes, State
from crywatch.tracking import registry
from tests.helpers.dag import ROOT
from tests.helpers.retrain_cases import commit, corpus, make_project, put, write_params


@pytest.fixture
def project(tmp_path) -> Path:
    return make_project(tmp_path)


# Folders


def files_of(project: Path) -> dict[str, str]:
    return look.look(project, "sha", [], False, {}).corpora["sounds"].files


def test_files_are_compared_by_content(project):
    put(corpus(project) / "b" / "c.wav", "c")
    before = files_of(project)
    assert set(before) == {"alice.wav", "bob.wav", "b/c.wav"}
    (corpus(project) / "bob.wav").touch()
    for left in (".DS_Store", "b/._c.wav", "Thumbs.db", "d.wav.part"):
        put(corpus(project) / left, "left")
    assert files_of(project) == before
    put(corpus(project) / "alice.wav", "other")
    assert compare(before, files_of(project)) == Changes(changed=("alice.wav",))


def test_links_to_files_are_followed_and_loops_are_not(project):
    put(project.parent / "elsewhere" / "a.wav", "a")
    (corpus(project) / "linked.wav").symlink_to(project.parent / "elsewhere" / "a.wav")
    (corpus(project) / "loop").symlink_to(corpus(project))
    before = files_of(project)
    assert set(before) == {"alice.wav", "bob.wav", "linked.wav"}
    put(project.parent / "elsewhere" / "a.wav", "another")
    assert compare(before, files_of(project)).changed == ("linked.wav",)


def test_a_corpus_is_looked_for_where_it_is_read_from(project):
    put(project.parent / "own" / "b.wav", "b")
    (project / NO_CORPUS).mkdir(parents=True)

    def look_at(folder: str, source: str = "generated", **before: Source) -> Look:
        write_params(project, folder=folder, data={"source": source})
        return look.look(project, "sha", [], False, before)

    assert list(look_at(f"{project.parent}/./own/").corpora["sounds"].files) == ["b.wav"]
    assert look_at(str(NO_CORPUS)).corpora["sounds"] == Source("generated", {})
    before = Source("folder", {"b.wav": "1"})
    gone = look_at(str(project.parent / "gone"), "mirror", sounds=before)
    assert gone.notes == ("corpus sounds: its folder is not there",) and gone.away
    assert gone.corpora["sounds"] == before
    with pytest.raises(ConfigError, match="data.mirror.*the root on"):
        look_at("../own", "mirror")


@dataclass(frozen=True)
class Answer:
    headers: dict

    def raise_for_status(self) -> None:
        pass


def test_publishers_are_asked_by_head_where_that_is_allowed(monkeypatch):
    import requests

    addresses, etags = [], ["1"]

    def head(url, **how):
        addresses.append(url)
        if etags[0] == "down":
            raise requests.ConnectionError("no route")
        return Answer({"ETag": etags[0]})

    values = {
        "data": {"source": "publishers", "mirror": ""},
        "corpora": {"esc50": {"folder": str(NO_CORPUS)}},
        "corpus": {"esc50": {"folder": str(NO_CORPUS)}},
    }

    def look_at(ask: bool = True, **before: Source) -> Look:
        return look.look(Path(), "sha", [], ask, before)

    monkeypatch.setattr(requests, "head", head)
    monkeypatch.setattr(look, "read_inputs", lambda *_: Inputs({}, {}, {}))
    monkeypatch.setattr(look.params, "plain", lambda path: values)
    assert look_at(ask=False).corpora["esc50"].files == {} and addresses == []
    first = look_at().corpora["esc50"]
    assert first.files and addresses
    assert look_at(esc50=first).corpora["esc50"] == first
    etags[0] = "2"
    assert compare(first.files, look_at(esc50=first).corpora["esc50"].files).changed
    assert look_at(ask=False, esc50=first).corpora["esc50"] == first
    etags[0] = "down"
    silent = look_at(esc50=first)
    assert silent.corpora["esc50"].files == first.files and "no answer" in silent.notes[0]


# The commit


def read_inputs(project: Path) -> Inputs:
    return look.read_inputs(project, look.params.plain(path=project / "params.yaml"))


def test_what_dvc_sees_of_a_project(project):
    before = read_inputs(project)
    assert set(before.files) == {"dvc.yaml", "stage.py", "src/train/__init__.py"}
    assert set(before.params) == {"corpora.sounds.folder", "corpus.sounds", "train"}
    assert set(before.folders) == {str(corpus(project))}
    (project / "README.md").write_text("two")
    plan = yaml.safe_load((project / "dvc.yaml").read_text())
    plan["stages"]["download"]["do"]["desc"] = "another word for it"
    (project / "dvc.yaml").write_text(yaml.safe_dump(plan))
    assert read_inputs(project) == before
    assert not (project / "dvc.lock").exists()
    plan["stages"]["train"]["cmd"] += " --fast"
    (project / "dvc.yaml").write_text(yaml.safe_dump(plan))
    assert compare(before.files, read_inputs(project).files).changed == ("dvc.yaml",)


@pytest.mark.parametrize("plan", ["nothing: 1\n", "stages: [", "stages: {train: {deps: [a]}}\n"])
def test_a_commit_without_stages_is_an_error(project, plan):
    (project / "dvc.yaml").write_text(plan)
    commit(project)
    with pytest.raises(CrywatchError, match="dvc.yaml"):
        read_inputs(project)


def test_what_the_stages_of_this_project_read():
    inputs = read_inputs(ROOT)
    files = set(inputs.files)
    assert {"pipelines/download.py", "src/crywatch/audio/decode/__init__.py", "dvc.yaml"} <= files
    assert not [name for name in files if "studies/" in name]
    assert not any(path.startswith(("tests/", "docs/", "data/")) for path in files)
    sections = {key.partition(".")[0] for key in inputs.params}
    assert {"seed", "corpora", "train_robust", "data"} <= sections
    # What only commands read is no reason to rebuild.
    assert not {"retrain", "drift", "tracking", "detect"} & sections


# The decision


def a_state(**corpora: Source) -> State:
    return State("000001", "sha", {"a": "1"}, {"train": "1"}, corpora, [], "promoted", 1)


def a_look(targets: list[str] | None = None, **corpora: Source) -> Look:
    return Look("sha", Inputs({"a": "1"}, {"train": "1"}, {}), corpora, targets or [])


def decision(state: State | None, now: Look) -> Decision:
    return decide(state, now, ["commit", "params", "data"], "")


def test_publishers_that_are_asked_for_the_first_time_have_not_changed():
    silent, answer = Source("publishers", {}), Source("publishers", {"x.zip": "1"})
    assert decision(a_state(a=silent), a_look(a=answer)).reasons == ()
    changed = decision(a_state(a=answer), a_look(a=Source("publishers", {"x.zip": "2"})))
    assert changed.fetch == ("a",) and changed.reasons == ("corpus a: 1 changed file(s)",)


def test_a_corpus_from_elsewhere_and_other_targets_are_reasons():
    folder = Source("folder", {"x": "1"})
    found = decision(a_state(a=Source("generated", {})), a_look(a=folder))
    assert found.fetch == () and "comes from elsewhere" in found.reasons[0]
    assert decision(a_state(a=folder), a_look(["train"], a=folder)).reasons == (
        "retrain.targets changed",
    )


def test_the_key_is_of_contents_and_not_of_the_commit():
    folder = Source("folder", {"x": "1"})
    other = Look("another sha", Inputs({"a": "1"}, {"train": "1"}, {}), {"a": folder}, [])
    assert a_look(a=folder).key == other.key
    assert a_look(a=folder).key != a_look(a=Source("folder", {"x": "2"})).key


# Recent recordings

VALUES = {
    "seed": 1,
    "register": {"name": "cry-detector"},
    "drift": {"reference_clips": 10, "min_recordings": 2, "newest": 3},
}


def looked(project: Path, recordings: str, compared: str = "") -> champion.Drift:
    return champion.look_for_drift(project, recordings, VALUES, compared, project / "champion")


def test_the_newest_recordings_are_compared_with_the_champion_once(tmp_path, monkeypatch):
    from crywatch.operations import drift

    for i in range(5):
        put(tmp_path / "new" / f"{i}.wav", str(i))
        os.utime(tmp_path / "new" / f"{i}.wav", ns=(i * 10**9, i * 10**9))
    (tmp_path / "new" / "notes.txt").write_text("no sound")
    digests = iter(["a" * 64, "b" * 64])
    kept = tmp_path / "champion"

    def brought(what):
        def bring(_store, _version, *words):
            words[-1].mkdir(parents=True)
            (words[-1] / what).write_text(what)
            return words[-1]

        return bring

    seen = []

    def compare(reference, files, model, config, seed):
        seen.append([path.name for path in files])
        assert (model / "model").is_file() and (reference / "reference").is_file()
        return drift.DriftReport(10, 3, 0, (), "nothing new")

    def find(*words):
        tags = {registry.DIGEST: next(digests)}
        return registry.ModelVersion("cry-detector", 4, "run", ("champion",), tags)

    monkeypatch.setattr(registry, "open_registry", lambda: None)
    monkeypatch.setattr(registry, "find", find)
    monkeypatch.setattr(registry, "download", brought("model"))
    monkeypatch.setattr(registry, "download_artifact", brought("reference"))
    monkeypatch.setattr(drift, "check_drift", compare)
    found = looked(tmp_path, "new")
    assert seen == [["2.wav", "3.wav", "4.wav"]]
    assert found.note == "drift against version 4: nothing new"
    again = looked(tmp_path, "new", found.recordings)
    assert again.report is None and "no new recordings" in again.note and len(seen) == 1
    assert [path.name for path in kept.iterdir()] == ["a" * 64]
    # Another store may give the same number to another model.
    assert looked(tmp_path, "new", "other recordings").report is not None
    assert [path.name for path in kept.iterdir()] == ["b" * 64]


def test_what_stands_in_the_way_of_a_comparison_is_said(tmp_path, monkeypatch):
    assert looked(tmp_path, "") == champion.Drift("")
    assert "is not there" in looked(tmp_path, "new").note
    put(tmp_path / "new" / "a.wav", "a")
    assert "1 recordings, 2 are needed" in looked(tmp_path, "new").note
    put(tmp_path / "new" / "b.wav", "b")
    monkeypatch.setattr(registry, "open_registry", lambda: None)
    monkeypatch.setattr(registry, "find", lambda *words: None)
    found = looked(tmp_path, "new")
    assert "no champion yet" in found.note
    assert found.recordings == ""  # looked for again by the next run
