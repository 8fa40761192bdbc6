"""`crywatch trace FOLDER`: an exported folder whose files are, or are not, what was written."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.core.errors import ModelError
from crywatch.detection import released
from crywatch.detection.detectors import SIDECAR
from crywatch.detection.devices.detector import ONNX
from crywatch.operations.exported import trace

RUN = CliRunner()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The released export and a second file below a folder, outside of any project."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "exported"
    made.mkdir()
    for name in (SIDECAR, ONNX):
        shutil.copyfile(released.FOLDER / name, made / name)
    about = json.loads((made / SIDECAR).read_text())
    (made / "golden").mkdir()
    (made / "golden" / "wave.wav").write_bytes(b"")
    about["files"]["golden/wave.wav"] = "0" * 64
    (made / SIDECAR).write_text(json.dumps(about))
    return made


def test_the_file_that_differs_is_named(folder):
    ended = RUN.invoke(cli.app, ["trace", "exported"])
    assert ended.exit_code == 1
    assert "differs  golden/wave.wav: " in ended.stdout and f"differs  {ONNX}" not in ended.stdout
    (folder / ONNX).unlink()
    told = json.loads(RUN.invoke(cli.app, ["trace", "exported", "--format", "json"]).stdout)
    assert (told["differs"], told["sound"]) == ([ONNX, "golden/wave.wav"], False)


def test_a_whole_one_says_what_it_was_exported_from(folder):
    shutil.copyfile(released.FOLDER / SIDECAR, folder / SIDECAR)
    ended = RUN.invoke(cli.app, ["trace", str(folder)])
    assert ended.exit_code == 0, ended.output
    about = json.loads((folder / SIDECAR).read_text())
    for word in (*about["model"].values(), *about["files"].values(), *about["corpora"]):
        assert word in ended.stdout
    assert "ok       1 files have the recorded digests" in ended.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "name a folder that `crywatch export` wrote"),
        ("{", "write it again with `crywatch export`"),
        ({"name": "n", "model": {}, "corpora": [], "files": {"../x": "0"}}, "below its folder"),
    ],
)
def test_what_is_no_export_is_refused(folder, content, message):
    if content is None:
        (folder / SIDECAR).unlink()
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / SIDECAR).write_text(text)
    with pytest.raises(ModelError, match=message):
        trace(folder)
