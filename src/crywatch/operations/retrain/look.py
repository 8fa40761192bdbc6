"""What a rebuild is made of, as DVC sees it, so that a change is noticed and named.

DVC reads a file again only where its size or time has changed, and compares contents: one that was
only touched, or copied anew, is no change. What a publisher's server has is no business of DVC: its
answers on each file are compared here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core import params
from crywatch.core.digest import value_sha256
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.core.names import is_litter
from crywatch.corpora.shared.base import is_generated, is_named
from crywatch.tracking.lineage import YamlLoader, related

if TYPE_CHECKING:
    from dvc.output import Output

PLAN = "dvc.yaml"
FOLDER, GENERATED, PUBLISHERS = "folder", "generated", "publishers"


@dataclass(frozen=True)
class Inputs:
    """What the stages of dvc.yaml read that no other stage made."""

    files: dict[str, str]  # path in the project to MD5; "dvc.yaml" to a digest of its stages
    params: dict[str, str]  # dotted name in params.yaml to digest
    folders: dict[str, dict[str, str] | None]  # outside path to its files; None: it is not there


@dataclass(frozen=True)
class Source:
    """What a corpus is read from."""

    kind: str  # folder, generated, publishers
    files: dict[str, str]  # name to MD5; of publishers to a digest of their server's answer


@dataclass(frozen=True)
class Look:
    """What there is now."""

    commit: str  # full SHA
    inputs: Inputs
    corpora: dict[str, Source]
    targets: list[str]
    notes: tuple[str, ...] = ()
    away: bool = False  # whether the folder of a corpus is not there

    @property
    def key(self) -> str:
        """A digest of all that a rebuild is made of; the commit counts by what DVC sees of it."""
        sources = {name: [source.kind, source.files] for name, source in self.corpora.items()}
        return value_sha256([self.inputs.files, self.inputs.params, sources, self.targets])


def read_inputs(project: Path, values: Mapping[str, Any]) -> Inputs:
    """Let DVC read what it would write into dvc.lock now; nothing is written.

    ``values`` are those of params.yaml, which DVC would read anew for every stage.

    Raises
    ------
    CrywatchError
        DVC finds no stages in ``project``, or cannot read what they name.
    """
    import yaml
    from dvc.dependency.param import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

    files: dict[str, str] = {}
    used: dict[str, Any] = {}
    folders: dict[str, dict[str, str] | None] = {}
    deps: dict[str, Output] = {}
    keys: set[str] = set()
    try:
        plan = yaml.load((project / PLAN).read_text(encoding="utf-8"), YamlLoader)["stages"]
        with Repo(str(project)) as repo:
            for stage in repo.index.stages:
                if isinstance(stage, PipelineStage) and stage.path_in_repo == PLAN:
                    for variables in stage.tracked_vars.values():  # of ${...} in the stage
                        used |= variables
                    for dep in stage.deps:
                        if isinstance(dep, ParamsDependency):
                            keys |= set(dep.params)
                        else:
                            deps[dep.fs_path] = dep
            outs = [out.fs_path for out in repo.index.outs]
            for path, dep in deps.items():
                if related(path, outs):
                    continue
                listing = _listing(dep)
                if not dep.is_in_repo:
                    folders[path] = listing
                elif listing is not None:
                    place = Path(path).relative_to(repo.root_dir)
                    files |= {(place / name).as_posix(): md5 for name, md5 in listing.items()}
    except (DvcException, yaml.YAMLError, KeyError, TypeError) as error:
        raise CrywatchError(f"{PLAN}: DVC cannot read its stages ({error})") from error
    files[PLAN] = value_sha256({name: _without_descriptions(body) for name, body in plan.items()})
    used |= {key: params.at(values, key) for key in keys}
    return Inputs(files, {key: value_sha256(value) for key, value in used.items()}, folders)


def _without_descriptions(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_descriptions(value) if key == "do" else value
        for key, value in body.items()
        if key != "desc"
    }


def _listing(dep: Output) -> dict[str, str] | None:
    """Name below a folder (of a file: "") to MD5; None if it is not there.

    The project's .dvcignore holds for no folder outside: what it names is left out here.
    """
    from dvc_data.hashfile.tree import Tree

    if not dep.exists:
        return None
    dep.save()
    if isinstance(dep.obj, Tree):
        return {"/".join(key): digest.value for key, _, digest in dep.obj if not is_litter(key[-1])}
    return {"": dep.hash_info.value}


def look(
    project: Path, commit: str, targets: list[str], ask: bool, before: Mapping[str, Source]
) -> Look:
    """At the commit, the parameters and the sources of the corpora, in a copy of the project.

    Publishers are only asked with ``ask``. ``before`` are the sources of the last rebuild: what is
    away, or not answered, stands as there.
    """
    values = params.plain(path=project / params.PARAMS_FILE)
    inputs = read_inputs(project, values)
    corpora, notes, away = {}, [], False
    for name in values.get("corpora") or {}:
        own, old = values["corpora"][name]["folder"], before.get(name)
        if is_generated(values["data"]["source"], own):
            corpora[name] = Source(GENERATED, {})  # its code and parameters are all
        elif not is_named(own):
            answers = old.files if old is not None and old.kind == PUBLISHERS else {}
            silent: list[str] = []
            if ask:
                answers, silent = _ask_publishers(name, values, answers)
            corpora[name] = Source(PUBLISHERS, answers)
            if silent:
                notes.append(f"corpus {name}: no answer from its publisher for {', '.join(silent)}")
        elif not Path(own).is_absolute():
            raise ConfigError(
                f"corpus.{name}.folder: {own!r} is relative: name it (or data.mirror) from the "
                "root on, a rebuild runs in another folder"
            )
        else:
            listing = inputs.folders.get(os.path.abspath(own))
            if listing is None:
                away = True
                notes.append(f"corpus {name}: its folder is not there")
                # What is there when it comes back is looked at then.
                listing = old.files if old is not None and old.kind == FOLDER else {}
            corpora[name] = Source(FOLDER, listing)
    return Look(commit, inputs, corpora, targets, tuple(notes), away)


def _ask_publishers(
    name: str, values: Mapping[str, Any], before: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """What the servers say of a corpus' files, and the files that none answered for."""
    import requests
    from omegaconf import OmegaConf

    from crywatch import corpora

    loader = corpora.get(name)
    section = OmegaConf.create(dict(values["corpus"][name]))
    options = params.typed(section, loader.options, f"params.yaml: corpus.{name}")
    files, silent = {}, []
    for remote in loader.files(options):
        try:
            answer = requests.head(remote.url, timeout=10, allow_redirects=True)
            answer.raise_for_status()
        except requests.RequestException:
            silent.append(remote.filename)
            if remote.filename in before:
                files[remote.filename] = before[remote.filename]
            continue
        headers = [
            answer.headers.get(key, "") for key in ("ETag", "Last-Modified", "Content-Length")
        ]
        files[remote.filename] = value_sha256(headers)
    return files, silent
