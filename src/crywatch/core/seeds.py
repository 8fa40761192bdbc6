"""Rows of systems that differ by their seed alone, as one row: mean and deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any


def over_seeds(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], values: Sequence[str]
) -> list[dict[str, Any]]:
    """One row for all ``rows`` that are equal in ``keys``, in the order in which they come.

    Each of ``values`` is the mean of those that are not None, ``<value>_sd`` their standard
    deviation (n - 1; None for fewer than two), and ``seeds`` how many rows there were. What is
    neither key nor value is that of the first row.
    """
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    merged = []
    for members in groups.values():
        one = dict(members[0]) | {"seeds": len(members)}
        for name in values:
            found = [row[name] for row in members if row[name] is not None]
            one[name] = fmean(found) if found else None
            one[f"{name}_sd"] = stdev(found) if len(found) > 1 else None
        merged.append(one)
    return merged
