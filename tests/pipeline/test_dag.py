"""The tree shows the pipeline: stage, script, params section, module and test share a name."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crywatch.core import params
from crywatch.corpora import NAMES
from crywatch.operations import dag
from tests.helpers.dag import PACKAGE, ROOT, stages

SCRIPTS = [path for folder in dag.PLANS for path in sorted((ROOT / folder).glob("*.py"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_stage_has_script_params_module_and_test(script):
    stage, plan = script.stem, dag.PLANS[script.parent.name]
    assert stage in yaml.safe_load((ROOT / plan.with_name("params.yaml")).read_text())
    modules = [*PACKAGE.rglob(f"{stage}.py"), *PACKAGE.rglob(f"{stage}/__init__.py")]
    modules = [path for path in modules if path.parent.name != "tables"]
    assert len(modules) == 1
    room = modules[0].relative_to(PACKAGE).parts[0]
    assert (ROOT / "tests" / room / f"test_{stage}.py").is_file()


@pytest.mark.parametrize("folder", dag.PLANS)
def test_every_stage_has_a_script_and_every_script_a_stage(folder):
    scripts = {f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.py")}
    bodies = stages(dag.PLANS[folder])
    assert scripts == {f"{folder}/{stage}.py" for stage in bodies}
    assert all(f"{folder}/{stage}.py" == body["deps"][0] for stage, body in bodies.items())


def test_the_pipeline_reads_nothing_of_the_studies():
    for folder, plan in dag.PLANS.items():
        outs = {out for body in stages(plan).values() for out in body["outs"]}
        if folder != "pipelines":
            assert not outs & {dep for body in stages().values() for dep in body["deps"]}
            assert all(body["wdir"] == ".." for body in stages(plan).values())


def test_a_stage_depends_on_all_code_that_can_change_its_outputs():
    assert dag.write(ROOT, check=True) == [], "run `crywatch dag`"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_thin(script):
    assert len(script.read_text().splitlines()) <= 70


def test_only_one_module_talks_to_mlflow_reads_params_and_decodes():
    def users(needle):
        return {
            path.relative_to(PACKAGE).as_posix()
            for path in PACKAGE.rglob("*.py")
            if re.search(needle, path.read_text(), re.MULTILINE)
        }

    logging = {name for name in users(r"^ *(import|from) mlflow\b") if "tracking/" not in name}
    assert logging == {"detection/mlflow_model.py", "speaker/mlflow_model.py"}
    ours = {
        f"audio/{name}.py"
        for name in ("decode/container", "decode/frames", "encoding", "ffmpeg", "live")
    }
    assert users(r"^ *(import|from) av\b") == ours
    assert users(r"\"params\.yaml\"") == {"core/params.py"}


def test_importing_the_command_line_is_light():
    heavy = {"torch", "tensorflow", "mlflow", "lightning", "librosa", "pandas", "sklearn"}
    code = "import sys, crywatch.cli.main; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert heavy.isdisjoint(loaded)


def test_nothing_under_data_is_tracked_but_git_and_dvc_files():
    listed = subprocess.run(
        ["git", "ls-files", "data"], capture_output=True, text=True, cwd=ROOT, check=False
    ).stdout.split()
    assert {Path(name).name for name in listed} <= {".gitignore"}


def test_a_loader_is_code_of_its_own_corpus_alone():
    loaders = {f"src/crywatch/corpora/{name}.py" for name in NAMES}
    for stage, body in stages().items():
        if stage == "report":  # its datasheets show what every loader says of its corpus
            continue
        assert loaders.isdisjoint(body["deps"]), stage
        assert "src/crywatch/corpora" not in body["deps"], stage
    for stage in ("download", "clean"):
        assert "src/crywatch/corpora/${key}.py" in stages()[stage]["deps"]


def test_a_detector_is_code_of_the_stages_that_read_its_models():
    def rooms(stage: str) -> set[str]:
        deps = [dep.split("/") for dep in stages()[stage]["deps"] if "/detection/" in dep]
        return {parts[3] for parts in deps}

    assert "baselines" not in rooms("cries") | rooms("train_robust")
    assert {"anomaly", "baselines", "blazenet", "robust"} <= rooms("score")
    assert rooms("evaluate") == set()


def test_stages_depend_on_little_code_that_they_cannot_need():
    """Their folders hold some, which has them run for nothing where it changes."""
    plan = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    config = params.everything(ROOT)
    needless = {stage: sum(dag.needless(ROOT, stage, plan, config).values()) for stage in plan}
    assert max(needless.values()) < 3_000, needless
    assert sum(needless.values()) < 15_000, needless
    for body in stages().values():
        folders = tuple(f"{dep}/" for dep in body["deps"] if (ROOT / dep).is_dir())
        assert "src/crywatch" not in body["deps"]
        assert [dep for dep in body["deps"] if dep.startswith(folders)] == []


def test_an_experiment_of_one_stage_is_saved_where_nothing_else_is_built(tmp_path):
    """When `dvc exp run STAGE` saves, it looks up all plots; their folders may be nowhere."""
    from dvc.repo import Repo

    files = ("dvc.yaml", "dvc.lock", "params.yaml")
    for name in (".dvc/config", ".dvcignore", *files, *(f"studies/{file}" for file in files)):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    with Repo(str(tmp_path)) as repo:
        sources = repo.index._plot_sources
    assert "data/evaluate/detection/charts/roc.csv" in sources
