"""The one reader of params.yaml and of the studies': typed sections, and how conf/ makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from crywatch.core.errors import ConfigError

PARAMS_FILE = Path("params.yaml")
STUDIES_FILE = Path("studies") / PARAMS_FILE
CONF_DIR = Path("conf")
MISSING = "???"  # a value that must be set
INTERPOLATION = "${"

T = TypeVar("T")

if TYPE_CHECKING:
    _FastLoader = yaml.SafeLoader
else:
    _FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ParamsLoader(_FastLoader):
    """Reads YAML as OmegaConf does, and by libyaml: stages read params.yaml several times."""

    yaml_implicit_resolvers = get_yaml_loader().yaml_implicit_resolvers

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        """A key that stands twice is an error."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := {name for name in names if names.count(name) > 1}:
            said = f"found duplicate key {min(twice)}"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
        return super().construct_mapping(node, deep)


@lru_cache(maxsize=8)
def _parse(text: str) -> Any:
    return yaml.load(text, ParamsLoader)


def _values(path: Path | str) -> dict[str, Any]:
    """All of params.yaml as it stands there, shared; ConfigError where a secret stands in it."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path} is missing: run `crywatch params` in the repository root")
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path}: a list, not sections: run `crywatch params` to make it again")
    _without_secrets(values or {}, path)
    return values or {}


def load(path: Path | str = PARAMS_FILE) -> DictConfig:
    """All of params.yaml; ConfigError where a secret stands in it."""
    return OmegaConf.create(_values(path))


def _without_secrets(values: Mapping[str, Any], where: Path | str) -> None:
    """ConfigError that names the keys with secrets: params.yaml is tracked, logged and shown."""
    from crywatch.core.redact import found_in

    if found := list(found_in(values)):
        raise ConfigError(
            f"{where}: {'; '.join(found)}: take it out, and leave it in the environment, where "
            "what needs it reads it"
        )


def section(name: str, cls: type[T], path: Path | str = PARAMS_FILE) -> T:
    """Section ``name`` (dots go deeper) of params.yaml as an instance of the dataclass ``cls``.

    An unknown key, a wrong type or a value still ``???`` is a ConfigError that names the key.
    """
    node = _select(name, path)
    if node is None:
        raise ConfigError(f"{path}: section {name!r} is missing")
    return typed(OmegaConf.create(node) if isinstance(node, dict) else node, cls, f"{path}: {name}")


def _select(name: str, path: Path | str) -> Any:
    """A value in plain containers, its interpolations resolved; None where there is none."""
    values = _values(path)
    node = at(values, name)
    if INTERPOLATION not in str(node):
        return None if node == MISSING else deepcopy(node)
    try:
        found = OmegaConf.select(OmegaConf.create(values), name)
        return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {name}: {str(error).splitlines()[0]}") from error


def typed(node: Any, cls: type[T], where: str) -> T:
    """``node`` (a mapping) as an instance of dataclass ``cls``; errors name ``where``.

    Dataclasses inside ``cls`` must not be frozen: OmegaConf merges into them.
    """
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{where}: {node!r} stands where keys and values are expected")
    try:
        # Resolved: a dataclass inside ``cls`` may stand elsewhere and be interpolated here.
        values = OmegaConf.to_container(node, resolve=True)
        merged = OmegaConf.merge(OmegaConf.structured(cls), values)
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise ConfigError(
                f"{where}: {', '.join(missing)} must be set (it is '???'), for instance with "
                f"`dvc exp run -S {where.split(': ')[-1]}.{missing[0]}=VALUE`"
            )
        return cast(T, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from error


def plain(name: str | None = None, path: Path | str = PARAMS_FILE) -> Any:
    """A value, a section or (without a name) everything, as plain containers."""
    if name is None:
        values = _values(path)
        if INTERPOLATION not in str(values):
            return deepcopy(values)
        return OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    node = _select(name, path)
    if node is None:
        raise ConfigError(f"{path}: {name!r} is missing")
    return node


def everything(root: Path | str = ".") -> dict[str, Any]:
    """All sections below ``root``, those of the studies too, as plain containers."""
    values: dict[str, Any] = plain(path=Path(root) / PARAMS_FILE)
    studies = Path(root) / STUDIES_FILE
    return values | plain(path=studies) if studies.is_file() else values


def at(values: Any, key: str) -> Any:
    """The value in plain containers by its dotted ``key``; None where there is none."""
    for name in key.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def compose(
    overrides: Sequence[str] = (), conf_dir: Path | str = CONF_DIR, name: str = "config"
) -> DictConfig:
    """conf/NAME.yaml with Hydra ``overrides``, as `dvc exp run` composes config into params.yaml.

    An override of a key or group that is not there, or out of Hydra's grammar, is a ConfigError.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException

    try:
        with initialize_config_dir(str(Path(conf_dir).resolve()), version_base=None):
            return hydra_compose(name, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        said = str(error).partition("Config search path:")[0]
        reason = " ".join(said.split())
        raise ConfigError(f"{conf_dir}: {reason}") from error


def compose_to_file(overrides: Sequence[str] = (), root: Path | str = ".") -> None:
    """Write what conf/ gives to params.yaml and, of the studies, to studies/params.yaml.

    All are below ``root``; the studies are the sections in conf/studies, if there are any.
    """
    conf_dir = Path(root) / CONF_DIR
    list_sections(conf_dir)
    studies = sorted(path.stem for path in (conf_dir / "studies").glob("*.yaml"))
    config = compose(overrides, conf_dir, "studies" if studies else "config")
    write(config, root, studies)


def list_sections(conf_dir: Path) -> None:
    """Add files of conf/stage and conf/command that no all.yaml names to the end of their folder's.

    Hydra composes what is listed and knows no patterns; so a new section is one new file.
    """
    from crywatch.core.atomic import write_text

    lists = sorted(conf_dir.glob("*/all.yaml"))
    lists = [path for path in lists if path.parent.name in ("stage", "command")]
    listed = {
        str(entry).rpartition("/")[2]
        for path in lists
        for entry in cast(DictConfig, OmegaConf.load(path)).get("defaults", [])
    }
    for path in lists:
        names = sorted(file.stem for file in path.parent.glob("*.yaml") if file != path)
        new = [f"  - {name}\n" for name in names if name not in listed]
        if new:
            write_text(path, path.read_text(encoding="utf-8") + "".join(new))


def write(config: DictConfig, root: Path | str = ".", studies: Sequence[str] = ()) -> None:
    """Write a composed configuration to params.yaml below ``root``, sections ``studies`` to theirs.

    ConfigError, and nothing is written, where a secret would stand in it, or where a value is made
    of one that must be set.
    """
    from crywatch.core.atomic import write_text

    plain_config = cast(dict, OmegaConf.to_container(config, resolve=False))
    _without_secrets(plain_config, Path(root) / CONF_DIR)
    try:
        values = cast(dict, OmegaConf.to_container(config, resolve=True))
    except InterpolationToMissingValueError as error:
        key = str(error).splitlines()[0].rpartition(" ")[2]
        raise ConfigError(
            f"{CONF_DIR}: {key} must be set (it is '???'), for instance with {key}=VALUE"
        ) from error
    own = {name: values.pop(name) for name in studies}
    write_text(Path(root) / PARAMS_FILE, OmegaConf.to_yaml(values))
    if own:
        write_text(Path(root) / STUDIES_FILE, OmegaConf.to_yaml(own))
