"""One thread in every library, of those loaded and those to come."""

import os
import subprocess
import sys

import torch
from threadpoolctl import threadpool_info, threadpool_limits

from crywatch.core.threads import VARIABLES, one_thread_each, torch_threads

SAID = """
import numpy, torch
from threadpoolctl import threadpool_info
print(torch.get_num_threads(), *{pool["num_threads"] for pool in threadpool_info()})
"""


def counts() -> set[int]:
    """Of this process' BLAS and OpenMP libraries and of torch."""
    return {torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())}


def test_every_library_has_one_thread_and_gets_its_own_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with threadpool_limits(2), torch_threads(2):
        before = counts()
        with one_thread_each():
            assert counts() == {1}
            assert {os.environ[name] for name in VARIABLES} == {"1"}
            with torch_threads(2):
                assert torch.get_num_threads() == 2, "what names its number has it"
        assert counts() == before
    assert os.environ["OMP_NUM_THREADS"] == "3" and "MKL_NUM_THREADS" not in os.environ


def test_what_is_loaded_within_has_one_thread(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "2")
    within = "from crywatch.core.threads import one_thread_each\nwith one_thread_each():"
    code = within + SAID.replace("\n", "\n    ")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "1"]
