"""The data stages on a few generated sounds, and what they wrote: ``python -m ... FOLDER``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from crywatch import corpora
from crywatch.core import params
from crywatch.core.digest import file_sha256
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.data import clean, mixtures, split
from crywatch.data.tables import PARTS
from crywatch.detection.blazenet import pictures

CORPORA = ("esc50", "donateacry", "baby_cry_detection")  # WAV, 3GP and CAF, Ogg


def main(folder: str) -> None:
    """From generated corpora to mixtures and pictures in ``folder``; prints path to sha256."""
    config = params.compose()
    os.chdir(folder)
    cleaning = replace(params.typed(config.clean, clean.CleanConfig, "clean"), workers=1)
    for name in CORPORA:
        raw = Path("raw", name)
        generate(name, raw, GeneratorConfig(3, 2, 3, 4, 1))
        clean.run(corpora.get(name), cleaning, raw, Path("clean", name), Path("work", name))
    config.split.infants.only = []
    splitting = params.typed(config.split, split.SplitConfig, "split")
    folders = [Path("clean", name) for name in CORPORA]
    split.run(folders, splitting, 1, Path("split"), Path("split_infants"))
    tables = [Path("split", f"{table}.parquet") for table in ("clips", "events")]
    mixing = params.typed(config.mixtures, mixtures.MixturesConfig, "mixtures")
    one = dict.fromkeys(PARTS, 1)
    scenes = mixing.soundscapes
    kinds = {kind: replace(getattr(scenes, kind), per_part=one) for kind in ("ten_s", "untrimmed")}
    mixing = mixtures.MixturesConfig(
        replace(mixing.untrimmed, per_part=one), replace(scenes, **kinds)
    )
    mixtures.run(*tables, mixing, 1, Path("mixtures"))
    front_ends = params.typed(config.pictures, pictures.PicturesConfig, "pictures")
    pictures.run(tables[:1], front_ends, Path("pictures"), Path("work", "pictures"))
    files = sorted(path for path in Path().rglob("*") if path.is_file())
    print(json.dumps({str(path): file_sha256(path) for path in files}))


if __name__ == "__main__":
    main(*sys.argv[1:])
