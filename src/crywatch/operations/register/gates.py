"""What a challenger must keep, and what is said of it.

A slice fails if the challenger lost more than its tolerance and the loss is no chance: the 95 %
interval of the paired difference excludes 0. It fails too if it lost more than the most that is
allowed, whatever the interval says: in a small slice that is wide, and would hide a large loss. So
is judged a slice of few groups, of which no interval is believed. One clip alone fails no slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.infants.evaluation.results import over_twice
from crywatch.operations.register import Gate
from crywatch.operations.register.config import FirstConfig, Guard, InfantsConfig, RegisterConfig
from crywatch.operations.register.slices import MAIN, Slice

BETTER, NO_WORSE, INFANTS, FLOOR, COMPARABLE = (
    "better_on_main",
    "no_worse",
    "infants",
    "floor",
    "comparable",
)

SHARES = ("found", "called", "confuser", "noise")


@dataclass(frozen=True)
class InfantsSeen:
    """Infants with a promise, and how many of them have more than twice its false alarms."""

    promised: int
    over_twice: int

    def as_dict(self) -> dict:
        """Plain values."""
        return asdict(self)


def infants_seen(tables: Path, part: str) -> InfantsSeen | None:
    """From tables.json of stage `fit_infants`; None where it was not run."""
    if not tables.is_file():
        return None
    try:
        rows = [
            row
            for row in read_json(tables)["parts"][part]["rows"]
            if row["promised"] and row["test_clips"]
        ]
        over = [over_twice(row["alarms"], row["test_clips"], row["rate_promised"]) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{tables}: not as stage fit_infants writes it: {error}") from error
    return InfantsSeen(len(rows), sum(over))


def judge(
    found: Sequence[Slice],
    seen: InfantsSeen | None,
    champions: InfantsSeen | None,
    config: RegisterConfig,
) -> list[Gate]:
    """All gates of a challenger, the main one first."""
    main = next((one for one in found if one.kind == MAIN), None)
    return [
        better_on_main(main, config),
        *(
            no_worse(one, config.guards[one.kind], config.least_groups, config.least_lost)
            for one in found
            if one.kind != MAIN
        ),
        no_more_infants(seen, champions, config.infants),
    ]


def better_on_main(main: Slice | None, config: RegisterConfig) -> Gate:
    """Better by more than chance."""
    limits = config.main
    if main is None:
        said = "nothing to compare on: the part holds no cries, or nothing else"
        return Gate(BETTER, limits.scope, False, said)
    said = f"{numbers(main)}"
    if main.groups < config.least_groups or main.p is None:
        passed = False
        said += f"; {main.groups} groups of a class tell nothing, {config.least_groups} are needed"
    else:
        passed = main.gain > limits.least and main.p <= limits.p
        said += f"; p {main.p:.3f}, needs a gain above {limits.least:g} at p {limits.p:g} or less"
    return Gate(BETTER, main.name, passed, said)


def no_worse(one: Slice, guard: Guard, least_groups: int, least_lost: int) -> Gate:
    """Not worse by more than chance and tolerance, and never by more than the most."""
    said, loss = numbers(one), max(0.0, -one.gain - 1e-9)  # of exactly a limit is within it
    few = one.groups < least_groups or one.high is None
    if one.kind in SHARES and loss and round(-one.gain * one.rows) < least_lost:
        passed, why = True, f"fewer than {least_lost} {one.unit} lost tell nothing"
    elif loss > guard.most:
        passed, why = False, f"lost more than {guard.most:g}"
    elif not few and loss > guard.tolerance and one.high < 0:
        passed, why = False, f"lost more than {guard.tolerance:g}, and no chance"
    elif few:
        passed, why = True, f"so few groups may lose up to {guard.most:g}"
    elif loss > guard.tolerance:
        passed, why = True, f"lost more than {guard.tolerance:g}, but it may be chance"
    else:
        passed, why = True, f"may lose up to {guard.tolerance:g}"
    return Gate(NO_WORSE, one.name, passed, f"{said}; {why}")


def no_more_infants(
    seen: InfantsSeen | None, champions: InfantsSeen | None, config: InfantsConfig
) -> Gate:
    """Not more infants over twice the promised rate than with the champion, nor a larger share."""
    name = f"{config.model}, over twice the promise"
    if seen is None and champions is None:
        return Gate(INFANTS, name, True, "not judged: no infants were fitted")
    if seen is None:
        said = (
            f"the champion's rebuild had {_of(champions)} infants and this one fitted none: run "
            f"`dvc repro fit_infants@{config.model}`"
        )
        return Gate(INFANTS, name, False, said)
    if champions is None:
        return Gate(
            INFANTS, name, True, f"{_of(seen)} infants; of the champion nothing is recorded"
        )
    said = f"{_of(champions)} infants with the champion, {_of(seen)} now; {config.more} more may be"
    more = seen.over_twice > champions.over_twice + config.more
    # Of more infants more are over it by chance.
    larger = seen.over_twice * champions.promised > champions.over_twice * seen.promised
    return Gate(INFANTS, name, not (more and larger), said)


def _of(seen: InfantsSeen) -> str:
    return f"{seen.over_twice} of {seen.promised}"


def floors(found: Sequence[Slice], seen: InfantsSeen | None, config: RegisterConfig) -> list[Gate]:
    """Of a first model, which was compared with itself."""
    limits: FirstConfig = config.first
    main = next((one for one in found if one.kind == MAIN), None)
    alarms = next((one for one in found if one.kind == "false_alarms"), None)
    if main is None:
        said = "nothing to measure on: the part holds no cries, or nothing else"
        return [Gate(FLOOR, config.main.scope, False, said)]
    least, most = limits.main, limits.false_alarms_per_hour
    gates = [
        Gate(
            FLOOR,
            main.name,
            main.challenger >= least,
            f"{main.measure} {main.challenger:.3f} of {main.rows} {main.unit}; at least {least:g}",
        )
    ]
    if alarms is not None:
        said = f"{alarms.measure} {alarms.challenger:.1f}; at most {most:g}"
        gates.append(Gate(FLOOR, alarms.name, alarms.challenger <= most, said))
    if seen is not None:
        allowed = limits.infants_over_twice
        said = f"{_of(seen)} infants; a share of at most {allowed:g}"
        passed = seen.over_twice <= allowed * seen.promised
        gates.append(Gate(FLOOR, f"{config.infants.model}, over twice the promise", passed, said))
    return gates


def numbers(one: Slice) -> str:
    """Both models, the gain with its interval, and how much it rests on."""
    digits = 1 if one.kind == "false_alarms" else 3
    between = (
        "no interval"
        if one.low is None or one.high is None
        else f"95 %: {one.low:+.{digits}f} to {one.high:+.{digits}f}"
    )
    return (
        f"{one.measure} {one.champion:.{digits}f} to {one.challenger:.{digits}f} "
        f"(gain {one.gain:+.{digits}f}, {between}; {_count(one.rows, one.unit)} of "
        f"{_count(one.groups, 'groups')})"
    )


def brief(gate: Gate) -> str:
    """The gate, its slice and both models' numbers."""
    return f"{gate.slice}: {gate.said.partition(' (gain')[0]}"


def _count(n: int, unit: str) -> str:
    singular = {"cries": "cry"}.get(unit, unit.removesuffix("s"))
    return f"{n} {singular if n == 1 else unit}"
