"""dvc.yaml with its templates filled in, for stages that dvc.lock does not hold yet.

DVC's own resolver costs half a second, as much as a short stage. This one knows what the project's
dvc.yaml uses: `foreach` over lists and mappings, and `${...}` from params.yaml, `item` and `key`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from crywatch.tracking.lineage import Entry, YamlLoader

PLAN = Path("dvc.yaml")
TEMPLATE = re.compile(r"\$\{\s*([^}]+?)\s*\}")


def planned_stages(values: dict[str, Any]) -> dict[str, Entry]:
    """Stage name to its entry as dvc.yaml and ``values``, those of params.yaml, plan it."""
    if not PLAN.is_file():
        return {}
    stages = (yaml.load(PLAN.read_text(), YamlLoader) or {}).get("stages") or {}
    found = {}
    for name, body in stages.items():
        if "foreach" not in body:
            found[name] = _entry(body, values)
            continue
        items = body["foreach"]
        if isinstance(items, str):
            items = _select(values, TEMPLATE.fullmatch(items.strip()).group(1))
        if isinstance(items, dict):
            for key, item in items.items():
                found[f"{name}@{key}"] = _entry(body["do"], values | {"key": key, "item": item})
        else:
            for item in items:
                found[f"{name}@{item}"] = _entry(body["do"], values | {"item": item})
    return found


def _entry(body: dict[str, Any], values: dict[str, Any]) -> Entry:
    names = [_fill(name, values) for name in body.get("params", []) if isinstance(name, str)]
    return Entry(
        cmd=_fill(body.get("cmd", ""), values),
        deps=tuple(_fill(path, values) for path in body.get("deps", [])),
        outs={_fill(path, values): "" for path in body.get("outs", [])},
        params={name: _select(values, name) for name in names},
    )


def _fill(text: Any, values: dict[str, Any]) -> str:
    if isinstance(text, dict):  # a path with options
        text = next(iter(text))
    return TEMPLATE.sub(lambda match: str(_select(values, match.group(1))), str(text))


def _select(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values[part]
    return values
