"""The sketch for an ESP32-S3 as far as a host can go: its C++ against stand-ins of the headers.

This proves that `main.cc` is C++ that fits exported headers, its own `loop.h`, and the names and
types of `tests/helpers/esp32s3`, which were written from ESP-IDF's and tflite-micro's documents. It
does not prove that those are right, that the sketch links, or that it hears anything on the device.
What needs no hardware, `loop.c`, is run by `tests/detection/test_export.py`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from crywatch.detection.decisions import Calibration, Rule
from crywatch.detection.devices.c import Quantised, write_device
from crywatch.detection.devices.spectrum import picture_of
from tests.helpers.robust_model_cases import CONTEXT, FRONT_END

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "deploy" / "esp32s3" / "main" / "main.cc"
STAND_INS = ROOT / "tests" / "helpers" / "esp32s3"
FLAGS = ["-std=gnu++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
ARENA_BYTES = 121_696
needs_gxx = pytest.mark.skipif(not shutil.which("g++"), reason="apt-get install g++")


def compile_main(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """``text`` as main.cc, beside a model's headers."""
    whole = Quantised(0.02, -20, 0.05, 3, ARENA_BYTES)
    rule, calibration = Rule(0.6, 0.4, 2.0, 1.0), Calibration("temperature")
    write_device(folder, picture_of(FRONT_END), CONTEXT, calibration, rule, whole)
    source = folder / "main.cc"
    source.write_text(text)
    command = ["g++", *FLAGS, "-I", folder, "-I", MAIN.parent, "-I", STAND_INS, source]
    return subprocess.run(command, capture_output=True, text=True)


@needs_gxx
def test_the_sketch_is_valid_against_stand_ins_of_the_headers(tmp_path):
    ended = compile_main(tmp_path, MAIN.read_text())
    assert ended.returncode == 0, ended.stderr


@needs_gxx
@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("loop.listener.second", "loop.listener.seconds"),
        ("i2s_channel_enable(channel)", "i2s_channel_enable()"),
        ('"%s at %ld s', '"%s at %d s'),
        ("AddMaxPool2D", "AddMaxPool"),
    ],
)
def test_what_does_not_fit_them_is_refused(tmp_path, written, instead):
    text = MAIN.read_text()
    assert written in text
    assert compile_main(tmp_path, text.replace(written, instead)).returncode != 0


def test_the_kernels_that_are_asked_for_are_as_many_as_there_is_room_for():
    text = MAIN.read_text()
    added = re.findall(r"ops\.Add(\w+)\(\)", text)
    (room,) = re.findall(r"MicroMutableOpResolver<(\d+)>", text)
    assert len(set(added)) == len(added) == int(room)
