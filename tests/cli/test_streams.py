"""Standard streams that are closed or full: results come, or the exit code says no."""

import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "a.wav").write_bytes(b"not read")
    (folder / "recordings.csv").write_text("path\na.wav\n")
    return folder


@pytest.mark.parametrize(
    ("streams", "codes", "results", "said"),
    [
        (">&-", {2}, False, "crywatch: standard output is closed"),
        (">&- 2>&-", {2}, False, ""),
        ("> /dev/full", {2}, False, "crywatch: No space left on device"),
        ("| true", {1, 2}, False, ""),
        ("2>&-", {0}, True, ""),
        ("2> /dev/full", {0}, True, ""),
        ("<&-", {0}, True, ""),
    ],
)
def test_results_come_or_the_exit_code_says_no(folder, streams, codes, results, said):
    if "full" in streams and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = f"'{sys.executable}' -m crywatch.cli data check recordings --folder . {streams}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode in codes
    assert ("recordings" in done.stdout) == results
    assert done.stderr.startswith(said) and done.stderr.count("\n") <= 1
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path):
    code = (
        "from crywatch.core.streams import open_closed; open_closed();"
        f"file = open({str(tmp_path / 'f')!r}, 'w'); assert file.fileno() > 2, file.fileno()"
    )
    command = f"'{sys.executable}' -c \"{code}\" <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], env={"PYTHONPATH": str(SRC)}).returncode == 0


def test_a_message_that_nobody_reads_ends_nothing(monkeypatch, capsys):
    from crywatch.core.project import say

    def broken(*_words, **_options):
        raise BrokenPipeError

    monkeypatch.setattr("typer.echo", broken)
    say("heard by nobody")
