"""The one reader of params.yaml and of the studies': typed sections, and how conf/ makes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from itertools import chain
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
# Of a file of parameters: what is larger would take the parser's stack, or all memory by aliases.
DEEPEST, MOST_NODES, MOST_MARKS = 50, 200_000, 20_000

T = TypeVar("T")

if TYPE_CHECKING:
    _FastLoader = yaml.SafeLoader
else:
    _FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ParamsLoader(_FastLoader):
    """Reads YAML as OmegaConf does, and by libyaml: stages read params.yaml several times."""

    yaml_implicit_resolvers = get_yaml_loader().yaml_implicit_resolvers

    def get_single_node(self) -> Any:
        """The whole document, which ends: no alias stands within what it stands for."""
        node = super().get_single_node()
        if node is not None:
            _measure(node, (), {})
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A text that is not what its tag says is an error like the others."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise _fault(f"{node.tag!r} does not fit ({error})", node) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        """A key that stands twice is an error."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise _fault(f"found duplicate key {min(twice)}", node)
        return super().construct_mapping(node, deep)


def _fault(what: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _measure(
    node: yaml.Node, above: tuple[int, ...], known: dict[int, tuple[int, int]]
) -> tuple[int, int]:
    """Nodes and levels of what ``node`` stands for, aliases followed; an error beyond limits."""
    if id(node) in above:
        raise _fault("an alias within what it stands for", node)
    if id(node) not in known:
        within = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = chain.from_iterable(within) if isinstance(node, yaml.MappingNode) else within
        sizes = [_measure(part, (*above, id(node)), known) for part in parts]
        nodes, levels = 1 + sum(n for n, _ in sizes), 1 + max((n for _, n in sizes), default=0)
        if len(above) + levels > DEEPEST or nodes > MOST_NODES:
            raise _fault(f"more than {DEEPEST} levels or {MOST_NODES} values", node)
        known[id(node)] = nodes, levels
    return known[id(node)]


@lru_cache(maxsize=8)
def _parse(text: str) -> Any:
    if sum(map(text.count, "[{-:?")) > MOST_MARKS:
        raise yaml.YAMLError("too large for parameters")
    return yaml.load(text, ParamsLoader)


def _line_of_key(path: Path | str, key: str) -> int:
    """Where the value of a dotted key stands, or what is nearest above it; from 1."""
    node = yaml.compose(Path(path).read_text(encoding="utf-8"), ParamsLoader)
    for name in re.findall(r"[^.\[\]]+", key):
        if isinstance(node, yaml.MappingNode):
            found = [value for known, value in node.value if known.value == name]
        else:
            found = node.value[int(name) :] if isinstance(node, yaml.SequenceNode) else []
        if not found:
            break
        node = found[0]
    return node.start_mark.line + 1 if node is not None else 1


def _not_yaml(path: Path, error: yaml.YAMLError | UnicodeDecodeError) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        line = mark.line + 1
    else:
        at = getattr(error, "start", getattr(error, "position", 0))  # a byte
        line = path.read_bytes()[:at].count(b"\n") + 1
    said = " ".join((getattr(error, "problem", None) or str(error)).split())
    return ConfigError(f"{path}, line {line}: not YAML ({said})")


def _values(path: Path | str) -> dict[str, Any]:
    """All of params.yaml as it stands there, shared; ConfigError where a secret stands in it."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path} is missing: run `crywatch params` in the repository root")
    values = _read(path)
    _without_secrets(values, path)
    return values


def _read(path: Path) -> dict[str, Any]:
    """Keys and values of a file; ConfigError with its line where it is something else."""
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _not_yaml(path, error) from error
    if not isinstance(values, dict | None):
        raise ConfigError(
            f"{path}, line {_line_of_key(path, '')}: a {type(values).__name__}, not keys and values"
        )
    return values or {}


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
    return typed(node, cls, f"{path}: {name}")


def _select(name: str, path: Path | str) -> Any:
    """A value in plain containers, its interpolations resolved; None where there is none."""
    values = _values(path)
    node = at(values, name)
    if INTERPOLATION not in str(node):
        return None if node == MISSING else deepcopy(node)
    return _resolved(values, path, name)


def _resolved(values: dict[str, Any], path: Path | str, name: str | None = None) -> Any:
    """All of ``values``, or the one by its name, in plain containers without interpolations."""
    try:
        config = OmegaConf.create(values)
        found = config if name is None else OmegaConf.select(config, name)
        return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    except OmegaConfBaseException as error:
        key = error.full_key or name or ""
        said = str(error).splitlines()[0]
        raise ConfigError(f"{path}, line {_line_of_key(path, key)}: {key}: {said}") from error
    except RecursionError as error:
        said = f"{name or 'a value'}: an interpolation of what it stands in"
        raise ConfigError(f"{path}: {said}") from error


def typed(node: Any, cls: type[T], where: str) -> T:
    """``node`` (a mapping) as an instance of dataclass ``cls``; errors name ``where``.

    Dataclasses inside ``cls`` must not be frozen: OmegaConf merges into them.
    """
    if not isinstance(node, dict | DictConfig):
        raise ConfigError(f"{where}: {node!r} stands where keys and values are expected")
    try:
        node = OmegaConf.create(node) if isinstance(node, dict) else node
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
        return _resolved(values, path)
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

    for path in sorted(Path(conf_dir).rglob("*.yaml")):
        _read(path)
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
        str(entry).rpartition("/")[2] for path in lists for entry in _read(path).get("defaults", [])
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
    except OmegaConfBaseException as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"{CONF_DIR}: {error.full_key}: {said}") from error
    own = {name: values.pop(name) for name in studies}
    write_text(Path(root) / PARAMS_FILE, OmegaConf.to_yaml(values))
    if own:
        write_text(Path(root) / STUDIES_FILE, OmegaConf.to_yaml(own))
