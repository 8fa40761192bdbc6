"""`crywatch dag`: the blocks of code in dvc.yaml."""

from __future__ import annotations

import shutil

import pytest
import yaml
from typer.testing import CliRunner

from crywatch.cli.main import app
from crywatch.operations import dag
from tests.helpers.dag import ROOT

STAGE = """# A comment of the head.
stages:
  listen:
    foreach: ${corpora}
    do:
      cmd: python pipelines/listen.py ${item}
      deps:
        - pipelines/listen.py
        - src/crywatch/core/gone.py
        # What is heard.
        - data/raw
"""
FILES = {
    "corpora/__init__.py": (
        'FACES = {"one": "crywatch.corpora.one:One", "two": "crywatch.corpora.two:Two"}'
    ),
    "corpora/one.py": "from crywatch.corpora.shared import rows",
    "corpora/two.py": "",
    "corpora/shared/rows.py": "",
    "whole/__init__.py": '"""A room."""',
    "whole/a.py": "from crywatch.whole.deep import c",
    "whole/b.py": "",
    "whole/page.html.j2": "",
    "whole/deep/c.py": "",
    "part/d.py": "",
    "part/e.py": "",
}
SCRIPT = (
    "from crywatch import corpora\nfrom crywatch.whole import a, b\nfrom crywatch.part import d"
)


@pytest.fixture
def project(tmp_path):
    package = tmp_path / "src" / "crywatch"
    for name, content in FILES.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(content)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "listen.py").write_text(SCRIPT)
    (tmp_path / "dvc.yaml").write_text(STAGE)
    (tmp_path / "params.yaml").write_text("corpora: [one]\nlisteners: [one]\n")
    return tmp_path


def test_sources_are_written_and_what_is_written_by_hand_stays(project):
    assert dag.write(project) == ["listen"]
    text = (project / "dvc.yaml").read_text()
    assert "# A comment of the head." in text and "        # What is heard.\n" in text
    (stage,) = yaml.safe_load(text)["stages"].values()
    assert stage["do"]["deps"] == [
        "pipelines/listen.py",
        "src/crywatch/corpora/${item}.py",
        "src/crywatch/corpora/__init__.py",
        "src/crywatch/corpora/shared/rows.py",
        "src/crywatch/part/d.py",
        "src/crywatch/whole",
        "data/raw",
    ]
    assert dag.write(project) == []
    assert (project / "dvc.yaml").read_text() == text


def test_a_stage_that_is_not_run_by_corpus_depends_on_all_that_can_be_opened(project):
    whole = STAGE.replace("foreach: ${corpora}", "foreach: ${listeners}")
    (project / "dvc.yaml").write_text(whole)
    dag.write(project)
    (stage,) = yaml.safe_load((project / "dvc.yaml").read_text())["stages"].values()
    assert "src/crywatch/corpora" in stage["do"]["deps"]


@pytest.mark.parametrize(
    ("read", "opened"),
    [
        ("data/train_one/small", {"one"}),
        ("data/train_two", {"one", "two"}),
        ("/models", {"one", "two"}),
    ],
)
def test_a_stage_opens_the_detectors_of_the_stages_before_it(project, read, opened):
    package = project / "src" / "crywatch"
    for name in ("one", "two"):
        (package / name).mkdir()
        for module in ("detector", f"train_{name}"):
            (package / name / f"{module}.py").write_text("")
        (project / "pipelines" / f"train_{name}.py").write_text("")
    kinds = {name: f"crywatch.{name}.detector:Detector" for name in ("one", "two")}
    (package / "part" / "d.py").write_text(f"KINDS = {kinds}")
    stage = {"deps": ["pipelines/listen.py", "${listened.folder}"]}
    stages = {
        "train_one": {"deps": ["pipelines/train_one.py"], "outs": ["data/train_one"]},
        "train_two": {
            "foreach": "${listeners}",
            "do": {
                "deps": ["pipelines/train_two.py", "data/train_${item}"],
                "outs": ["data/train_two/${item}"],
            },
        },
        "listen": stage,
    }
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (project / "params.yaml").write_text(
        yaml.safe_dump({"listeners": ["one"], "listened": {"folder": read}})
    )
    dag.write(project)
    deps = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]["listen"]["deps"]
    assert {dep.split("/")[2] for dep in deps if dep.endswith("detector.py")} == opened


def test_folders_stand_for_their_files_where_that_costs_few_lines(project, monkeypatch):
    package = project / "src" / "crywatch"
    for room, lines in (("small", 3), ("large", 2000)):
        (package / room).mkdir()
        for number in range(6):
            (package / room / f"m{number}.py").write_text("")
        (package / room / "needless.py").write_text("x = 1\n" * lines)
        (package / room / "__init__.py").write_text("")
    names = ", ".join(f"m{number}" for number in range(6))
    script = f"from crywatch.small import {names}\nfrom crywatch.large import {names}"
    (project / "pipelines" / "listen.py").write_text(script)
    (project / "dvc.yaml").write_text(STAGE.replace("${corpora}", "${listeners}"))
    dag.write(project)
    bodies = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    deps = [dep for dep in bodies["listen"]["do"]["deps"] if dep.startswith("src/")]
    large = [f"src/crywatch/large/m{number}.py" for number in range(6)]
    assert deps == [*large, "src/crywatch/small"]
    config = {"corpora": ["one"], "listeners": ["one"]}
    needless = dag.needless(project, "listen", bodies, config)
    assert needless == {"src/crywatch/small/needless.py": 3}
    monkeypatch.setattr(dag, "MOST", 12)
    dag.write(project)
    assert "src/crywatch/small/m0.py" in (project / "dvc.yaml").read_text()
    monkeypatch.setattr(dag, "MOST", 1)
    monkeypatch.setattr(dag, "WORTH", 10_000)
    dag.write(project)
    deps = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]["listen"]["do"]["deps"]
    assert [dep for dep in deps if dep.startswith("src/")] == [
        "src/crywatch/large",
        "src/crywatch/small",
    ], "never the package whole"


def test_the_command_writes_or_only_says(tmp_path, monkeypatch):
    for name in ("dvc.yaml", "params.yaml", "pipelines"):
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / name)
    shutil.copytree(ROOT / "src" / "crywatch", tmp_path / "src" / "crywatch")
    text = (tmp_path / "dvc.yaml").read_text()
    stale = text.replace("      - src/crywatch/speaker", "      - src/crywatch/none", 1)
    (tmp_path / "dvc.yaml").write_text(stale)
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["dag", "--check"])
    assert told.exit_code == 1 and "crywatch dag" in told.output
    assert (tmp_path / "dvc.yaml").read_text() == stale
    assert CliRunner().invoke(app, ["dag"]).exit_code == 0
    assert (tmp_path / "dvc.yaml").read_text() == text
    assert CliRunner().invoke(app, ["dag", "--check"]).exit_code == 0
