"""Nothing that is read can run code: what could is looked for in every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.dag import ROOT

FILES = sorted(
    path
    for name in ("src", "pipelines", "studies", "benchmarks")
    for path in (ROOT / name).rglob("*.py")
)
# Modules that make objects by running what a file says.
PICKLING = {
    "pickle",
    "cPickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "shelve",
    "marshal",
    "jsonpickle",
}
# Calls by their last two names, and why they are not allowed.
FORBIDDEN = {
    "joblib.load": "unpickles",
    "pd.read_pickle": "unpickles",
    "pandas.read_pickle": "unpickles",
    "jit.load": "runs the file's code",
    "hub.load": "runs the file's graph",
    "pyfunc.load_model": "runs the code that was logged",
    "sklearn.load_model": "unpickles",
    "pytorch.load_model": "unpickles",
    "io.load": "makes the objects that a file names",
    "yaml.unsafe_load": "makes the objects that a file names",
    "yaml.full_load": "makes the objects that a file names",
    "os.system": "runs a shell",
}
# The last two are CSafeLoaders.
SAFE_LOADERS = {"SafeLoader", "CSafeLoader", "ParamsLoader", "YamlLoader"}
# File, call and why it may be there.
CLUSTER, IN_ONE_RUN = (
    "src/crywatch/detection/engine/cluster.py",
    ("goes between processes of one run, through Ray's own memory, and is never a file"),
)
ALLOWED = {
    ("src/crywatch/detection/embedders/base.py", "hub.load"): (
        "a SavedModel is a graph of TensorFlow's operations and holds no pickle; embedder.handle "
        "names the folder or the fixed version and stands in dvc.lock, and the digest of a folder "
        "is part of what a miner is tied to"
    ),
    ("src/crywatch/detection/blazenet/train_blazenet.py", "trainer.fit"): (
        "the unfinished training of this very working tree, in data/work: no download, and in no "
        "registry"
    ),
    (CLUSTER, "pickle"): IN_ONE_RUN,
    (CLUSTER, "cloudpickle"): IN_ONE_RUN,
}


def findings(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Calls and imports that could run what a file says, each with the reason."""
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").rpartition(".")[2]
            names = [node.module or "", *(alias.name for alias in node.names)]
            joined = [f"{module}.{alias.name}" for alias in node.names]
            yield from ((name, FORBIDDEN[name]) for name in joined if name in FORBIDDEN)
        elif isinstance(node, ast.Call):
            yield from _call(node)
            continue
        else:
            continue
        for name in names:
            if name.partition(".")[0] in PICKLING:
                yield name, "unpickles"


def _call(node: ast.Call) -> Iterator[tuple[str, str]]:
    name = _name(node.func)
    given = {word.arg: word.value for word in node.keywords}
    if name in FORBIDDEN:
        yield name, FORBIDDEN[name]
    if name in ("eval", "exec"):
        yield name, "runs a text"
    if name == "torch.load" and not _is(given.get("weights_only"), True):
        yield name, "unpickles without weights_only=True"
    if "allow_pickle" in given and not _is(given["allow_pickle"], False):
        yield name, "unpickles"
    if name == "yaml.load":
        loader = given.get("Loader", node.args[1] if len(node.args) > 1 else None)
        if loader is None or not any(name in ast.unparse(loader) for name in SAFE_LOADERS):
            yield name, "makes the objects that a file names"
    if name.endswith(".load_from_checkpoint") or name.endswith("from_hparams"):
        yield name, "makes the objects that a file names"
    if name.endswith(".fit") and "ckpt_path" in given and not _is(given.get("weights_only"), True):
        yield name, "unpickles a checkpoint without weights_only=True"
    if _is(given.get("shell"), True):
        yield name, "runs a shell"
    if _is(given.get("trust_remote_code"), True):
        yield name, "runs a download"


def _name(node: ast.AST) -> str:
    """The last two names of `a.b.c`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value).rpartition('.')[2]}.{node.attr}"
    return ""


def _is(node: ast.AST | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_is_read_in_a_way_that_runs_it():
    found = {
        (path.relative_to(ROOT).as_posix(), name): reason
        for path in FILES
        for name, reason in findings(path, path.read_text())
    }
    told = [f"{file}: {name} {reason}" for (file, name), reason in found.items()]
    unknown = [text for text, key in zip(told, found, strict=True) if key not in ALLOWED]
    assert unknown == []
    there = {key for key in ALLOWED if (ROOT / key[0]).is_file()}
    assert there <= set(found)  # an exception that is no longer needed


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "import joblib; joblib.load(x)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "numpy.load(x, allow_pickle=True)",
        "yaml.load(x, yaml.Loader)",
        "yaml.load(x)",
        "yaml.load(x, Loader=yaml.FullLoader)",
        "import tensorflow_hub as hub; hub.load(x)",
        "mlflow.pyfunc.load_model(x)",
        "subprocess.run(x, shell=True)",
        "Net.load_from_checkpoint(x)",
        "trainer.fit(net, ckpt_path=x)",
        "eval(x)",
        "from ray import cloudpickle",
    ],
)
def test_each_of_these_would_be_found(text):
    assert list(findings(Path("x.py"), text))


def test_what_is_safe_is_not_found():
    text = (
        "torch.load(x, weights_only=True); np.load(x); net.eval()\n"
        "yaml.load(x, yaml.SafeLoader); yaml.safe_load(x); json.load(x); re.compile(x)\n"
    )
    assert list(findings(Path("x.py"), text)) == []
