"""The long fuzzer tells deaths, hangs and wrong sound apart; what it finds is not asserted here."""

import pytest

from benchmarks import fuzz

pytestmark = pytest.mark.nightly


def test_inputs_are_counted_and_written(tmp_path, capsys):
    assert fuzz.main(["--inputs", "20", "--json", str(tmp_path / "fuzz.json")]) == 0
    assert capsys.readouterr().out.splitlines()[-2].startswith("all")
    assert (tmp_path / "fuzz.json").is_file()


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("os.abort()", "crash"),
        ("time.sleep(60)", "hang"),
        ("bytearray(3 << 29)", "memory"),
        ("raise IndexError", "exception"),
    ],
)
def test_what_is_not_fine_is_told(tmp_path, monkeypatch, body, outcome):
    script = tmp_path / "sitecustomize.py"
    script.write_text(
        "import os, sys, time\n"
        "def install():\n"
        "    from benchmarks import fuzz\n"
        "    def hear(path, content):\n"
        "        if path.name[0].isdigit():\n"
        f"            {body}\n"
        "        return fuzz.WHOLE\n"
        "    fuzz.hear = hear\n"
    )
    monkeypatch.setattr(fuzz, "HANG_S", 3.0)
    command = [
        "-c",
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import sitecustomize as s; "
        "from benchmarks import fuzz; s.install(); sys.exit(fuzz.main(sys.argv[1:]))",
        str(tmp_path),
    ]
    monkeypatch.setattr(fuzz, "SERVER", command)
    (found,) = fuzz.run(1, 0)
    assert found.outcome == outcome
