"""Registered models: versions, aliases, and what is known of each.

A version is made by one call together with its tags, so one without `DIGEST` is none of ours and
counts for nothing. `DONE` is set when its aliases are: a version without it was cut short, and is
gone on with. What comes back from the store is a model only if its bytes are those of `DIGEST`.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crywatch.core import gate
from crywatch.core.atomic import atomic_dir
from crywatch.core.errors import RegistryError, UnreachableError
from crywatch.tracking import lineage, parent, pyfunc, sender
from crywatch.tracking.describe import link
from crywatch.tracking.model_files import check
from crywatch.tracking.store import SQLITE, Store, address, open_store, reached, store_is_lost

CHAMPION, CHALLENGER = "champion", "challenger"
DIGEST = "crywatch.model.sha256"  # of the model folder, as `digest.files_sha256([folder])`
DONE = "crywatch.registered"
STAGE = "crywatch.stage"
STAGE_RUN, REBUILD_RUN = "crywatch.stage_run", "crywatch.rebuild_run"
PROMOTION = "crywatch.promotion"
ROLLED_BACK = "crywatch.rolled_back"  # JSON; set on what a rollback moved away from

MODEL = "model"  # the folder's name among a model's artifacts
KEPT_MOVES = 50
NUMBER = re.compile(r"[0-9]{1,9}")  # of a version
MAX_DESCRIPTION = 5000  # characters of a version's, as MLflow limits it


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    version: int
    # That registered it; its artifacts hold dvc.lock, params.yaml, lineage.json and card.md.
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the model folder; GateError where its tag is none."""
        return gate.SHA256(self.tags[DIGEST], self.tag_named(DIGEST))

    def tag_named(self, name: str) -> str:
        """Where a tag stands, for messages."""
        return f"{self.name} {self.version}: tag {name}"

    @property
    def done(self) -> bool:
        """Whether its registering came to its end."""
        return DONE in self.tags

    @property
    def moves(self) -> tuple[Move, ...]:
        """How it came to be champion, each time, oldest first; GateError where the tag is odd."""
        text = self.tags.get(PROMOTION) or "[]"
        return gate.parsed(tuple[Move, ...], text, self.tag_named(PROMOTION))

    @property
    def departure(self) -> Departure | None:
        """Who rolled back from it; None where nobody did. GateError where the tag is odd."""
        text = self.tags.get(ROLLED_BACK)
        return gate.parsed(Departure, text, self.tag_named(ROLLED_BACK)) if text else None


@dataclass(frozen=True)
class Move:
    """The alias `CHAMPION` moved."""

    at: str  # ISO 8601, UTC
    by: str
    why: str
    from_version: int | None  # None: there was no champion
    to_version: int
    kind: str = "promotion"  # promotion, forced, rollback


@dataclass(frozen=True)
class Departure:
    """A rollback moved the alias `CHAMPION` away."""

    at: str  # ISO 8601, UTC
    by: str
    why: str


@dataclass(frozen=True)
class Making:
    """The runs that made a model folder; empty where the store does not have them."""

    stage_run: str
    rebuild_run: str


def find(store: Store, name: str, which: str) -> ModelVersion | None:
    """The version of ``name`` that ``which``, an alias or a number, names; None without one.

    UnreachableError if the store does not answer.
    """
    number = int(which) if NUMBER.fullmatch(which) else _aliases(store, name).get(which)
    if number is None:
        return None
    return next((version for version in versions(store, name) if version.version == number), None)


def versions(store: Store, name: str) -> list[ModelVersion]:
    """All that count, oldest first."""
    aliases = _aliases(store, name)
    entities: list[Any] = []
    with reached():
        token: str | None = ""
        while token is not None:
            page = store.client.search_model_versions(
                f"name = {gate.quoted(name)}", max_results=200, page_token=token or None
            )
            entities += page
            token = page.token or None
    model_versions = [
        ModelVersion(
            name=name,
            version=int(entity.version),
            run_id=entity.run_id or "",
            aliases=tuple(sorted(a for a, n in aliases.items() if n == int(entity.version))),
            tags=dict(entity.tags),
        )
        for entity in entities
        if DIGEST in entity.tags
    ]
    return sorted(model_versions, key=lambda version: version.version)


def with_digest(store: Store, name: str, digest: str) -> ModelVersion | None:
    """The version of ``name`` that is this very model; None if it is not registered."""
    of_all = versions(store, name)
    return next((version for version in of_all if version.tags[DIGEST] == digest), None)


def making(store: Store, stage: str, outs: Mapping[str, str]) -> Making:
    """The last run of ``stage`` that ended well with these outputs (path to DVC digest)."""
    with reached():
        sender.settle(store)
        run = parent.maker(store, stage, lineage.outs_digest(dict(outs)))
    if run is None:
        return Making("", "")
    return Making(run.info.run_id, run.data.tags.get(parent.PARENT, ""))


def add(
    store: Store,
    name: str,
    folder: Path,
    files: Path,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    profile: str,
) -> ModelVersion:
    """Register the model at ``folder`` (from `snapshot`) as the next version of ``name``.

    ``files`` is a folder of what is logged beside it. A kill leaves a run without a version, or a
    version without `DONE`.
    """
    from mlflow.exceptions import MlflowException

    run_tags = parent.common_tags(profile, lineage.commit()) | {
        parent.STAGE: "register",
        "stage": "register",
        DIGEST: tags[DIGEST],
    }
    if tags.get(REBUILD_RUN):
        run_tags[parent.PARENT] = tags[REBUILD_RUN]
    client = store.client
    with reached(), parent.command_run(store, f"register {name}", run_tags) as run_id:
        with tempfile.TemporaryDirectory(prefix="crywatch-") as scratch:
            collected = Path(scratch, MODEL)
            terms = pyfunc.collect(folder, collected)
            model_id = pyfunc.log(store, run_id, name, collected, terms)
        client.log_artifacts(run_id, str(files))
        for metric, value in metrics.items():
            client.log_metric(run_id, metric, value)
        try:
            client.create_registered_model(
                name, description="Infant cry detectors; see the card of each version."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # Tags come with the version in one call: there is no moment without them.
        entity = client.create_model_version(
            name,
            source=f"models:/{model_id}",
            run_id=run_id,
            tags=dict(tags) | terms,
            model_id=model_id,
        )
    return ModelVersion(name, int(entity.version), run_id, (), dict(entity.tags))


def log_files(store: Store, version: ModelVersion, files: Path) -> None:
    """Put ``files`` in the place of those that were logged beside a version."""
    with reached():
        store.client.log_artifacts(version.run_id, str(files))


def describe(store: Store, version: ModelVersion, text: str) -> None:
    """Show ``text`` (Markdown) as the version's description, its first lines if it is longer.

    Links to the model's files and to its rebuild go before it.
    """
    with reached():
        outputs = store.client.get_run(version.run_id).outputs
    links = [
        link(store.experiment_id, f"models/{model.model_id}/artifacts", "Its files")
        for model in (outputs.model_outputs if outputs else ())
    ]
    if rebuild := version.tags.get(REBUILD_RUN):
        links.append(link(store.experiment_id, f"runs/{rebuild}", "the rebuild that made it"))
    if links:
        text = f"{', '.join(links)}.\n\n{text}"
    if len(text) > MAX_DESCRIPTION:
        more = f"\n\nThe whole card is `card.md` of run {version.run_id}.\n"
        text = text[: MAX_DESCRIPTION - len(more)].rpartition("\n")[0] + more
    with reached():
        store.client.update_model_version(version.name, str(version.version), text)


def set_tags(store: Store, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set tags of a version, one by one in this order."""
    with reached():
        for name, value in tags.items():
            store.client.set_model_version_tag(version.name, str(version.version), name, value)


def set_alias(store: Store, version: ModelVersion, alias: str) -> None:
    """Let ``alias`` name this version and no other."""
    with reached():
        store.client.set_registered_model_alias(version.name, alias, str(version.version))


def move_champion(
    store: Store, to: ModelVersion, by: str, why: str, kind: str = "promotion"
) -> Move:
    """Let `CHAMPION` name ``to``, and write down on it who moved it and why.

    What is written comes first: a kill leaves a note of a move that was not made, which nobody
    reads while the alias is elsewhere, and never a champion of which nothing is known.
    """
    before = _aliases(store, to.name).get(CHAMPION)
    move = Move(utc_now(), by, why, before, to.version, kind)
    current = find(store, to.name, str(to.version)) or to
    moves = [*map(asdict, current.moves), asdict(move)][-KEPT_MOVES:]
    set_tags(store, to, {PROMOTION: json.dumps(moves)})
    set_alias(store, to, CHAMPION)
    _show_champion(store, to, move)
    return move


def _show_champion(store: Store, to: ModelVersion, move: Move) -> None:
    """Describe the registered model by its champion: how it became it, and its card."""
    head = (
        f"Champion: [version {to.version}](#/models/{to.name}/versions/{to.version}), "
        f"{move.kind} by {move.by} at {move.at}: {move.why}\n\n"
    )
    with reached():
        version = store.client.get_model_version(to.name, str(to.version))
        text = f"{head}{version.description or ''}"[:MAX_DESCRIPTION]
        store.client.update_registered_model(to.name, text)


def utc_now() -> str:
    """ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def download(store: Store, version: ModelVersion, out_dir: Path) -> Path:
    """The model folder of a version, checked against its digest.

    Nothing of it is opened before that. RegistryError if it is not what was registered.
    """
    where = f"{version.name} {version.version}"
    with reached(), _scratch(out_dir) as scratch:
        from mlflow.artifacts import download_artifacts

        source = store.client.get_model_version_download_uri(version.name, str(version.version))
        try:
            folder = Path(
                download_artifacts(
                    artifact_uri=f"{source}/artifacts/{MODEL}",
                    dst_path=str(scratch),
                    tracking_uri=store.uri,
                )
            )
        except Exception as error:
            if store_is_lost(error):
                raise
            raise RegistryError(
                f"{where}: its files cannot be fetched from {source}: {error}"
            ) from error
        check(folder, version.digest, where)
        with atomic_dir(out_dir) as temp:
            for path in folder.iterdir():
                shutil.copy(path, temp / path.name)
    return out_dir


def download_artifact(store: Store, version: ModelVersion, name: str, out_dir: Path) -> Path:
    """A file or folder that was logged beside the model when it was registered.

    It is put into ``out_dir`` under its own name. RegistryError if the run has none.
    """
    with reached():
        from mlflow.exceptions import MlflowException

        out_dir.mkdir(parents=True, exist_ok=True)
        try:
            path = Path(store.client.download_artifacts(version.run_id, name, str(out_dir)))
        except (MlflowException, OSError) as error:
            if store_is_lost(error):
                raise
            raise RegistryError(
                f"{version.name} {version.version}: run {version.run_id} has no {name}: {error}"
            ) from error
    if not path.exists():  # an empty listing, of some stores
        raise RegistryError(f"{version.name} {version.version}: run {version.run_id} has no {name}")
    return path


def open_registry(create: bool = True) -> Store:
    """The store of the project in the working directory.

    UnreachableError if it does not answer; without ``create`` also where there is none yet.
    """
    where = address()
    if not create and where.startswith(SQLITE) and not Path(where.removeprefix(SQLITE)).is_file():
        raise UnreachableError(f"there is no MLflow store {where}")
    with reached():
        return open_store()


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    beside.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=beside.parent) as folder:
        yield Path(folder)


def _aliases(store: Store, name: str) -> dict[str, int]:
    """Alias to version; empty if there is no such model, or can be none."""
    from mlflow.exceptions import MlflowException

    with reached():
        try:
            model: Any = store.client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return {}
            raise
    return {alias: int(number) for alias, number in model.aliases.items()}
