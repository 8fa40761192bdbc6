"""What is seen of corpora, of the commit, and of recent recordings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.core.paths import NO_CORPUS
from crywatch.operations.retrain import champion, recipe, watch
from crywatch.operations.retrain.decide import Look, decide
from crywatch.operations.retrain.recipe import Recipe
from crywatch.operations.retrain.record import State
from crywatch.operations.retrain.watch import Changes, Seen, changes, listing
from crywatch.tracking import registry
from tests.helpers.dag import ROOT
from tests.helpers.retrain_cases import commit, make_project, put

# Folders


def test_only_what_looks_new_is_read(tmp_path, monkeypatch):
    folder, cache = tmp_path / "sounds", tmp_path / "cache.json"
    for name in ("a.wav", "b/c.wav"):
        put(folder / name, name)
    first = listing(folder, cache)
    read = []
    real = watch.file_sha256
    monkeypatch.setattr(watch, "file_sha256", lambda path: read.append(path.name) or real(path))
    assert listing(folder, cache) == first and read == []
    put(folder / "a.wav", "other")
    assert changes(first, listing(folder, cache)) == Changes(changed=("a.wav",))
    assert read == ["a.wav"]


def test_a_file_that_changed_just_now_is_read_again_next_time(tmp_path):
    folder, cache = tmp_path / "sounds", tmp_path / "cache.json"
    put(folder / "a.wav", "one")
    path = folder / "a.wav"
    path.write_text("two")
    then_ns = path.stat().st_mtime_ns
    first = listing(folder, cache)
    path.write_text("six")  # within the same tick of the file system's clock
    os.utime(path, ns=(then_ns, then_ns))
    assert listing(folder, cache) != first


def test_links_are_followed_and_loops_are_not(tmp_path):
    put(tmp_path / "elsewhere" / "a.wav", "a")
    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    assert list(listing(folder, tmp_path / "cache.json")) == ["linked/a.wav"]


def corpus(values: dict, before: Seen | None = None, ask: bool = False) -> Seen:
    return watch.corpus("esc50", values, ask, before, Path("none.json"), write=False)


def test_a_corpus_is_looked_for_where_it_is_read_from(tmp_path):
    put(tmp_path / "own" / "b.wav", "b")

    def read_from(folder: str, source: str = "generated") -> Seen:
        return corpus({"data": {"source": source}, "corpus": {"esc50": {"folder": folder}}})

    assert list(read_from(str(tmp_path / "own")).files) == ["b.wav"]
    assert read_from(str(NO_CORPUS)) == Seen("generated", {})
    assert read_from(str(tmp_path / "gone"), "mirror").said == "its folder is not there"
    with pytest.raises(ConfigError, match="data.mirror.*the root on"):
        read_from("../corpora/esc50", "mirror")


@dataclass(frozen=True)
class Answer:
    headers: dict

    def raise_for_status(self) -> None:
        pass


def test_publishers_are_asked_by_head_where_that_is_allowed(monkeypatch):
    import requests

    asked, etags = [], ["1"]

    def head(url, **how):
        asked.append(url)
        if etags[0] == "down":
            raise requests.ConnectionError("no route")
        return Answer({"ETag": etags[0]})

    monkeypatch.setattr(requests, "head", head)
    values = {"data": {"source": "publishers", "mirror": ""}, "corpus": {"esc50": {"folder": ""}}}
    assert corpus(values).files == {} and asked == []
    first = corpus(values, ask=True)
    assert first.files and asked
    assert corpus(values, first, ask=True) == first
    etags[0] = "2"
    assert changes(first.files, corpus(values, first, ask=True).files).changed
    etags[0] = "down"
    silent = corpus(values, first, ask=True)
    assert silent.files == first.files and "no answer" in silent.said


# The commit


@pytest.fixture
def project(tmp_path) -> Path:
    return make_project(tmp_path)


def read(project: Path, ref: str = "HEAD") -> Recipe:
    return recipe.read(project, ref, yaml.safe_load((project / "params.yaml").read_text()))


def test_what_dvc_sees_of_a_commit(project):
    found = read(project)
    assert set(found.files) == {"dvc.yaml", "stage.py", "src/train/__init__.py"}
    assert set(found.params) == {"corpora", "corpus", "train"}
    (project / "README.md").write_text("two")
    plan = yaml.safe_load((project / "dvc.yaml").read_text())
    plan["stages"]["download"]["do"]["desc"] = "another word for it"
    (project / "dvc.yaml").write_text(yaml.safe_dump(plan))
    commit(project)
    assert read(project).files == found.files
    assert read(project).commit != read(project, "HEAD~1").commit == found.commit
    plan["stages"]["train"]["cmd"] += " --fast"
    (project / "dvc.yaml").write_text(yaml.safe_dump(plan))
    commit(project)
    assert changes(found.files, read(project).files).changed == ("dvc.yaml",)


def test_a_commit_without_stages_or_a_folder_without_git_is_said(project, tmp_path):
    with pytest.raises(CrywatchError, match=r"retrain\.ref"):
        read(project, "nowhere")
    with pytest.raises(CrywatchError, match=r"retrain\.ref"):
        recipe.read(tmp_path, "HEAD", {})
    (project / "dvc.yaml").write_text("nothing: 1\n")
    commit(project)
    with pytest.raises(CrywatchError, match="no stages"):
        read(project)


def test_this_projects_own_recipe_names_what_its_stages_read():
    from crywatch.core import params

    found = recipe.read(ROOT, "HEAD", params.plain(path=ROOT / "params.yaml"))
    assert {"pipelines/download.py", "src/crywatch/audio/decode.py", "dvc.yaml"} <= set(found.files)
    assert not any(path.startswith(("tests/", "docs/")) for path in found.files)
    assert {"seed", "corpora", "train_robust", "data"} <= set(found.params)
    # What only commands read is no reason to rebuild.
    assert not {"retrain", "drift", "tracking", "detect"} & set(found.params)


# The decision


def a_state(**corpora: Seen) -> State:
    return State("000001", "sha", {"a": "1"}, {"train": "1"}, corpora, [], "promoted", 1)


def a_look(targets: list[str] | None = None, **corpora: Seen) -> Look:
    return Look(Recipe("sha", {"a": "1"}, {"train": "1"}), corpora, targets or [])


def decided(state: State | None, now: Look):
    return decide(state, now, ["commit", "params", "data"], "")


def test_the_first_time_folders_are_read_and_generated_sounds_are_not():
    now = a_look(a=Seen("folder", {"x": "1"}), b=Seen("generated", {}))
    assert decided(None, now).read == ("a",)


def test_publishers_that_are_asked_for_the_first_time_have_not_changed():
    silent, told = Seen("publishers", {}), Seen("publishers", {"x.zip": "1"})
    assert decided(a_state(a=silent), a_look(a=told)).reasons == ()
    changed = decided(a_state(a=told), a_look(a=Seen("publishers", {"x.zip": "2"})))
    assert changed.read == ("a",) and changed.reasons == ("corpus a: 1 changed file(s)",)


def test_a_corpus_from_elsewhere_and_other_targets_are_reasons():
    folder = Seen("folder", {"x": "1"})
    found = decided(a_state(a=Seen("generated", {})), a_look(a=folder))
    assert found.read == ("a",) and "comes from elsewhere" in found.reasons[0]
    assert decided(a_state(a=folder), a_look(["train"], a=folder)).reasons == (
        "retrain.targets changed",
    )


def test_the_key_is_of_contents_and_not_of_the_commit():
    folder = Seen("folder", {"x": "1"})
    other = Look(Recipe("another sha", {"a": "1"}, {"train": "1"}), {"a": folder}, [])
    assert a_look(a=folder).key == other.key
    assert a_look(a=folder).key != a_look(a=Seen("folder", {"x": "2"})).key


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
    digests = iter("ab")
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
    assert found.said == "drift against version 4: nothing new"
    again = looked(tmp_path, "new", found.recordings)
    assert again.report is None and "no new recordings" in again.said and len(seen) == 1
    assert [path.name for path in kept.iterdir()] == ["a"]
    # Another store may give the same number to another model.
    assert looked(tmp_path, "new", "other recordings").report is not None
    assert [path.name for path in kept.iterdir()] == ["b"]


def test_what_stands_in_the_way_of_a_comparison_is_said(tmp_path, monkeypatch):
    assert looked(tmp_path, "") == champion.Drift("")
    assert "is not there" in looked(tmp_path, "new").said
    put(tmp_path / "new" / "a.wav", "a")
    assert "1 recordings, 2 are needed" in looked(tmp_path, "new").said
    put(tmp_path / "new" / "b.wav", "b")
    monkeypatch.setattr(registry, "open_registry", lambda: None)
    monkeypatch.setattr(registry, "find", lambda *words: None)
    found = looked(tmp_path, "new")
    assert "no champion yet" in found.said
    assert found.recordings == ""  # looked for again by the next run
