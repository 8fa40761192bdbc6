"""The one reader of params.yaml: sections as typed dataclasses, and the composition of conf/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crywatch.errors import ConfigError

PARAMS_FILE = Path("params.yaml")
CONF_DIR = Path("conf")

T = TypeVar("T")


def load(path: Path | str = PARAMS_FILE) -> DictConfig:
    """All of params.yaml."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path} is missing: run `crywatch params` in the repository root")
    return OmegaConf.load(path)


def section(name: str, cls: type[T], path: Path | str = PARAMS_FILE) -> T:
    """Section ``name`` (dots go deeper) of params.yaml as an instance of the dataclass ``cls``.

    An unknown key, a wrong type or a value still ``???`` is a ConfigError that names the key.
    """
    config = load(path)
    node = OmegaConf.select(config, name)
    if node is None:
        raise ConfigError(f"{path}: section {name!r} is missing")
    return typed(node, cls, f"{path}: {name}")


def typed(node: Any, cls: type[T], where: str) -> T:
    """``node`` (a mapping) as an instance of dataclass ``cls``; errors name ``where``.

    Dataclasses inside ``cls`` must not be frozen: OmegaConf merges into them.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(cls), node)
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise ConfigError(
                f"{where}: {', '.join(missing)} must be set (it is '???'), for instance with "
                f"`dvc exp run -S {where.split(': ')[-1]}.{missing[0]}=VALUE`"
            )
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from error


def plain(name: str | None = None, path: Path | str = PARAMS_FILE) -> Any:
    """A value, a section or (without a name) everything, as plain containers."""
    config = load(path)
    node = config if name is None else OmegaConf.select(config, name)
    if node is None:
        raise ConfigError(f"{path}: {name!r} is missing")
    if not OmegaConf.is_config(node):
        return node
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=False)


def compose(overrides: Sequence[str] = (), conf_dir: Path | str = CONF_DIR) -> DictConfig:
    """conf/config.yaml with Hydra ``overrides``, as `dvc exp run` composes it into params.yaml."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(Path(conf_dir).resolve()), version_base=None):
        return hydra_compose("config", overrides=list(overrides))


def compose_to_file(overrides: Sequence[str] = (), path: Path | str = PARAMS_FILE) -> None:
    """Write the composed configuration to params.yaml."""
    from crywatch.atomic import write_text

    write_text(path, OmegaConf.to_yaml(compose(overrides), resolve=True))
