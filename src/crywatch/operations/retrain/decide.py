"""Is there a reason to rebuild? What there is now against what the last rebuild was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crywatch.operations.retrain.look import PUBLISHERS, Look
from crywatch.operations.retrain.record import Changes, State

NAMED = 5  # files of the project that a reason names


@dataclass(frozen=True)
class Decision:
    """Whether to rebuild, and why."""

    reasons: tuple[str, ...]  # none: nothing is to be done
    fetch: tuple[str, ...] = ()  # corpora that their publishers changed, which DVC cannot see
    changes: dict[str, Changes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def compare(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """From one listing, name to digest, to another."""
    return Changes(
        new=tuple(sorted(now.keys() - before.keys())),
        changed=tuple(sorted(n for n in now.keys() & before.keys() if now[n] != before[n])),
        removed=tuple(sorted(before.keys() - now.keys())),
    )


def decide(state: State | None, now: Look, allowed: Sequence[str], force: str) -> Decision:
    """Compare; reasons that are not ``allowed`` (`RetrainConfig.reasons`) become notes."""
    reasons: list[tuple[str, str]] = [("force", f"forced: {force}")] if force else []
    differences: dict[str, Changes] = {}
    fetch: list[str] = []
    if state is None:
        reasons.append(("first", "no rebuild is on record here"))
    else:
        if names := compare(state.files, now.inputs.files).names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            changed = ", ".join(names[:NAMED]) + more
            reasons.append(("commit", f"commit {now.commit[:7]} changes {changed}"))
        if names := compare(state.params, now.inputs.params).names:
            reasons.append(("params", f"parameters changed: {', '.join(names)}"))
        if state.targets != now.targets:
            reasons.append(("params", "retrain.targets changed"))
        for name, source in now.corpora.items():
            before = state.corpora.get(name)
            if before is None or before.kind != source.kind:
                reasons.append(("data", f"corpus {name} is new, or comes from elsewhere"))
                continue
            is_first_answer = source.kind == PUBLISHERS and not before.files
            if not is_first_answer and (difference := compare(before.files, source.files)):
                differences[name] = difference
                reasons.append(("data", f"corpus {name}: {difference.summary}"))
                if source.kind == PUBLISHERS:
                    fetch.append(name)
    always = {"force", "first", *allowed}
    return Decision(
        tuple(text for kind, text in reasons if kind in always),
        tuple(fetch),
        differences,
        tuple(f"no reason here: {text}" for kind, text in reasons if kind not in always),
    )
