"""Debian: what is taken of packages, whose voices are one recording, and what a folder keeps."""

from pathlib import Path

import pytest
import soundfile
import yaml

from crywatch import corpora
from crywatch.core.errors import ConfigError, CorpusError
from crywatch.corpora.debian import OPTIONAL, PACKAGES, SHARE, DebianConfig
from crywatch.corpora.terms import terms_of

DEBIAN = corpora.get("debian")
STAMPS = f"tuxpaint-stamps-default/{SHARE}/tuxpaint/stamps"
VOICES = f"hedgewars-data/{SHARE}/games/hedgewars/Data/Sounds/voices"


def put(folder: Path, *paths: str, seconds: float = 1.0) -> dict[str, corpora.ClipEntry]:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, [0.0] * round(8_000 * seconds), 8_000)
    return {entry.source_path: entry for entry in DEBIAN.index(folder)}


def only(*packages: str, **others) -> DebianConfig:
    return DebianConfig("", list(packages), **others)


def test_what_a_language_has_of_a_stamp_is_one_speaker_and_its_sound_is_of_its_own_class(tmp_path):
    found = put(
        tmp_path,
        f"{STAMPS}/animals/birds/crow_desc_fr.ogg",
        f"{STAMPS}/animals/mammals/cow_desc_fr.ogg",
        f"{STAMPS}/animals/mammals/cow_desc.ogg",
        f"{STAMPS}/animals/birds/crow.ogg",
        f"{STAMPS}/animals/birds/duck.ogg",
        f"{STAMPS}/symbols/math/5_nl.ogg",
    )
    assert all(entry.label == "other" and entry.licence == "GPL-2" for entry in found.values())
    name = "debian/tuxpaint-stamps-default"
    known = {
        path.rpartition("/")[2]: (entry.category, entry.recording_id)
        for path, entry in found.items()
    }
    assert known == {
        "crow_desc_fr.ogg": ("speech", f"{name}/fr"),
        "cow_desc_fr.ogg": ("speech", f"{name}/fr"),
        "cow_desc.ogg": ("speech", f"{name}/en"),
        "crow.ogg": ("stamps/animals/birds/crow", f"{name}/tuxpaint/stamps/animals/birds/crow"),
        "duck.ogg": ("stamps/animals/birds/duck", f"{name}/tuxpaint/stamps/animals/birds/duck"),
        "5_nl.ogg": ("child", f"{name}/nl_child"),
    }


def test_an_actor_is_one_recording_whatever_he_does_and_voices_that_share_files_are_too(tmp_path):
    found = put(
        tmp_path,
        *(f"{VOICES}/{name}.ogg" for name in ("Pirate/Ow3", "Pirate/Laugh", "Default/Hello")),
        *(f"{VOICES}/{name}.ogg" for name in ("Classic/Hello", "Robot/Hello")),
    )
    known = {path[len(VOICES) + 1 :]: (e.category, e.recording_id) for path, e in found.items()}
    assert known == {  # the robot's voice is no speech
        "Pirate/Ow3.ogg": ("voices/Ow", "debian/hedgewars-data/Pirate"),
        "Pirate/Laugh.ogg": ("voices/Laugh", "debian/hedgewars-data/Pirate"),
        "Default/Hello.ogg": ("voices/Hello", "debian/hedgewars-data/Default"),
        "Classic/Hello.ogg": ("voices/Hello", "debian/hedgewars-data/Default"),
    }


def test_a_speaker_of_unknown_age_and_what_no_pattern_names_are_passed_over(tmp_path):
    letters = f"klettres-data/{SHARE}/klettres"
    found = put(
        tmp_path,
        *(f"{letters}/{name}/alpha/a.ogg" for name in ("tn", "de", "pt_BR")),
        f"hedgewars-data/{SHARE}/games/hedgewars/Data/Sounds/laser.ogg",
        f"asterisk-core-sounds-it-wav/{SHARE}/asterisk/sounds/it_IT_m_Carlo/silence/1.wav",
        f"asterisk-core-sounds-it-wav/{SHARE}/asterisk/sounds/it_IT_m_Carlo/digits/1.wav",
        "another-package/usr/share/sounds/a.wav",
    )
    known = {entry.recording_id: (entry.category, entry.licence) for entry in found.values()}
    assert known == {
        "debian/klettres-data/de": ("speech", "GPL-2+"),
        "debian/klettres-data/pt_BR": ("child", "GPL-2+"),
        "debian/asterisk-core-sounds-it-wav/it_IT_m_Carlo": ("speech", "CC BY 3.0"),
    }


def test_of_a_speaker_so_many_files_are_kept_the_same_ones_each_time(tmp_path):
    names = [f"{STAMPS}/food/{number}_desc_fr.ogg" for number in range(9)]
    config = only("tuxpaint-stamps-default", max_files=4)
    kept = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        put(folder, *names, f"{STAMPS}/food/apple.ogg")
        put(folder, *(f"{STAMPS}/food/{number}_desc_ru.ogg" for number in range(2)))
        put(folder, f"{STAMPS}/food/short_desc_fr.ogg", seconds=0.4)
        DEBIAN.complete(folder, config)
        kept.append(sorted(put(folder)))
    assert kept[0] == kept[1]
    of = [path.rpartition("_")[2] for path in kept[0]]
    assert (of.count("fr.ogg"), of.count("ru.ogg"), len(of)) == (4, 2, 7)
    assert f"{STAMPS}/food/short_desc_fr.ogg" not in kept[0]


def test_the_licences_stay_and_pictures_and_other_packages_go(tmp_path):
    put(tmp_path, f"{STAMPS}/food/apple.ogg", f"klettres-data/{SHARE}/klettres/de/alpha/a.ogg")
    licence = tmp_path / "tuxpaint-stamps-default" / SHARE / "doc/tuxpaint-stamps-default/copyright"
    licence.parent.mkdir(parents=True)
    licence.write_text("GPL-2")
    (tmp_path / STAMPS / "food" / "apple.png").write_bytes(b"\x89PNG")
    (tmp_path / STAMPS / "empty").mkdir()
    DEBIAN.complete(tmp_path, only("tuxpaint-stamps-default"))
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"apple.ogg", "copyright"}
    assert not (tmp_path / "klettres-data").exists() and not (tmp_path / STAMPS / "empty").exists()


def test_packages_that_are_unknown_or_not_there_are_named(tmp_path):
    put(tmp_path, f"{STAMPS}/food/apple.ogg")
    with pytest.raises(
        ConfigError, match=r"corpus\.debian\.packages: 'tuxpaint' is unknown; there"
    ):
        DEBIAN.complete(tmp_path, only("tuxpaint"))
    with pytest.raises(ConfigError, match="names no package"):
        DEBIAN.files(only())
    with pytest.raises(CorpusError, match=r": klettres-data missing: unpack them .*dpkg-deb -x"):
        DEBIAN.complete(tmp_path, only("tuxpaint-stamps-default", "klettres-data"))
    assert (tmp_path / STAMPS / "food" / "apple.ogg").is_file()


def test_the_packages_that_are_named_are_fetched_each_with_its_checksum():
    assert {remote.into for remote in DEBIAN.files(DebianConfig(""))} == set(PACKAGES) - set(
        OPTIONAL
    )
    (remote,) = DEBIAN.files(only(*OPTIONAL))
    assert remote.into == OPTIONAL[0] and remote.sha256 == PACKAGES[OPTIONAL[0]].sha256
    assert all(remote.sha256 for remote in DEBIAN.remotes)
    told = yaml.safe_load((Path(__file__).parents[2] / "conf/corpus.yaml").read_text())["debian"]
    assert DebianConfig(**told | {"folder": ""}) == DebianConfig("")


def test_what_heard_it_may_be_sold_and_its_licences_are_told():
    terms = terms_of(["debian", "donateacry"])
    assert terms.commercial_use
    assert {"GFDL 1.3", "CC BY-SA 3.0"} <= set(terms.licences[0].split(", "))
