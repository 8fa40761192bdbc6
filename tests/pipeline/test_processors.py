"""Data stages give the same bytes with and without a processor's own code, and on any threads."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys

import av
import numpy as np
import pytest

from benchmarks.processors import OTHER_PROCESSOR, THIS_PROCESSOR, differences
from crywatch.audio.decode import decode_bytes
from crywatch.audio.encoding import encoded
from tests.helpers.dag import ROOT

pytestmark = pytest.mark.nightly


def test_the_data_stages_write_the_same_bytes_on_another_processor(tmp_path):
    written = []
    for name, variables in (("this", THIS_PROCESSOR), ("other", OTHER_PROCESSOR)):
        (tmp_path / name).mkdir()
        ended = subprocess.run(
            [sys.executable, "-m", "tests.helpers.data_chain", str(tmp_path / name)],
            cwd=ROOT,
            env=dict(os.environ) | {"PYTHONPATH": str(ROOT / "src")} | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        written.append(json.loads(ended.stdout.splitlines()[-1]))
    this, other = written
    assert {"3gp", "ogg", "wav", "flac", "parquet", "npy"} <= {n.rpartition(".")[2] for n in this}
    assert [name for name in this if other.get(name) != this[name]] == []
    assert this.keys() == other.keys()


@pytest.mark.parametrize("codec", [("adts", "aac"), ("mp3", "libmp3lame")])
def test_codecs_compute_without_a_processors_own_code(codec):
    samples = np.random.default_rng(1).integers(-3000, 3000, 16_000, dtype=np.int16)
    decode_bytes(encoded(samples, 16_000, *codec), "noise")
    assert ctypes.CDLL(av._core.__file__).av_get_cpu_flags() == 0


def test_the_benchmark_names_where_bytes_begin_to_part():
    def stage(outs, deps):
        return {"outs": [{"md5": outs}], "deps": [{"md5": deps}]}

    first = {"clean": stage("a", "r"), "later": stage("b", "a"), "same": stage("c", "x")}
    second = {"clean": stage("A", "r"), "later": stage("B", "A"), "same": stage("c", "y")}
    found = [(d.stage, d.begins) for d in differences(first, second)]
    assert found == [("clean", True), ("later", False)]
