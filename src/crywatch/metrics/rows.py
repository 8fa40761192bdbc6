"""Rows of tables as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def flat(row: DataclassInstance) -> dict[str, Any]:
    """The fields of ``row``; those of a dataclass inside it take the place of their field."""
    return dict(_cells(row))


def _cells(row: DataclassInstance) -> Iterator[tuple[str, Any]]:
    for name, value in asdict(row).items():
        yield from value.items() if is_dataclass(getattr(row, name)) else [(name, value)]
