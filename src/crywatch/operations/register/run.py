"""`crywatch register` and `crywatch rollback`.

What decides is the validation part; the test part is measured beside it and decides nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crywatch.core import gate, params, paths
from crywatch.core.atomic import write_json, write_text
from crywatch.core.digest import files_sha256, value_sha256
from crywatch.core.errors import CrywatchError, RegistryError, UnreachableError
from crywatch.core.gate import GateError
from crywatch.core.lock import FileLock
from crywatch.core.models import own_files
from crywatch.detection.detectors import load_detector
from crywatch.operations import drift
from crywatch.operations.register import PromotionGate, Registration, card, devices, facts
from crywatch.operations.register.challenge import (
    REPORTED,
    ChallengeResult,
    Champion,
    all_sources,
    infants_missing,
    infants_of,
    judge,
)
from crywatch.operations.register.config import RegisterConfig
from crywatch.operations.register.gates import BETTER, COMPARABLE, InfantsCount, brief
from crywatch.operations.register.listening import Model
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
class _Judgement:
    """What is needed of an earlier `GATES`."""

    why: str
    gates: tuple[PromotionGate, ...]


@dataclass(frozen=True)
class _About:
    """What is needed of a champion's `LINEAGE`."""

    infants: dict[str, Any] = field(default_factory=dict)  # by part


@dataclass(frozen=True)
class Request:
    """Who wants it, why, and whether the gates decide."""

    by: str
    reason: str = ""
    promote: bool = True  # False: to `challenger` only
    force: str = ""  # why it is promoted whatever the gates say


def run(config: RegisterConfig, request: Request) -> Registration:
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
    with exclusive() as scratch:
        copy = scratch / registry.MODEL
        model = Model(copy, snapshot(folder, copy), "challenger")
        load_detector(copy)
        origin = facts.origin(folder)
        if files_sha256(own_files(folder)) != model.digest:
            raise RegistryError(f"{folder} was changed while it was read: register it again")
        champion = registry.find(store, config.name, CHAMPION)
        twin = registry.with_digest(store, config.name, model.digest)
        basis = _basis(config, champion, request)
        if twin is not None:
            earlier = _earlier(store, twin, champion, basis, request, scratch)
            if earlier is not None:
                return earlier
        result = _judge(config, store, model, champion, scratch)
        promoted, why = _decide(result, champion, request)
        files = scratch / "files"
        about = facts.lineage_of(model.folder, origin) | {"infants": _infants(config)}
        _write_files(files, model, about)
        write_json(files / GATES, _gates_file(config, request, champion, result, why))
        for_devices, no_devices = _devices(copy, files)
        text = card.render(
            config, model, origin, about, champion, result, promoted, why, bool(for_devices)
        )
        write_text(files / CARD, text)
        finished = twin is not None and twin.done
        if twin is None:
            tags, metrics = _tags(store, origin, model.digest) | for_devices, _metrics(result)
            version = registry.add(store, config.name, copy, files, tags, metrics, origin.profile)
        else:
            registry.log_files(store, twin, files)
            version = twin
        if not finished:
            registry.set_alias(store, version, CHALLENGER)
        registry.describe(store, version, text)
        if promoted:
            reason = "; ".join(part for part in (request.reason, why) if part)
            kind = "forced" if request.force and result.failed else "promotion"
            registry.move_champion(store, version, request.by, reason, kind)
            if version.departure:
                registry.set_tags(store, version, {registry.ROLLED_BACK: ""})
        # Last: without `DONE` the next call goes on from here.
        ended = {JUDGED: basis, registry.DONE: registry.utc_now()}
        registry.set_tags(store, version, for_devices | ended)
    return Registration(
        version.version,
        promoted,
        finished,
        result.gates,
        why,
        no_devices,
        infants_missing(config),
    )


def _devices(model: Path, files: Path) -> tuple[dict[str, str], str]:
    """Put what was exported of the model beside it; its tag, or why there is none."""
    try:
        digest = devices.copy_exported(paths.EXPORT, model, files / devices.EXPORT)
    except CrywatchError as error:
        return {}, f"no files for devices are registered with it: {error}"
    return {devices.DIGEST: digest}, ""


def _basis(config: RegisterConfig, champion: ModelVersion | None, request: Request) -> str:
    """Digest of all that a version is judged by."""
    files = [path for source in all_sources() for path in (source.clips, source.events)]
    digest = champion.digest if champion else ""
    judged_by = [digest, config.limits_sha256(), files_sha256(files), request.promote]
    return value_sha256([*judged_by, _infants(config)])


def _earlier(
    store: Store,
    twin: ModelVersion,
    champion: ModelVersion | None,
    basis: str,
    request: Request,
    scratch: Path,
) -> Registration | None:
    """What was decided of the same model before, where that still stands."""
    if champion is not None and twin.version == champion.version:
        if not twin.done:  # cut short after it was promoted
            registry.set_tags(store, twin, {registry.DONE: registry.utc_now()})
        return Registration(
            twin.version, False, True, (), "this very model is the champion already"
        )
    departure = twin.departure
    same = twin.done and twin.tags.get(JUDGED) == basis
    if request.force or not (departure or same):
        return None
    file = registry.download_artifact(store, twin, GATES, scratch / "before")
    before: _Judgement = gate.read(_Judgement, file)
    why = f"this very model was judged before by the same: {before.why}"
    if departure is not None:  # a person went back from it: no gate promotes it again
        why = (
            f"refused: this very model was rolled back from on {departure.at} by {departure.by} "
            f"({departure.why}); --force promotes it again"
        )
    return Registration(twin.version, False, True, before.gates, why)


def _judge(
    config: RegisterConfig,
    store: Store,
    challenger: Model,
    champion: ModelVersion | None,
    scratch: Path,
) -> ChallengeResult:
    seed = params.plain("seed")
    if champion is None:
        return judge(challenger, None, all_sources(), config, seed)
    try:
        model = Model(folder_of(store, champion), champion.digest, "champion")
        there = scratch / "champion"
        training = registry.download_artifact(store, champion, f"{REFERENCE}/{TRAINING}", there)
        about: _About = gate.read(
            _About, registry.download_artifact(store, champion, LINEAGE, there)
        )
    except UnreachableError:
        raise
    except (RegistryError, GateError) as error:
        # Nothing is better than a champion that cannot be loaded: a person decides.
        refusal = PromotionGate(COMPARABLE, f"version {champion.version}", False, str(error))
        return ChallengeResult((refusal,))
    counts = about.infants.get(config.part)
    infants = gate.typed(InfantsCount, counts, f"{LINEAGE}: infants") if counts else None
    return judge(challenger, Champion(model, training, infants), all_sources(), config, seed)


def _decide(
    result: ChallengeResult, champion: ModelVersion | None, request: Request
) -> tuple[bool, str]:
    """Whether the challenger becomes champion, and why, in one sentence."""
    failed, count = result.failed, len(result.gates)
    over = f"over version {champion.version}" if champion else "with no champion before it"
    shown = "; ".join(map(brief, failed))
    if request.force:
        tally = f"{len(failed)} of {count} gates failed ({shown})" if failed else "all gates kept"
        return True, f"promoted {over} by force, because {request.force}; {tally}"
    if failed:
        return False, f"refused {over}: {len(failed)} of {count} gates failed: {shown}"
    if not request.promote:
        return False, f"not promoted, as was asked; it keeps all {count} gates"
    main = next((gate for gate in result.gates if gate.name == BETTER), result.gates[0])
    return True, f"promoted {over}: all {count} gates kept; {brief(main)}"


def _tags(store: Store, origin: facts.ModelOrigin, digest: str) -> dict[str, str]:
    outs = lineage.lock_stages()[origin.stage].outs if origin.stage else {}
    runs = registry.making(store, origin.stage, outs) if outs else registry.Making("", "")
    return origin.as_tags() | {
        registry.DIGEST: digest,
        registry.STAGE_RUN: runs.stage_run,
        registry.REBUILD_RUN: runs.rebuild_run,
    }


def _metrics(result: ChallengeResult) -> dict[str, float]:
    metrics = {"gates": float(len(result.gates)), "gates_failed": float(len(result.failed))}
    for main in result.slices[:1]:
        metrics |= {"main": main.challenger, "main_gain": main.gain}
    return metrics


def _infants(config: RegisterConfig) -> dict[str, object]:
    counts = {part: infants_of(config, part) for part in (config.part, REPORTED)}
    infants: dict[str, object] = {part: asdict(count) for part, count in counts.items() if count}
    return infants | {"model": config.infants.model}


def _write_files(files: Path, model: Model, about: dict[str, Any]) -> None:
    """What is logged beside the model, but its gates and its card."""
    files.mkdir()
    write_json(files / LINEAGE, about)
    for path in (lineage.LOCK, params.PARAMS_FILE):
        if path.is_file():
            shutil.copy(path, files / path.name)
    reference = files / REFERENCE
    settings = params.section("drift", drift.DriftConfig)
    drift.build_reference(
        paths.SPLIT_CLIPS, model.folder, settings, params.plain("seed"), reference
    )
    write_training(paths.CLIPS_TABLES, reference / TRAINING)


def _gates_file(
    config: RegisterConfig,
    request: Request,
    champion: ModelVersion | None,
    result: ChallengeResult,
    why: str,
) -> dict[str, object]:
    before = {"version": champion.version, "sha256": champion.digest} if champion else None
    return {
        "part": config.part,
        "champion": before,
        "gates": [asdict(gate) for gate in result.gates],
        "slices": [asdict(part) for part in result.slices],
        "reported": {"part": REPORTED, "slices": [asdict(part) for part in result.reported]},
        "recordings": result.recordings,
        "left_out": result.left_out,
        "limits": params.plain("register"),
        "asked": asdict(request),
        "why": why,
    }


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
    with exclusive() as scratch:
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
        departure = asdict(registry.Departure(registry.utc_now(), by, reason))
        registry.set_tags(store, champion, {registry.ROLLED_BACK: json.dumps(departure)})
        registry.set_tags(store, target, {registry.ROLLED_BACK: ""})
        return registry.move_champion(store, target, by, reason, "rollback")


def _before(champion: ModelVersion) -> int | None:
    """Of the move that promoted it: going back twice goes further back, not to and fro."""
    moves = [move for move in champion.moves if move.kind != "rollback"]
    return moves[-1].from_version if moves else None


@contextmanager
def exclusive() -> Iterator[Path]:
    """A folder to work in, one at a time of the project and its copies: they share the registry."""
    path = home() / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    if not lock.take():
        raise RegistryError(
            "another `crywatch register` or `rollback` is at work in this project: wait for it"
        )
    try:
        paths.WORK.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tmp-register-", dir=paths.WORK) as folder:
            yield Path(folder)
    finally:
        lock.free()
