"""What a challenger must keep, with the numbers.

A slice fails if the challenger lost more than its tolerance and the loss is no chance: the 95 %
interval of the paired difference excludes 0. It fails too if it lost more than the most that is
allowed, whatever the interval says: in a small slice that is wide, and would hide a large loss. So
is a slice of few groups, of which no interval is believed. One clip alone fails no slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.infants.evaluation.results import over_twice
from crywatch.operations.register import PromotionGate
from crywatch.operations.register.config import Guard, InfantsConfig, RegisterConfig
from crywatch.operations.register.slices import MAIN, Slice

BETTER = "better_on_main"
NO_WORSE = "no_worse"
INFANTS = "infants"
FLOOR = "floor"
COMPARABLE = "comparable"
FIT_INFANTS = "dvc repro fit_infants"
SHARES = ("found", "called", "confuser", "noise")


@dataclass(frozen=True)
class InfantsCount:
    """Infants with a promise, and how many of them have more than twice its false alarms."""

    promised: int
    over_twice: int

    def __str__(self) -> str:
        return f"{self.over_twice} of {self.promised}"


def count_infants(tables: Path, part: str) -> InfantsCount | None:
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
    return InfantsCount(len(rows), sum(over))


def check_gates(
    slices: Sequence[Slice],
    infants: InfantsCount | None,
    champions: InfantsCount | None,
    config: RegisterConfig,
) -> list[PromotionGate]:
    """All gates of a challenger, the main one first."""
    main = next((each for each in slices if each.kind == MAIN), None)
    return [
        better_on_main(main, config),
        *(
            no_worse(each, config.guards[each.kind], config.least_groups, config.least_lost)
            for each in slices
            if each.kind != MAIN
        ),
        no_more_infants(infants, champions, config.infants),
    ]


def better_on_main(main: Slice | None, config: RegisterConfig) -> PromotionGate:
    """Better by more than chance."""
    limits = config.main
    if main is None:
        text = "nothing to compare on: the part holds no cries, or nothing else"
        return PromotionGate(BETTER, limits.scope, False, text)
    if main.groups < config.least_groups or main.p is None:
        passed = False
        text = f"{main.groups} groups of a class tell nothing, {config.least_groups} are needed"
    else:
        passed = main.gain > limits.least and main.p <= limits.p
        text = f"p {main.p:.3f}, needs a gain above {limits.least:g} at p {limits.p:g} or less"
    return PromotionGate(BETTER, main.name, passed, f"{numbers(main)}; {text}")


def no_worse(part: Slice, guard: Guard, least_groups: int, least_lost: int) -> PromotionGate:
    """Not worse by more than chance and tolerance, and never by more than the most."""
    loss = max(0.0, -part.gain - 1e-9)  # of exactly a limit is within it
    high = None if part.groups < least_groups else part.high
    if part.kind in SHARES and loss and round(-part.gain * part.rows) < least_lost:
        passed, why = True, f"fewer than {least_lost} {part.unit} lost tell nothing"
    elif loss > guard.most:
        passed, why = False, f"lost more than {guard.most:g}"
    elif high is None:
        passed, why = True, f"so few groups may lose up to {guard.most:g}"
    elif loss > guard.tolerance and high < 0:
        passed, why = False, f"lost more than {guard.tolerance:g}, and no chance"
    elif loss > guard.tolerance:
        passed, why = True, f"lost more than {guard.tolerance:g}, but it may be chance"
    else:
        passed, why = True, f"may lose up to {guard.tolerance:g}"
    return PromotionGate(NO_WORSE, part.name, passed, f"{numbers(part)}; {why}")


def no_more_infants(
    infants: InfantsCount | None, champions: InfantsCount | None, config: InfantsConfig
) -> PromotionGate:
    """Not more infants over twice the promised rate than with the champion, nor a larger share."""
    passed = infants is not None or champions is None
    if infants is not None and champions is not None:
        text = f"{champions} infants with the champion, {infants} now; {config.more} more may be"
        more = infants.over_twice > champions.over_twice + config.more
        # Of more infants more are over it by chance.
        larger = infants.over_twice * champions.promised > champions.over_twice * infants.promised
        passed = not (more and larger)
    elif infants is not None:
        text = f"{infants} infants; of the champion nothing is recorded"
    elif champions is not None:
        text = (
            f"the champion's rebuild had {champions} infants and this one fitted none: run "
            f"`{FIT_INFANTS}`"
        )
    else:
        text = f"not judged: no infants were fitted: run `{FIT_INFANTS}`"
    return PromotionGate(INFANTS, f"{config.model}, over twice the promise", passed, text)


def check_floors(
    slices: Sequence[Slice], infants: InfantsCount | None, config: RegisterConfig
) -> list[PromotionGate]:
    """Of a first model, which was compared with itself."""
    limits = config.first
    by_kind = {each.kind: each for each in slices if each.kind in (MAIN, "false_alarms")}
    main, alarms = by_kind.get(MAIN), by_kind.get("false_alarms")
    if main is None:
        text = "nothing to measure on: the part holds no cries, or nothing else"
        return [PromotionGate(FLOOR, config.main.scope, False, text)]
    least, most = limits.main, limits.false_alarms_per_hour
    text = f"{main.measure} {main.challenger:.3f} of {main.rows} {main.unit}; at least {least:g}"
    gates = [PromotionGate(FLOOR, main.name, main.challenger >= least, text)]
    if alarms is not None:
        text = f"{alarms.measure} {alarms.challenger:.1f}; at most {most:g}"
        gates.append(PromotionGate(FLOOR, alarms.name, alarms.challenger <= most, text))
    if infants is not None:
        allowed = limits.infants_over_twice
        passed = infants.over_twice <= allowed * infants.promised
        text = f"{infants} infants; a share of at most {allowed:g}"
        gates.append(
            PromotionGate(FLOOR, f"{config.infants.model}, over twice the promise", passed, text)
        )
    return gates


def numbers(part: Slice) -> str:
    """Both models, the gain with its interval, and how much it rests on."""
    return (
        f"{part.measure} {part.champion:.{part.digits}f} to {part.challenger:.{part.digits}f} "
        f"(gain {part.gain:+.{part.digits}f}, {part.interval('95 %: ') or 'no interval'}; "
        f"{_count(part.rows, part.unit)} of {_count(part.groups, 'groups')})"
    )


def brief(gate: PromotionGate) -> str:
    """The gate, its slice and both models' numbers."""
    return f"{gate.slice}: {gate.said.partition(' (gain')[0]}"


def _count(n: int, unit: str) -> str:
    singular = {"cries": "cry"}.get(unit, unit.removesuffix("s"))
    return f"{n} {singular if n == 1 else unit}"
