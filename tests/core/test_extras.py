"""What is not installed is told with its extra, and every package that is imported is declared."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from crywatch.cli import main as cli
from crywatch.core import extras

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Packages that others bring, and that are imported only where those are.
BROUGHT = {
    "configobj": "dvc",
    "dvc_data": "dvc",
    "numba": "librosa",
    "pydantic": "fastapi",
    "starlette": "fastapi",
    "urllib3": "requests",
}


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    """pyproject.toml as it is, not as it was when this environment was made."""
    lines = list(PROJECT["dependencies"])
    for extra, packages in PROJECT["optional-dependencies"].items():
        lines += [f'{package}; extra == "{extra}"' for package in packages]
    monkeypatch.setattr(metadata, "requires", {"crywatch": lines}.get)


def imported(folder: Path) -> set[str]:
    """Packages that the sources below ``folder`` import, anywhere in a module."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(str(node.module).partition(".")[0])
    return (
        names - sys.stdlib_module_names - {"crywatch", "_typeshed"}
    )  # the latter of type checkers


@pytest.mark.parametrize("folder", ["src", "pipelines"])
def test_every_package_that_is_imported_is_declared(folder):
    base = {re.split(r"[<>=!\[ ]", line)[0].lower() for line in PROJECT["dependencies"]}
    for name in sorted(imported(ROOT / folder) - set(BROUGHT)):
        package = extras.IMPORTED_AS.get(name, name).lower().replace("_", "-")
        assert package in base or extras.extras_with(name), f"{name}: of no extra"


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("mlflow.tracking", ["tracking", "remote"]),
        ("sklearn", ["train", "infants"]),
        ("yt_dlp", ["youtube"]),
        ("tensorflow_hub", ["vggish"]),
        ("prefect", ["prefect"]),
        ("crepes", ["test"]),
        ("torch", ["torch"]),
        ("starlette.types", ["page", "prefect"]),
        ("safetensors.torch", ["torch"]),
        ("numpy", []),
        ("nothing", []),
    ],
)
def test_a_package_has_its_extras(module, expected):
    assert extras.extras_with(module) == expected


def missing(name, file):
    """The error of an import of ``name`` in ``file``, as it is caught."""
    code = f"raise ModuleNotFoundError('not there', name={name!r})"
    try:
        exec(compile(code, file, "exec"))
    except ModuleNotFoundError as error:
        return error
    raise AssertionError


def test_the_room_that_imports_says_which_extra_goes_first():
    at = missing("pandas", "/x/src/crywatch/infants/store.py")
    assert extras.advice(at) == (
        'pandas is not installed: pip install "crywatch[infants]" or pip install "crywatch[train]"'
    )
    assert extras.advice(missing("pandas", "/x/src/crywatch/operations/register/run.py")) == (
        'pandas is not installed: pip install "crywatch[infants,tracking,train]"'
    )
    assert extras.advice(missing("ray.data", "x.py")) == (
        'ray is not installed: pip install "crywatch[ray]"'
    )
    assert extras.advice(missing("crywatch.nothing", "x.py")) is None


def test_a_command_says_it_in_one_line(monkeypatch, capsys):
    def run():
        raise missing("mlflow", "x.py")

    monkeypatch.setattr(cli, "app", run)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith('crywatch: mlflow is not installed: pip install "crywatch[tracking]"')
    assert told.count("\n") == 1


def test_an_import_that_no_extra_mends_is_a_traceback(monkeypatch):
    def run():
        raise missing("nothing", "x.py")

    monkeypatch.setattr(cli, "app", run)
    with pytest.raises(ModuleNotFoundError):
        cli.main()


def test_the_command_line_loads_nothing_heavy():
    code = "import sys, crywatch.cli.main; print(*sorted(sys.modules))"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"torch", "numpy", "pandas", "mlflow"} & set(loaded)
