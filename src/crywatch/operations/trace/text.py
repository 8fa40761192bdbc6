"""A version's lineage as JSON, and as lines for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from crywatch.operations.trace import Trace

SHORT = 12  # characters of a digest in a table


def as_json(traced: Trace) -> str:
    """For programs."""
    return json.dumps(asdict(traced) | {"sound": traced.sound}, indent=2, sort_keys=True)


def as_text(traced: Trace) -> str:
    """For people: what is not known is said."""
    return "\n".join(_lines(traced))


def _lines(t: Trace) -> Iterator[str]:
    aliases = f" ({', '.join(t.aliases)})" if t.aliases else ""
    yield f"{t.name} version {t.version}{aliases}"
    yield f"  model       sha256 {_or_unknown(t.model_sha256)}"
    yield f"              dvc {_or_unknown(t.model_dvc)}"
    yield f"  made by     {t.stage or 'no stage: a folder that was registered by hand'}"
    dirty = ", with changes that were not committed" if t.dirty else ""
    yield f"  commit      {_or_unknown(t.commit)}{dirty}"
    if t.subject:
        yield f"              {t.subject}"
    yield f"  experiment  {', '.join(t.experiments) or 'none: plain rebuilds'}"
    yield f"  dvc.lock    sha256 {_or_unknown(t.lock_sha256)}"
    yield f"  params.yaml sha256 {_or_unknown(t.params_sha256)}"
    yield f"  profile     {_or_unknown(t.profile)}"
    yield "corpora" if t.corpora else "corpora: not recorded"
    for corpus in t.corpora:
        yield f"  {corpus.name}: {corpus.licence or 'licence not recorded'}"
        yield f"    raw {_or_unknown(corpus.raw)}, clean {_or_unknown(corpus.clean)}"
    yield "runs"
    for what, run in (
        ("rebuild", t.rebuild),
        ("stage", t.stage_run),
        ("registered", t.registering),
    ):
        text = "not in this store"
        if run is not None:
            text = f"{run.run_id}  {run.status.lower()}  {run.started_at}  {run.name}"
        yield f"  {what:<11} {text}"
    yield "stages" if t.steps else "stages: not recorded"
    for step in t.steps:
        run_id = step.run_id or "not in this store"
        yield f"  {step.stage}: entry {step.entry[:SHORT]}, run {run_id}"
        for path, digest in step.outs.items():
            yield f"    {path} {digest}"
    yield "params" if t.params else "params: not recorded"
    for name, value in t.params.items():
        yield f"  {name} = {json.dumps(value)}"
    yield "metrics" if t.metrics else "metrics: not recorded"
    for name, value in t.metrics.items():
        yield f"  {name} = {value:.6g}"
    yield "promotions" if t.promotions else "promotions: it was never champion"
    for move in t.promotions:
        before = "none" if move["from_version"] is None else move["from_version"]
        yield (
            f"  {move['at']}  {move['kind']} of {move['to_version']} in place of {before}, by "
            f"{move['by'] or 'unknown'}: {move['why'] or 'no reason given'}"
        )
    yield "checks"
    for check in t.checks:
        yield f"  {check.state:<8} {check.what}: {check.said}"


def _or_unknown(text: str) -> str:
    return text or "not recorded"
