"""Kinds of sound: what publishers' classes are to a nursery, by conf/kinds.yaml."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from crywatch.core.errors import ConfigError

OTHER = "other"
KindsConfig = Mapping[str, Mapping[str, Sequence[str]]]  # kind -> corpus -> publisher's classes


def kinds_of(clips: pd.DataFrame, kinds: KindsConfig) -> pd.Series:
    """[clips] str: the label of a clip that is not another sound, else the kind of its class.

    ``clips`` have label, corpus, category and cluster_id. A class that is not named has the kind of
    the one above it ("birds" for "birds/crow"); without any it is `OTHER`, which is said. Copies of
    one sound have the kind of the first that has another.
    """
    by_class: dict[tuple[str, str], str] = {}
    for kind, corpora in kinds.items():
        for corpus, categories in corpora.items():
            for category in categories:
                other = by_class.setdefault((corpus, category.casefold()), kind)
                if other != kind:
                    raise ConfigError(
                        f"conf/kinds.yaml: {category!r} of {corpus} is {other} and {kind}"
                    )
    found, unnamed = [], Counter[tuple[str, str]]()
    for label, corpus, category in zip(
        clips["label"], clips["corpus"], clips["category"], strict=True
    ):
        named = (by_class.get((corpus, each)) for each in _upwards(category.casefold()))
        kind = next(filter(None, named), category.casefold())
        if label != "other":
            kind = label
        elif kind not in kinds:
            unnamed[(corpus, category)] += 1
            kind = OTHER
        found.append(kind)
    if unnamed:
        told = ", ".join(
            f"{category} of {corpus} ({n})" for (corpus, category), n in unnamed.items()
        )
        print(f"split: no kind of sound in conf/kinds.yaml, so other: {told}", file=sys.stderr)
    column = pd.Series(found, index=clips.index, dtype=object)
    plain = column == OTHER
    known = column[~plain & (clips["label"] == "other")]
    of_copies = known.groupby(clips["cluster_id"]).first()
    return column.mask(plain, clips["cluster_id"].map(of_copies).fillna(OTHER))


def _upwards(category: str) -> Iterator[str]:
    """A class, then those above it: "birds/crow", "birds"."""
    while category:
        yield category
        category = category.rpartition("/")[0]
