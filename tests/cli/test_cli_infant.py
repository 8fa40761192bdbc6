"""`crywatch infant` as a user types it, with real sounds and networks of random weights."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.infants.store.store import key_of
from tests.helpers import store_cases as cases
from tests.infants.test_store import everything

ID = "Zoë 👶/../a"


def run(*arguments):
    return CliRunner().invoke(cli.app, ["infant", *map(str, arguments)])


def ok(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """An infant that is enrolled with six recordings in three sessions, and two new ones."""
    folder = cases.make_project(tmp_path_factory.mktemp("project"), conformal__rate=0.2)
    names = []
    for session in range(3):
        for number in range(2):
            name = f"{session}{number}.wav"
            cases.sing(folder / "old" / name, 1, 10 * session + number)
            names.append(f"{name},cry,{ID},2025-03-{1 + 2 * session:02}T08:{number:02}:00+00:00,")
    table = folder / "old" / "recordings.csv"
    table.write_text("path,label,infant,recorded_at,category\n" + "\n".join(names) + "\n")
    cases.sing(folder / "new" / "own.wav", 1, 40)
    cases.sing(folder / "new" / "other.wav", 5, 41)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        enrolled = ok("enroll", ID, "--table", "old/recordings.csv")
        yield folder, enrolled
    assert not list((folder / "infants").glob("*-wal"))


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project[0])
    return project[0]


def test_enrolling_says_what_is_promised(project, here):
    said = project[1].stdout
    assert f"{ID}: 6 recording(s) enrolled" in said and "6 in 3 session(s), model version 0" in said
    assert "promised: 0.2 of its normal recordings alarm" in said
    assert (
        "latest" in ok("list").stdout and "  6         3        0  2025-03-05" in ok("list").stdout
    )


def test_a_session_is_scored_drawn_and_forgotten(here):
    result = run("score", ID, "new", "gone.wav", "--at", "2025-03-09T08:00:00", "--format", "jsonl")
    assert result.exit_code == 1 and "gone.wav: no such file" in result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["path"] for row in rows] == ["new/other.wav", "new/own.wav"]
    assert {row["recorded_at"] for row in rows} == {"2025-03-09T08:00:00+00:00"}
    assert all(0 < row["p"] <= 1 and row["cries"] >= 1 for row in rows)
    # Known by now: nothing is scored twice.
    again = ok("score", ID, "new", "--at", "2025-03-09T08:00:00", "--format", "csv")
    assert list(csv.DictReader(io.StringIO(again.stdout))) == []
    assert again.stderr.count("known already") == 2

    ok("timeline", ID, "--out", "page.html", "--parquet", "page.parquet")
    page = (here / "page.html").read_text(encoding="utf-8")
    assert "Zoë 👶" in page and "data:image/png;base64," in page
    table = pd.read_parquet("page.parquet")
    assert table["phase"].tolist() == ["baseline"] * 6 + ["new"] * 2
    assert table["clip_id"].tolist()[-2:] == ["new/other.wav", "new/own.wav"]
    assert str(here) not in page and not table["clip_id"].str.startswith("/").any()

    cases.sing(here / "tom" / "a.wav", 3, 1)
    ok("enroll", "Tom", "tom", "--at", "2025-03-09")
    refused = CliRunner().invoke(cli.app, ["infant", "forget", ID], input="n\n")
    assert refused.exit_code == 1 and ID in ok("list").stdout
    gone = ok("forget", ID, "--yes")
    assert "removed 8 recording(s)" in gone.stdout and "nothing is left" in gone.stdout
    assert not (here / "page.html").exists() and not (here / "page.parquet").exists()
    left = everything(here / "infants")
    assert ID.encode() not in left and key_of(ID).encode() not in left
    assert "Tom" in ok("list").stdout and ID not in ok("list").stdout


def test_errors_a_user_can_act_on(here, monkeypatch, capsys):
    def said(*arguments):
        monkeypatch.setattr("sys.argv", ["crywatch", "infant", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2
        return capsys.readouterr().err

    assert "there is no infant 'nobody'" in said("score", "nobody", "new")
    assert "there is no infant 'nobody'" in said("timeline", "nobody", "--out", "x.html")
    assert "there is no infant 'nobody'" in said("forget", "nobody", "--yes")
    assert "there is no infant 'nobody'" in said("enroll", "nobody")
    assert "name the recordings to score" in said("score", "nobody")
    assert "name the page to write by --out" in said("timeline", "nobody")
    assert "id is empty" in said("enroll", " ", "new")
    (here / "empty").mkdir()
    assert "no audio files in empty" in said("enroll", "x", "empty")
    both = said("timeline", "nobody", "--out", "x.html", "--parquet", "./x.html")
    assert "--out and --parquet are both x.html" in both


def test_a_page_that_cannot_be_written_is_an_error_and_not_removed_later(here, monkeypatch, capsys):
    cases.sing(here / "two" / "a.wav", 4, 3)
    ok("enroll", "two", "two", "--at", "2025-03-01")
    own = here / "folder" / "own.txt"
    own.parent.mkdir()
    own.write_text("not of crywatch")
    monkeypatch.setattr("crywatch.core.atomic.os.replace", _full)
    monkeypatch.setattr("sys.argv", ["crywatch", "infant", "timeline", "two", "--out", str(own)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said == f"crywatch: cannot write {own}: No space left on device\n"
    assert "0 page(s)" in ok("forget", "two", "--yes").stdout
    assert own.read_text() == "not of crywatch"


def _full(*arguments):
    raise OSError(28, "disk full")


def test_a_page_about_another_infant_in_its_place_is_not_removed(here):
    for number, name in enumerate(("one", "another")):
        cases.sing(here / name / "own.wav", 4, 10 + number)
        ok("enroll", f"page of {name}", f"{name}/own.wav", "--at", "2025-03-01")
        ok("timeline", f"page of {name}", "--parquet", "same.parquet")
    gone = ok("forget", "page of one", "--yes")
    assert "was changed" not in gone.stderr and (here / "same.parquet").exists()
    assert "removed" in ok("forget", "page of another", "--yes").stdout
    assert not (here / "same.parquet").exists()


def test_records_are_shown_and_mended(here):
    for number in range(3):
        cases.sing(here / "mend" / f"{number}.wav", 7, number)
    cases.sing(here / "mend more" / "own.wav", 7, 9)
    ok("enroll", "mended", "mend", "--at", "2025-03-01")
    ok("enroll", "mended too", "mend more", "--at", "2025-03-02")
    shown = ok("show", "mended").stdout
    assert shown.count("2025-03-01T00:00:00Z") == 4 and "mend/2.wav" in shown
    assert run("remove", "mended", "2.wav").exit_code == 1  # nobody answers the question
    removed = ok("remove", "mended", "2.wav", "--yes").stdout
    assert "mended: removed" in removed and "marked and without files now: version 0" in removed
    assert "nothing is left: " in removed and "the recording's digest and vector (2)" in removed
    shown = ok("show", "mended").stdout
    assert "not kept  (made with a recording that was removed)" in shown
    merged = ok("merge", "mended", "mended too", "--yes").stdout
    assert "1 recording(s) of mended too moved" in merged and "baseline has 3" in merged
    assert "infant 9 now" in ok("rename", "mended", "infant 9", "--yes").stdout
    assert "infant 9" in ok("list").stdout and "mended" not in ok("list").stdout
    exported = ok("export", "infant 9", "moved").stdout
    assert "moved: infant 9, 3 recording(s), 3 version(s), model version 2" in exported
    ok("forget", "infant 9", "--yes")
    assert "taken in: ten, 3 recording(s)" in ok("import", "moved", "--as", "ten").stdout
    ok("timeline", "ten", "--parquet", "ten.parquet")
    ok("forget", "ten", "--yes")


def test_a_baseline_of_one_session_has_a_timeline(here):
    cases.sing(here / "one" / "a.wav", 4, 1)
    cases.sing(here / "one" / "b.wav", 4, 2)
    enrolled = ok("enroll", "one", "one/a.wav", "--at", "2025-03-01")
    assert "no false alarm rate is promised" in enrolled.stdout
    scored = ok("score", "one", "one/b.wav", "--at", "2025-03-02")
    assert "no false alarm rate is promised" in scored.stderr and "ALARM" not in scored.stdout
    ok("timeline", "one", "--out", "one.html")
    page = (here / "one.html").read_text(encoding="utf-8")
    # Nothing could be calibrated on: no range is drawn or told.
    assert "What its normal scores are is not known yet." in page and "of 1 Mar 2025." in page
    assert 'data-figure="time"' not in page and "a score above" not in page
    cases.sing(here / "one" / "c.wav", 4, 3)
    ok("enroll", "one", "one/c.wav", "--at", "2025-03-05")
    ok("timeline", "one", "--out", "one.html")
    assert 'data-figure="time"' in (here / "one.html").read_text(encoding="utf-8")


def test_a_modification_time_is_said(here):
    cases.sing(here / "untold" / "a.wav", 6, 1)
    assert "untold/a.wav: its modification time" in ok("enroll", "untold", "untold").stderr
