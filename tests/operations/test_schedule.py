"""Unattended retraining by systemd and cron: what is written, checked by their own programs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crywatch.cli.main import app
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.operations.schedule import Job, cron, of_project, systemd
from crywatch.operations.schedule.job import NEEDED

STRANGE = 'a %h project é $HOME "q" \\% it\'s'  # a folder's name
NO_ANALYZE = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine"
)
CRONTAB = """#!{python}
import os, pathlib, sys
table = pathlib.Path(os.environ["FAKE_TABLE"])
if sys.argv[1:] == ["-l"]:
    if not table.exists():
        sys.exit("no crontab for someone")
    sys.stdout.buffer.write(table.read_bytes())
elif sys.argv[1:] == ["-"]:
    text = sys.stdin.buffer.read()
    if b"refuse me" in text or not (text == b"" or text.endswith(b"\\n")):
        sys.exit("bad line, not installed")
    table.write_bytes(text)
    with open(os.environ["FAKE_TABLE"] + ".writes", "a") as handle:
        handle.write("x")
else:
    sys.exit("usage")
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$FAKE_CALLS"
"""
PROGRAM = """#!/bin/sh
pwd > "$0.words"
umask >> "$0.words"
echo "$SECRET" >> "$0.words"
for word in "$@"; do echo "$word" >> "$0.words"; done
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project in a strange folder that is the working directory, and settings of its own."""
    folder = tmp_path / STRANGE
    folder.mkdir()
    (folder / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(NEEDED)]:
        monkeypatch.delenv(name)
    return folder


@pytest.fixture
def bin_dir(tmp_path, monkeypatch) -> Path:
    """A folder that goes before all others on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def table(tmp_path, bin_dir, monkeypatch) -> Path:
    """The file that a stand-in for `crontab` keeps."""
    monkeypatch.setenv("FAKE_TABLE", str(tmp_path / "table"))
    program(bin_dir / "crontab", CRONTAB.format(python=sys.executable))
    return tmp_path / "table"


@pytest.fixture
def without_programs(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def invoke(*words: str) -> str:
    result = CliRunner().invoke(app, ["schedule", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def verify(*units: Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "verify", "--user", "--man=no", *map(str, units)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def as_cron_runs(line: str) -> str:
    """What cron hands to the shell: `\\%` is a percent sign, a bare one would end the command."""
    command, out, escaped = line.split(maxsplit=5)[5], "", False
    for character in command:
        if escaped:
            out = out[:-1] + character if character == "%" else out + character
            escaped = False
        else:
            assert character != "%"
            out, escaped = out + character, character == "\\"
    return out


# systemd


@NO_ANALYZE
def test_systemd_finds_nothing_wrong_with_the_units(project, tmp_path):
    # A program in a strange folder too: it is found only if all is escaped right.
    strange = tmp_path / "bin" / "a %h bin é $HOME"
    strange.mkdir(parents=True)
    job = of_project(project)
    job = Job(job.project, str(program(strange / "python 3", PROGRAM)), strange / "env")
    units = systemd.units(job, systemd.AT)
    for path, text in units.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    process = verify(*units)
    assert (process.returncode, process.stderr.splitlines()) == (0, [])
    (strange / "python 3").unlink()
    assert "not executable" in verify(next(iter(units))).stderr


def test_a_program_that_systemd_would_not_start_is_refused(project):
    job = Job(project, "/a 'quoted' folder/python", project / "environment")
    with pytest.raises(ConfigError, match="quote or a backslash.*--cron"):
        systemd.units(job, systemd.AT)


@NO_ANALYZE
def test_systemd_would_tell_of_an_unknown_key(project):
    path, text = next(iter(systemd.units(of_project(project), systemd.AT).items()))
    path.parent.mkdir(parents=True)
    path.write_text(text.replace("Nice=", "Nicer="))
    assert "Unknown key 'Nicer'" in verify(path).stderr


def test_a_unit_names_everything_by_absolute_paths_and_holds_no_secret(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted-secret")
    service, timer = systemd.units(of_project(project), "Mon 04:00").values()
    lines = service.splitlines()
    assert f"WorkingDirectory={str(project).replace('%', '%%')}/" in lines
    [start] = [line for line in lines if line.startswith("ExecStart=")]
    assert start == f'ExecStart=:"{sys.executable}" "-m" "crywatch.cli" "retrain"'
    for line in ("UMask=0077", "SuccessExitStatus=75", "Nice=10", "NoNewPrivileges=yes"):
        assert line in lines
    for line in ("OnCalendar=Mon 04:00", "Persistent=true", "RandomizedDelaySec=10min"):
        assert line in timer.splitlines()
    assert "planted-secret" not in service + timer


@NO_ANALYZE
@pytest.mark.parametrize("at", ["Blursday 3", "", "Sun 03:00\nUnit=x.service", "Sun 25:00"])
def test_what_is_no_calendar_event_is_refused(project, at):
    with pytest.raises(ConfigError, match="--at"):
        systemd.units(of_project(project), at)


@NO_ANALYZE
@pytest.mark.parametrize("at", [systemd.AT, "daily", "Mon..Fri *-*-* 02:30:00 Europe/Berlin"])
def test_calendar_events_are_taken(project, at):
    assert f"OnCalendar={at}\n" in systemd.preview(of_project(project), at)


def test_without_a_manager_the_units_are_written_and_the_command_is_said(project, bin_dir):
    program(bin_dir / "systemctl", "#!/bin/sh\nexit 1\n")
    output = invoke("install", "--systemd")
    name = of_project(project).name
    assert f"systemctl --user enable --now {name}.timer" in output
    files = sorted(path.name for path in systemd.folder().iterdir())
    assert files == [f"{name}.service", f"{name}.timer"]
    before = {path: path.stat().st_mtime_ns for path in systemd.folder().iterdir()}
    assert "as it was" in invoke("install", "--systemd")
    assert {path: path.stat().st_mtime_ns for path in systemd.folder().iterdir()} == before
    assert systemd.AT in invoke("show") and "not as" not in invoke("show")
    invoke("remove")
    assert list(systemd.folder().iterdir()) == []
    assert "nothing is scheduled" in invoke("show")
    assert "nothing was scheduled" in invoke("remove")


def test_a_manager_that_answers_is_told(project, bin_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls"))
    program(bin_dir / "systemctl", SYSTEMCTL)
    timer = f"{of_project(project).name}.timer"
    invoke("install", "--systemd", "--at", "Sat 02:00")
    invoke("remove")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.removeprefix("--user ") for call in calls] == [
        "show-environment",
        "daemon-reload",
        f"enable --now {timer}",
        f"restart {timer}",
        "show-environment",
        f"disable --now {timer}",
        "daemon-reload",
    ]


def test_what_the_manager_refuses_is_said(project, bin_dir):
    refuses = '#!/bin/sh\n[ "$2" = show-environment ] || { echo "Unit is masked" >&2; exit 1; }\n'
    program(bin_dir / "systemctl", refuses)
    with pytest.raises(CrywatchError, match="daemon-reload` failed: Unit is masked"):
        systemd.install(of_project(project), systemd.AT)


def test_units_that_were_edited_are_told_of(project, bin_dir):
    program(bin_dir / "systemctl", "#!/bin/sh\nexit 1\n")
    invoke("install", "--systemd")
    [service] = systemd.folder().glob("*.service")
    service.write_text(service.read_text() + "Environment=X=1\n")
    assert "not as `crywatch schedule install` would write it" in invoke("show")


# cron


@pytest.mark.parametrize(
    "at", ["0 3 * * 0", "*/15 0-6,22 1-31/2 jan,Mar-may sun", "@weekly", "59 23 31 12 7"]
)
def test_cron_expressions_are_taken(at):
    assert cron.check_expression(f"  {at} ").lower() == at.lower()


@pytest.mark.parametrize(
    "at",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * mon-x",
        "5-1 * * * *",
        "*/0 * * * *",
        "5/10 * * * *",
        "*-5 * * * *",
        "1,,2 * * * *",
        "-1 * * * *",
        "@reboot",
        "@never",
        "0 3 * * 0\n* * * * * rm -rf ~",
        "٣ * * * *",
    ],
)
def test_what_is_no_cron_expression_is_refused(at):
    with pytest.raises(ConfigError, match="--at"):
        cron.check_expression(at)


def test_the_line_runs_in_the_project_with_the_file_of_secrets(project, tmp_path):
    strange = tmp_path / "bin" / STRANGE
    strange.mkdir(parents=True)
    python = program(strange / "python 3", PROGRAM)
    secrets = strange / "environment"
    secrets.write_text("SECRET='one two'\n")
    line = cron.line(Job(project, str(python), secrets), "0 3 * * 0")
    assert "\n" not in line
    process = subprocess.run(["/bin/sh", "-c", as_cron_runs(line)], capture_output=True, cwd="/")
    assert (process.returncode, process.stderr) == (0, b"")
    words = Path(f"{python}.words").read_text().splitlines()
    assert words == [str(project), "0077", "one two", "-m", "crywatch.cli", "retrain"]
    secrets.unlink()
    subprocess.run(["/bin/sh", "-c", as_cron_runs(line)], check=True, cwd="/")


def test_a_line_longer_than_cron_reads_is_refused(tmp_path):
    job = Job(tmp_path / ("x" * 900), "/usr/bin/python3", tmp_path / "environment")
    with pytest.raises(ConfigError, match="cron reads 998"):
        cron.line(job, "@daily")


def test_twice_changes_nothing_a_new_time_moves_it_and_remove_restores(project, table):
    others = "MAILTO=me\n# a \\ é\n0 1 * * * other \\% job\n"
    table.write_text(others)
    invoke("install", "--cron")
    once = table.read_text()
    assert once.startswith(others) and once.count("BEGIN crywatch-retrain") == 1
    assert "as it was" in invoke("install", "--cron")
    assert table.read_text() == once
    assert Path(f"{table}.writes").read_text() == "x"
    table.write_text(once + "@daily after\n")
    invoke("install", "--cron", "--at", "30 4 * * mon")
    moved = table.read_text()
    assert moved.startswith(others) and moved.endswith("@daily after\n")
    assert moved.count("crywatch.cli retrain") == 1 and "30 4 * * mon umask" in moved
    assert "cron: 30 4 * * mon" in invoke("show")
    invoke("remove")
    assert table.read_text() == others + "@daily after\n"


def test_lines_of_others_stay_byte_for_byte(project, table):
    others = (
        b"FOO = bar  baz\n\t5 4  * * 1-5   x   # note\r\n30 4 * * * a%b\n"
        b"not a line\n# caf\xe9\n\n@daily \x0cy\n"
    )
    table.write_bytes(others)
    invoke("install", "--cron")
    assert table.read_bytes().startswith(others)
    invoke("remove")
    assert table.read_bytes() == others


def test_a_user_without_a_table_gets_one(project, table):
    invoke("install", "--cron")
    assert table.read_text().startswith("# BEGIN crywatch-retrain")
    invoke("remove")
    assert table.read_text() == ""


def test_a_second_project_keeps_its_own_line(project, table, tmp_path, monkeypatch):
    invoke("install", "--cron")
    first = table.read_text()
    other = tmp_path / "other"
    other.mkdir()
    (other / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(other)
    invoke("install", "--cron")
    assert table.read_text().startswith(first)
    invoke("remove")
    assert table.read_text() == first


def test_a_table_with_half_a_block_is_left_alone(project, table):
    table.write_text(f"# BEGIN {of_project(project).name} (crywatch schedule)\n@daily x\n")
    before = table.read_text()
    with pytest.raises(CrywatchError, match="crontab -e"):
        cron.install(of_project(project), cron.AT)
    assert table.read_text() == before


def test_a_table_that_cron_refuses_is_said(project, table):
    table.write_text("refuse me\n")
    with pytest.raises(CrywatchError, match="`crontab -` failed: bad line"):
        cron.install(of_project(project), cron.AT)


def test_a_table_that_cannot_be_read_is_not_taken_for_an_empty_one(project, bin_dir):
    program(bin_dir / "crontab", "#!/bin/sh\necho 'you are not allowed' >&2; exit 1\n")
    with pytest.raises(CrywatchError, match="not allowed"):
        cron.install(of_project(project), cron.AT)


def test_without_the_program_cron_is_a_clear_error_and_print_still_works(project, without_programs):
    with pytest.raises(CrywatchError, match="no crontab program.*--systemd"):
        cron.install(of_project(project), cron.AT)
    assert "crywatch.cli retrain" in invoke("install", "--cron", "--print")
    assert "nothing is scheduled" in invoke("show")


# Both


def test_print_changes_nothing(project, table):
    assert "[Timer]" in invoke("install", "--systemd", "--print")
    assert "# BEGIN" in invoke("install", "--cron", "--print")
    assert not table.exists() and not systemd.folder().exists()


@pytest.mark.parametrize("words", [[], ["--systemd", "--cron"]])
def test_one_of_both_has_to_be_named(project, words):
    with pytest.raises(CrywatchError, match="one of --systemd and --cron"):
        invoke("install", *words)


def test_variables_that_the_schedule_would_miss_are_named_without_their_values(
    project, table, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted-secret")
    monkeypatch.setenv("HF_TOKEN", "planted-secret")
    file = of_project(project).environment_file
    file.parent.mkdir(parents=True)
    file.write_text("HF_TOKEN=planted-secret\n")
    file.chmod(0o644)
    output = invoke("install", "--cron")
    assert "reads: MLFLOW_TRACKING_PASSWORD\n" in output and "chmod 600" in output
    assert "planted-secret" not in output + table.read_text()
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert "chmod" not in invoke("install", "--cron")


def test_a_path_that_no_schedule_can_name_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="control character"):
        of_project(tmp_path / "a\nExecStartPost=bad")
    with pytest.raises(ConfigError, match="UTF-8"):
        of_project(Path(os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff")))


def test_the_command_of_a_schedule_exists(project):
    pytest.importorskip("crywatch.operations.retrain")
    assert " -m crywatch.cli retrain" in cron.line(of_project(project), cron.AT)
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    groups = {group.name for group in app.registered_groups}
    assert "retrain" in names | groups
