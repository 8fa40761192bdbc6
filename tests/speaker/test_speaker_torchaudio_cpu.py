"""Why there is a stand-in: torchaudio of the package index does not load beside a CPU torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from crywatch.speaker import torchaudio_cpu
from crywatch.speaker.torchaudio_cpu import EXTENSION, prepare

NO_NETWORK = """
import socket
def refuse(*_, **__):
    raise AssertionError("importing reaches for the network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
"""


def fresh(code: str) -> dict:
    """The JSON that ``code`` prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def torchaudio_at(tmp_path, monkeypatch):
    """No torchaudio is loaded, and the next import finds one whose extension is ``code``."""

    def is_ours(name: str) -> bool:
        return name == "torchaudio" or name.startswith("torchaudio.")

    before = {name: module for name, module in sys.modules.items() if is_ours(name)}

    def clear() -> None:
        for name in [name for name in sys.modules if is_ours(name)]:
            del sys.modules[name]

    def make(code: str, other: str = "") -> None:
        clear()
        package = tmp_path / "torchaudio"
        package.mkdir()
        (package / "__init__.py").write_text(f"from . import _extension\n{other}")
        (package / "_extension.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)

    yield make
    clear()
    sys.modules.update(before)


@pytest.fixture
def cpu_torch(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)


def test_speechbrain_imports_with_the_stand_in_exactly_where_torchaudio_does_not_load():
    """The index's torchaudio looks for CUDA's libraries; where it does load, it stays itself."""
    plain = fresh(
        "import json\n"
        "try:\n    import torchaudio\n    failed = ''\n"
        "except Exception as error:\n    failed = type(error).__name__\n"
        "print(json.dumps({'failed': failed}))"
    )
    prepared = fresh(
        NO_NETWORK + "import json\n"
        "from crywatch.speaker.torchaudio_cpu import prepare\n"
        "stands_in = prepare()\n"
        "from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN\n"
        "import torch\n"
        "network = ECAPA_TDNN(80, channels=[8] * 5, lin_neurons=6)\n"
        "shape = list(network(torch.rand(2, 9, 80)).shape)\n"
        "print(json.dumps({'stands_in': stands_in, 'again': prepare(), 'shape': shape}))"
    )
    assert prepared["shape"] == [2, 1, 6]
    assert prepared["stands_in"] == prepared["again"]
    if torch.version.cuda is None:
        assert prepared["stands_in"] == bool(plain["failed"])
    else:
        assert not prepared["stands_in"]


@pytest.mark.parametrize("error", ["OSError('libcudart.so.13')", "RuntimeError('other CUDA')"])
def test_stands_in_where_the_compiled_part_does_not_load(torchaudio_at, cpu_torch, error):
    torchaudio_at(f"raise {error}", "from torchaudio._extension import fail_if_no_align")
    assert prepare() and prepare()
    extension = sys.modules[EXTENSION]
    assert not extension._IS_TORCHAUDIO_EXT_AVAILABLE and not extension._IS_ALIGN_AVAILABLE
    assert extension._check_cuda_version() is None
    assert sys.modules["torchaudio"].fail_if_no_align(len) is len


def test_does_nothing_where_torchaudio_loads(torchaudio_at, cpu_torch):
    torchaudio_at("mine = True")
    assert not prepare() and not prepare()
    assert sys.modules[EXTENSION].mine


def test_does_nothing_where_torch_has_cuda(torchaudio_at, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    torchaudio_at("raise OSError")
    assert not prepare()
    assert EXTENSION not in sys.modules and "torchaudio" not in sys.modules
    with pytest.raises(OSError):
        import torchaudio  # noqa: F401


def test_other_failures_are_told_and_leave_no_stand_in(torchaudio_at, cpu_torch):
    torchaudio_at("raise OSError", "import no_such_module_of_torchaudio")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        prepare()
    assert EXTENSION not in sys.modules


def test_importing_the_module_imports_neither():
    loaded = fresh(
        "import json, sys, crywatch.speaker.torchaudio_cpu\n"
        "print(json.dumps(sorted({'torch', 'torchaudio', 'speechbrain'} & set(sys.modules))))"
    )
    assert loaded == []
    assert torchaudio_cpu.__doc__


def test_tools_that_look_at_all_modules_do_not_import_optional_packages():
    # In a process of its own: others may have loaded SpeechBrain already.
    code = """
from crywatch.speaker.torchaudio_cpu import prepare_speechbrain
prepare_speechbrain()
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
import sys
for module in list(sys.modules.values()):
    hasattr(module, "__file__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
