"""params.yaml is what conf/ composes, and typed sections say what is wrong with a key."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from typer.testing import CliRunner

from crywatch.audio.channels import channel
from crywatch.cli import main as cli
from crywatch.core import params, paths
from crywatch.core.errors import ConfigError
from crywatch.detection.peer.zero_shot import YamnetConfig
from crywatch.detection.systems import VARIANTS, systems
from crywatch.infants.models.registry import MODELS
from crywatch.report import detection

ROOT = Path(__file__).parents[2]
STUDIES = ["ablate_robust", "simulate_year", "studies_report"]
SECTIONS = ("score", "evaluate", "channels")


def test_params_yaml_equals_the_composed_configuration():
    composed = OmegaConf.to_container(params.compose(conf_dir=ROOT / "conf"), resolve=True)
    committed = OmegaConf.to_container(OmegaConf.load(ROOT / "params.yaml"), resolve=True)
    assert committed == composed, "run `crywatch params` and commit params.yaml"
    text = OmegaConf.to_yaml(params.compose(conf_dir=ROOT / "conf"), resolve=True)
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == text


def test_the_parameters_of_the_studies_stand_in_their_own_file(tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    params.compose_to_file(root=tmp_path)
    for file in (params.PARAMS_FILE, params.STUDIES_FILE):
        assert (tmp_path / file).read_text() == (ROOT / file).read_text(), "run `crywatch params`"
    assert list(params.plain(path=tmp_path / params.STUDIES_FILE)) == STUDIES
    assert not set(STUDIES) & set(params.plain(path=tmp_path / params.PARAMS_FILE))
    everything = params.everything(tmp_path)
    assert everything["profile"] == "demo" and everything["simulate_year"]["seed"] == 2
    given = ["ablate_robust.folds=5", "seed=8", "robust_recipes@ablate_robust.recipes=all"]
    params.compose_to_file(given, tmp_path)
    everything = params.everything(tmp_path)
    assert everything["seed"] == 8 and everything["ablate_robust"]["folds"] == 5
    assert len(everything["ablate_robust"]["recipes"]) > 20


def test_a_new_section_is_one_new_file(tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    conf, listed = tmp_path / "conf", tmp_path / "conf" / "stage" / "all.yaml"
    before = listed.read_text(encoding="utf-8")
    params.compose_to_file(root=tmp_path)
    assert listed.read_text(encoding="utf-8") == before, "every file is listed"
    (conf / "stage" / "loudness.yaml").write_text("# @package loudness\nwindow_s: 0.4\n")
    params.compose_to_file(["loudness.window_s=3.0"], tmp_path)
    assert listed.read_text(encoding="utf-8") == before + "  - loudness\n"
    assert params.plain("loudness", tmp_path / "params.yaml") == {"window_s": 3.0}


@pytest.mark.parametrize("profile", ["demo", "paper", "local", "full"])
@pytest.mark.parametrize("embedder", ["logmel", "vggish", "yamnet"])
def test_every_profile_and_embedder_composes(profile, embedder):
    config = params.compose([f"profile={profile}", f"embedder={embedder}"], ROOT / "conf")
    assert config.profile == profile
    assert config.embedder.name == embedder


@pytest.mark.parametrize("profile", ["demo", "paper", "local", "full"])
@pytest.mark.parametrize("lines", ["", "few", "headline", "paper", "all"])  # "": the profile's own
def test_what_is_audited_and_compared_is_trained_and_every_channel_is_there(profile, lines):
    words = [f"profile={profile}", *([f"lines={lines}"] if lines else [])]
    config = params.compose(words, ROOT / "conf")
    # One by one: the rest of a profile may need what this machine does not have.
    parts = [OmegaConf.to_container(config[name], resolve=True) for name in SECTIONS]
    score, evaluate, channels = parts
    audit, compare = score["audited"], score["compared"]
    variants = {family: OmegaConf.select(config, key) for family, key in VARIANTS.items()}
    yamnet = YamnetConfig("file", 0.2)
    parts = [systems(part["systems"], variants, yamnet) for part in (audit, compare)]
    rows = {one.row for part in parts for one in part}
    assert rows >= {*evaluate["shortcuts"]["main"], *evaluate["systems"]["main"]}
    named = {*audit["channels"], *compare["matched"], *compare["shifts"]}
    named |= {name for listed in audit["factors"].values() for name in listed}
    named |= {one.channel for one in config.train_baselines.models.values() if one.channel}
    for name in named:
        channel(name, channels)


@pytest.mark.parametrize("profile", ["demo", "paper", "full"])
def test_paper_has_every_line_of_tables_3_to_6_and_demo_a_part_of_them(profile):
    config = params.compose([f"profile={profile}"], ROOT / "conf")
    trained = {f"miner/{name}" for name in config.mine.datasets}
    trained |= {f"blazenet/{name}" for name in config.train_blazenet.variants}
    trained |= {f"rtfm/{name}" for name in config.train_rtfm.variants}
    tables = (detection.TABLE3, detection.TABLE4, detection.TABLE5, detection.TABLE6)
    lines = {model for table in tables for _, model, *_ in table}
    if profile == "demo":
        assert lines - trained and lines & trained
        assert list(config.train_speaker.losses) == ["ge2e", "ntxent"]
    else:
        assert lines <= trained
        others = {"ntxent", "ntxent_views", "aam", "ge2e_aam"}
        assert set(config.train_speaker.losses) == {"ge2e", *others}
        assert set(config.fit_infants.models) == set(MODELS)


@pytest.mark.parametrize("loss", ["rtfm", "mil"])
def test_losses_are_a_group(loss):
    config = params.compose([f"loss@mine.loss={loss}"], ROOT / "conf")
    assert config.mine.loss.name == loss
    assert config.train_rtfm.loss.name == "rtfm"


@pytest.mark.parametrize("name", ["esc50", "baby_cry_detection", "donateacry"])
def test_a_corpus_goes_with_the_variants_that_leave_it_out(name):
    """As docs/corpora.md says: else these variants stop a rebuild without the corpus."""
    config = params.compose(
        [
            "lines=paper",
            f"~train_blazenet.variants.all_1s_no_{name}",
            f"~train_rtfm.variants.trimmed_no_{name}",
            *(["~train_blazenet.variants.author_1s_no_esc50"] if name == "esc50" else []),
        ],
        ROOT / "conf",
    )
    left = [config.train_blazenet.variants, config.train_rtfm.variants]
    assert name not in {body.leave_out for variants in left for body in variants.values()}
    heads = [body for body in config.train_rtfm.variants.values() if body.family == "blazenet"]
    assert {body.backbone for body in heads} <= set(config.train_blazenet.variants)


def test_the_local_profile_needs_a_mirror(tmp_path):
    config = params.compose(["profile=local"], ROOT / "conf")
    OmegaConf.save(config, tmp_path / "params.yaml")

    @dataclass
    class Data:
        source: str
        mirror: str
        allow_missing: Any
        generator: dict | None

    with pytest.raises(ConfigError, match=r"-S data\.mirror=VALUE"):
        params.section("data", Data, tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match=r"data\.mirror must be set"):
        params.write(config, tmp_path)


def test_a_mirror_gives_every_corpus_its_folder_and_each_can_have_its_own():
    chosen = ["profile=local", "data.mirror=../m", "corpora=[esc50,icsd]"]
    config = params.compose([*chosen, "corpus.icsd.folder=/other"], ROOT / "conf")
    assert OmegaConf.to_container(config.corpora, resolve=True) == {
        "esc50": {"folder": "../m/esc50"},
        "icsd": {"folder": "/other"},
    }


@dataclass
class Example:
    size: int
    name: str = "x"


def write(folder, text):
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_a_section_becomes_a_dataclass(tmp_path):
    path = write(tmp_path, "example: {size: 3}\n")
    assert params.section("example", Example, path) == Example(3, "x")


@pytest.mark.parametrize(
    "text, message",
    [
        ("other: {}\n", "section 'example' is missing"),
        ("example: {size: many}\n", "example"),
        ("example: {size: 1, sise: 2}\n", "sise"),
        ("example: {}\n", "size must be set"),
        ("example: 3\n", "example: 3 stands where keys and values are expected"),
        ("example: [1]\n", "stands where keys and values are expected"),
        ("example: ${nope}\n", "line 1: example: Interpolation key 'nope' not found"),
    ],
)
def test_errors_name_the_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        params.section("example", Example, write(tmp_path, text))


# With all that is nested: no parser that recurses may get to it.
ALIASES = "".join(f"a{i}: &a{i} [{f'*a{i - 1}, *a{i - 1}' * bool(i)}]\n" for i in range(40))


@pytest.mark.parametrize(
    "text, line, message",
    [
        (
            "a: 1\nexample:\n  size: ${nope}\n",
            3,
            "example.size: Interpolation key 'nope' not found",
        ),
        ("a: 1\nexample:\n- b\n- ${a.b}\n", 4, r"example\[1\]: .*node `a` is not a container"),
        ("\nexample: ${other}\nother: ${example}\n", 2, "example: Recursive interpolation"),
        ("example: {size: '${example}'}", 1, "example.size: Interpolation to parent"),
        ("example: ${\n", 1, "example: no viable alternative"),
        ("a: 1\nexample: &e {size: *e}\n", 2, "not YAML .an alias within what it stands for"),
        ("\n\nexample: &e\n  <<: *e\n", 3, "an alias within what it stands for"),
        ("\nexample: &e [[*e]]\n", 2, "an alias within what it stands for"),
        (f"a: 1\n{ALIASES}", 19, "more than 50 levels or 200000 values"),
        (f"a: 1\nexample: {'[' * 200}{']' * 200}", 2, "more than 50 levels"),
        (f"example: {'[' * 100_000}", 1, "too large for parameters"),
        (f"example: {'- ' * 100_000}", 1, "too large for parameters"),
        ("example: [1\nsize: 2\n", 2, "not YAML .did not find expected"),
        ("\nexample: {size: !!int many}\n", 2, "!?int' does not fit"),
        ("a: 1\nexample: \x01\n", 2, "control characters"),
        (b"a: 1\nexample: \xff\n", 2, "not YAML .'utf-8' codec"),
        ("a: 1\n--- 2\n", 2, "another document"),
        ("\n- example\n", 2, "a list, not keys"),
        ("example", 1, "a str, not keys"),
    ],
)
@pytest.mark.parametrize("read", ["section", "one", "all"])
def test_what_cannot_be_read_is_an_error_with_its_line(tmp_path, read, text, line, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=rf"params\.yaml, line {line}: .*{message}"):
        if read == "section":
            params.section("example", Example, path)
        else:
            params.plain("example" if read == "one" else None, path)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="crywatch params"):
        params.plain(path=tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("profile=nope", "Could not find 'profile/nope'.*Available options.*demo"),
        ("nokey=3", "Could not override 'nokey'"),
        ("profile", "Error parsing override 'profile'"),
        ("clean.workers=[1", "no viable alternative"),
    ],
)
def test_a_bad_override_is_one_line_and_changes_nothing(tmp_path, override, message):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    with pytest.raises(ConfigError, match=message) as refused:
        params.compose_to_file([override], tmp_path)
    assert "\n" not in str(refused.value) and "\t" not in str(refused.value)
    assert not (tmp_path / "params.yaml").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a {b: *a}\n", r"new\.yaml, line 2: not YAML .an alias within"),
        ("a: [1\n", r"new\.yaml, line 3: not YAML"),
        ("a: !!int x\n", r"new\.yaml, line 2: not YAML"),
        ("- a\n", r"new\.yaml, line 2: a list, not keys"),
        ("a: ${nope}\n", "conf: new.a: Interpolation key 'nope' not found"),
        ("a: {b: '${new}'}\n", "conf: new.a.b: Interpolation to parent"),
    ],
)
def test_a_file_of_conf_that_cannot_be_read_is_named(tmp_path, text, message):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf" / "stage" / "new.yaml").write_text(f"# @package new\n{text}")
    with pytest.raises(ConfigError, match=message):
        params.compose_to_file(root=tmp_path)
    assert not (tmp_path / "params.yaml").exists()


@pytest.mark.parametrize("command", ["dag", "repro", "detect"])
def test_every_command_names_the_line(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("a: 1\nb: &b {c: *b}\n")
    monkeypatch.setattr(sys, "argv", ["crywatch", command, *["a.wav"] * (command == "detect")])
    with pytest.raises(SystemExit):
        cli.main()
    assert "params.yaml, line 2: not YAML (an alias" in capsys.readouterr().err


def test_the_command_composes_from_a_folder_below(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    result = CliRunner().invoke(cli.app, ["params", "seed=5"])
    assert result.exit_code == 0
    assert params.plain("seed", tmp_path / "params.yaml") == 5
    assert not (tmp_path / "src" / "params.yaml").exists()


def test_the_published_features_are_an_option_with_a_miner_of_their_space():
    plain = params.compose(["profile=full", "published=none"])
    assert not plain.mine_published.miners
    conf = params.compose(["profile=full"])
    assert conf.embedder.name == "vggish" and conf.embedder.pca
    assert conf.corpus.audioset.features
    assert {Path(one.folder) for one in conf.mine_published.miners.values()} == {
        paths.MINE / name for name in conf.mine_published.miners
    }
    assert set(conf.mine_published.miners) <= set(conf.mine.datasets)
    own = set(conf.train_blazenet.variants) - set(plain.train_blazenet.variants)
    assert {conf.train_blazenet.variants[name].segments for name in own} == {"mined_published"}
