"""`crywatch register` and `crywatch rollback`.

What decides is the validation part; the test part is measured beside it and decides nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from crywatch.core import params, paths
from crywatch.core.atomic import read_json, write_json, write_text
from crywatch.core.digest import files_sha256, value_sha256
from crywatch.core.errors import RegistryError, UnreachableError
from crywatch.core.lock import FileLock
from crywatch.core.models import load
from crywatch.corpora.terms import terms_of_model
from crywatch.detection.decisions import decision_of
from crywatch.detection.detectors import load_detector
from crywatch.operations import drift
from crywatch.operations.register import Gate, Registration, card, facts
from crywatch.operations.register.config import RegisterConfig
from crywatch.operations.register.gates import BETTER, COMPARABLE, InfantsSeen, brief
from crywatch.operations.register.judging import (
    REPORTED,
    Champion,
    Judgement,
    Model,
    at_hand,
    clips_digest,
    compare,
    infants_of,
    without_numbers,
)
from crywatch.operations.register.models import folder_of
from crywatch.operations.register.training import TRAINING, write_training
from crywatch.tracking import lineage, registry
from crywatch.tracking.model_files import snapshot
from crywatch.tracking.registry import CHALLENGER, CHAMPION, ModelVersion, Move
from crywatch.tracking.store import Store, home

LOCK = paths.WORK / "register.lock"
JUDGED = "crywatch.judged"  # digest of champion, limits and clips that a version was judged by
REFERENCE, LINEAGE, GATES, CARD = "reference", "lineage.json", "gates.json", "card.md"


@dataclass(frozen=True)
class Asked:
    """Who wants it, why, and whether the gates decide."""

    by: str
    reason: str = ""
    promote: bool = True  # False: to `challenger` only
    force: str = ""  # why it is promoted whatever the gates say


def run(config: RegisterConfig, asked: Asked) -> Registration:
    """Register the model folder of the project in the working directory, and promote it if it may.

    The same model is never registered twice: then it is judged again only if the champion, the
    limits or the clips are others than before, and one that was rolled back from stays so.

    Raises
    ------
    RegistryError
        The folder is no model, is not what dvc.lock names, or another process registers.
    UnreachableError
        The store does not answer.
    """
    config.check()
    folder = Path(config.model)
    store = registry.open_registry()
    with _alone(), _scratch() as scratch:
        held = scratch / registry.MODEL
        digest = snapshot(folder, held)
        load_detector(held)
        origin = facts.origin(folder)
        if files_sha256([folder]) != digest:
            raise RegistryError(f"{folder} was changed while it was read: register it again")
        champion = registry.find(store, config.name, CHAMPION)
        known = registry.with_digest(store, config.name, digest)
        judged_by = value_sha256(
            [
                champion.digest if champion else "",
                config.limits_sha256(),
                clips_digest(at_hand()),
                asked.promote,
            ]
        )
        if known is not None and champion is not None and known.version == champion.version:
            if not known.done:  # cut short after it was promoted
                registry.set_tags(store, known, {registry.DONE: registry.utc_now()})
            why = "this very model is the champion already"
            return Registration(known.version, False, True, (), why)
        if known is not None and known.tags.get(registry.ROLLED_BACK) and not asked.force:
            return _held_back(store, known, scratch)
        finished = known is not None and known.done
        if finished and known.tags.get(JUDGED) == judged_by and not asked.force:
            return _as_before(store, known, scratch)
        judged = _judge(config, store, Model(held, digest, "challenger"), champion, scratch)
        verdict = _verdict(judged, champion, asked)
        files = scratch / "files"
        _write_files(files, held, digest, config, asked, origin, champion, judged, verdict)
        if known is None:
            tags = _tags(store, origin, digest)
            metrics = _metrics(judged)
            new = registry.add(store, config.name, held, files, tags, metrics, origin.profile)
        else:
            registry.log_files(store, known, files)
            new = known
        if not finished:
            registry.set_alias(store, new, CHALLENGER)
        registry.describe(store, new, (files / CARD).read_text(encoding="utf-8"))
        if verdict.promoted:
            why = "; ".join(part for part in (asked.reason, verdict.why) if part)
            kind = "forced" if asked.force and judged.failed else "promotion"
            registry.move_champion(store, new, asked.by, why, kind)
            if new.tags.get(registry.ROLLED_BACK):
                registry.set_tags(store, new, {registry.ROLLED_BACK: ""})
        # Last: without `DONE` the next call goes on from here.
        registry.set_tags(store, new, {JUDGED: judged_by, registry.DONE: registry.utc_now()})
    return Registration(new.version, verdict.promoted, finished, judged.gates, verdict.why)


def _judge(
    config: RegisterConfig,
    store: Store,
    challenger: Model,
    champion: ModelVersion | None,
    scratch: Path,
) -> Judgement:
    seed = params.plain("seed")
    if champion is None:
        return compare(challenger, None, at_hand(), config, seed)
    try:
        model = Model(folder_of(store, champion), champion.digest, "champion")
        there = scratch / "champion"
        training = registry.download_artifact(store, champion, f"{REFERENCE}/{TRAINING}", there)
        told = read_json(registry.download_artifact(store, champion, LINEAGE, there))
    except UnreachableError:
        raise
    except RegistryError as error:
        # Nothing is better than what cannot be heard: a person decides.
        return without_numbers(Gate(COMPARABLE, f"version {champion.version}", False, str(error)))
    seen = told.get("infants", {}).get(config.part)
    infants = InfantsSeen(**seen) if seen else None
    return compare(challenger, Champion(model, training, infants), at_hand(), config, seed)


@dataclass(frozen=True)
class Verdict:
    """Whether it becomes champion, and why."""

    promoted: bool
    why: str  # one sentence


def _verdict(
    judged: Judgement,
    champion: ModelVersion | None,
    asked: Asked,
) -> Verdict:
    failed, count = judged.failed, len(judged.gates)
    over = f"over version {champion.version}" if champion else "with no champion before it"
    shown = "; ".join(map(brief, failed))
    if asked.force:
        kept = f"{len(failed)} of {count} gates failed ({shown})" if failed else "all gates kept"
        return Verdict(True, f"promoted {over} by force, because {asked.force}; {kept}")
    if failed:
        return Verdict(False, f"refused {over}: {len(failed)} of {count} gates failed: {shown}")
    if not asked.promote:
        return Verdict(False, f"not promoted, as was asked; it keeps all {count} gates")
    main = next((gate for gate in judged.gates if gate.name == BETTER), judged.gates[0])
    return Verdict(True, f"promoted {over}: all {count} gates kept; {brief(main)}")


def _as_before(store: Store, known: ModelVersion, scratch: Path) -> Registration:
    """What was said of the same version before the same champion."""
    told = read_json(registry.download_artifact(store, known, GATES, scratch / "before"))
    gates = tuple(Gate(**gate) for gate in told["gates"])
    why = f"this very model was judged before by the same: {told['why']}"
    return Registration(known.version, False, True, gates, why)


def _held_back(store: Store, known: ModelVersion, scratch: Path) -> Registration:
    """A person went back from it: no gate promotes it again."""
    before = _as_before(store, known, scratch)
    told = json.loads(known.tags[registry.ROLLED_BACK])
    why = (
        f"refused: this very model was rolled back from on {told['at']} by {told['by']} "
        f"({told['why']}); --force promotes it again"
    )
    return replace(before, why=why)


def _tags(store: Store, origin: facts.Origin, digest: str) -> dict[str, str]:
    outs = lineage.lock_stages()[origin.stage].outs if origin.stage else {}
    made = registry.making(store, origin.stage, outs) if outs else registry.Making("", "")
    return origin.as_tags() | {
        registry.DIGEST: digest,
        registry.STAGE_RUN: made.stage_run,
        registry.REBUILD_RUN: made.rebuild_run,
    }


def _metrics(judged: Judgement) -> dict[str, float]:
    found = {"gates": float(len(judged.gates)), "gates_failed": float(len(judged.failed))}
    for one in judged.slices[:1]:
        found |= {"main": one.challenger, "main_gain": one.gain}
    return found


def _write_files(
    files: Path,
    held: Path,
    digest: str,
    config: RegisterConfig,
    asked: Asked,
    origin: facts.Origin,
    champion: ModelVersion | None,
    judged: Judgement,
    verdict: Verdict,
) -> None:
    """All that is logged beside the model."""
    files.mkdir()
    told = facts.lineage_of(held, origin)
    infants = {part: infants_of(config, part) for part in (config.part, REPORTED)}
    told["infants"] = {part: seen.as_dict() for part, seen in infants.items() if seen}
    told["infants"]["model"] = config.infants.model
    write_json(files / LINEAGE, told)
    for path in (lineage.LOCK, params.PARAMS_FILE):
        if path.is_file():
            shutil.copy(path, files / path.name)
    write_json(
        files / GATES,
        {
            "part": config.part,
            "champion": {"version": champion.version, "sha256": champion.digest}
            if champion
            else None,
            "gates": [asdict(gate) for gate in judged.gates],
            "slices": [one.as_dict() for one in judged.slices],
            "reported": {"part": REPORTED, "slices": [one.as_dict() for one in judged.reported]},
            "recordings": judged.recordings,
            "left_out": judged.left_out,
            "limits": params.plain("register"),
            "asked": asdict(asked),
            "why": verdict.why,
        },
    )
    reference = files / REFERENCE
    settings = params.section("drift", drift.DriftConfig)
    drift.build_reference(paths.SPLIT_CLIPS, held, settings, params.plain("seed"), reference)
    write_training(paths.CLIPS_TABLES, reference / TRAINING)
    write_text(files / CARD, _card(held, digest, config, origin, champion, judged, verdict, told))


def _card(
    held: Path,
    digest: str,
    config: RegisterConfig,
    origin: facts.Origin,
    champion: ModelVersion | None,
    judged: Judgement,
    verdict: Verdict,
    told: dict,
) -> str:
    description = load(held).description
    terms = terms_of_model(description)
    name = card.evaluated_name(Path(config.model))
    current = facts.is_current("evaluate_detection", card.source_of(Path(config.model)))
    return card.render(
        card.Card(
            name=config.name,
            digest=digest,
            description=description,
            parameters=load_detector(held).n_parameters,
            terms=terms,
            decision=decision_of(description),
            origin=origin,
            generated=params.plain("data.source") == "generated",
            corpora=card.corpora_table(terms, told),
            evaluation=card.evaluation_table(name) if current else None,
            left_out=card.left_out_table(name) if current else None,
            gates=card.gates_table(judged.gates),
            reported=card.reported_table(judged.reported, REPORTED, champion is None),
            verdict=f"{verdict.why[:1].upper()}{verdict.why[1:]}.",
            n_left_out=judged.left_out,
            champion=f"version {champion.version}" if champion else "",
            alias=CHAMPION if verdict.promoted else CHALLENGER,
        )
    )


def rollback(config: RegisterConfig, to: int | None, by: str, reason: str) -> Move:
    """Let `champion` name the version that it named before, or version ``to``.

    What it goes back to is fetched anew and checked first. The version that it leaves is promoted
    again by a person only.

    Raises
    ------
    RegistryError
        There is no champion, none before it, no such version, or its files were changed.
    """
    store = registry.open_registry()
    with _alone(), _scratch() as scratch:
        champion = registry.find(store, config.name, CHAMPION)
        if champion is None:
            raise RegistryError(f"{config.name}: there is no champion to roll back from")
        number = to if to is not None else _before(champion)
        if number is None:
            raise RegistryError(
                f"{config.name}: no version was champion before version {champion.version}: name "
                "one with --to"
            )
        target = registry.find(store, config.name, str(number))
        if target is None or not target.done:
            raise RegistryError(f"{config.name}: there is no version {number} to go back to")
        if target.version == champion.version:
            raise RegistryError(f"{config.name}: version {number} is the champion already")
        registry.download(store, target, scratch / registry.MODEL)
        left = {"at": registry.utc_now(), "by": by, "why": reason}
        registry.set_tags(store, champion, {registry.ROLLED_BACK: json.dumps(left)})
        registry.set_tags(store, target, {registry.ROLLED_BACK: ""})
        return registry.move_champion(store, target, by, reason, "rollback")


def _before(champion: ModelVersion) -> int | None:
    """Of the move that promoted it: going back twice goes further back, not to and fro."""
    moves = [move for move in champion.moves if move.kind != "rollback"]
    return moves[-1].from_version if moves else None


@contextmanager
def _alone() -> Iterator[None]:
    """One at a time of the project and its copies, which share the registry."""
    path = home() / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    if not lock.take():
        raise RegistryError(
            "another `crywatch register` or `rollback` is at work in this project: wait for it"
        )
    try:
        yield
    finally:
        lock.free()


@contextmanager
def _scratch() -> Iterator[Path]:
    paths.WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-register-", dir=paths.WORK) as folder:
        yield Path(folder)
