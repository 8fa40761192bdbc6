"""The bytes of a rebuild on two kinds of processor: ``python -m benchmarks.processors STAGE ...``.

A clone of the project is rebuilt twice: as this processor is, with two threads, and as if it were
an x86-64 without AVX, FMA and soxr's SIMD, with one thread. Printed is each stage whose outputs
differ; first those that differ with equal inputs, which is where bytes begin to part. FFmpeg's
codecs are the same in both as `crywatch.audio.ffmpeg` has it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stages import rebuild
from crywatch.core.threads import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
PLAIN = {  # each library's own switch
    "SOXR_USE_SIMD": "0",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
OTHER_PROCESSOR = PLAIN | dict.fromkeys(VARIABLES, "1")
THIS_PROCESSOR = dict.fromkeys(VARIABLES, "2")


@dataclass(frozen=True)
class Difference:
    """Outputs of a stage that are not the same on both."""

    stage: str
    begins: bool  # its inputs are the same


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild twice and print what differs; 1 if something does."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stages", nargs="*", help="and all before them; by default the whole DAG")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="crywatch-processors-") as folder:
        locks = [
            rebuilt(Path(folder, name), options.stages, variables)
            for name, variables in (("this", THIS_PROCESSOR), ("other", OTHER_PROCESSOR))
        ]
    found = differences(*locks)
    print(f"{len(locks[0])} stages, {len(found)} of other bytes")
    for difference in found:
        print(f"  {difference.stage}{' (from equal inputs)' if difference.begins else ''}")
    if options.json:
        options.json.write_text(json.dumps([vars(d) for d in found], indent=2) + "\n")
    return 1 if found else 0


def rebuilt(clone: Path, stages: Sequence[str], variables: Mapping[str, str]) -> dict[str, dict]:
    """Stage to its entry in the dvc.lock of a rebuild in a new clone.

    Raises:
        SystemExit: `dvc repro` failed; the message has its output's end.
    """
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    output = rebuild(clone, variables, stages)
    import yaml

    made = yaml.load((clone / "dvc.lock").read_text(), yaml.CSafeLoader)["stages"]
    return {name: made[name] for name in _names(output, made)}


def _names(output: str, made: Mapping[str, dict]) -> list[str]:
    """Of the stages that ran."""
    return [name for name in made if f"'{name}'" in output]


def differences(first: Mapping[str, dict], second: Mapping[str, dict]) -> list[Difference]:
    """Between two locks of the same stages; those that begin it come first."""
    found = [
        Difference(name, first[name].get("deps") == second[name].get("deps"))
        for name in first
        if first[name]["outs"] != second[name]["outs"]
    ]
    return sorted(found, key=lambda difference: not difference.begins)


if __name__ == "__main__":
    raise SystemExit(main())
