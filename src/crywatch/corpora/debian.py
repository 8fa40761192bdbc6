"""Debian: free sounds that packages of the distribution carry, speech and music among them.

`PACKAGES` says of each where it is, what of it is taken, and by whom it is spoken. An audio file
that no pattern names is not taken: beeps of games, effects of swords and magic, stretches of
silence, and packages' second copies of a sound.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from crywatch.core.errors import ConfigError, CorpusError
from crywatch.corpora.shared.base import ClipEntry, Corpus, CorpusConfig, Remote

SHARE = "usr/share"  # of a package, where its sounds are
LICENCES = f"{SHARE}/doc/*/copyright*"
OPTIONAL = ("wesnoth-1.16-data",)  # 146 MB for minutes of sound
# Of the mirrors' pool; a snapshot keeps what the pool drops with a release.
SNAPSHOT = "https://snapshot.debian.org/archive/debian/20230701T000000Z/pool/main"
BY_SA = "CC BY-SA 3.0"


@dataclass(frozen=True)
class Sounds:
    """Some files of a package.

    ``pattern`` fits a whole path below ``usr/share``. Its group ``by`` names the speaker, or what
    else one source made; without one each file is a source. Its group ``word`` is the publisher's
    word for the sound, added to ``category``.
    """

    category: str  # a class of conf/kinds.yaml; speech: the speaker's
    pattern: str
    by: str = ""  # of all files, where the pattern does not name it

    def fits(self, path: str) -> re.Match[str] | None:
        """Of a path below ``usr/share``."""
        return re.fullmatch(self.pattern, path)


@dataclass(frozen=True)
class Package:
    """A binary package of Debian 12."""

    pool: str  # of its file, below ``pool/main``
    sha256: str  # as the release's signed lists name it
    licence: str  # of what is taken, by its copyright file
    authors: str  # of what is taken, by its copyright file and its list of changes
    sounds: tuple[Sounds, ...]  # the first that fits is a file's


def _prompts(speaker: str) -> tuple[Sounds, ...]:
    """Asterisk's voice prompts: all but the stretches of silence."""
    return (Sounds("speech", rf"asterisk/sounds/{speaker}/(?!silence/).+\.wav", by=speaker),)


PACKAGES: dict[str, Package] = {
    "asterisk-core-sounds-en-wav": Package(
        "a/asterisk-core-sounds/asterisk-core-sounds-en-wav_1.6.1-1_all.deb",
        "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
        BY_SA,
        "Allison Smith",
        _prompts("en_US_f_Allison"),
    ),
    "asterisk-core-sounds-fr-wav": Package(
        "a/asterisk-core-sounds/asterisk-core-sounds-fr-wav_1.6.1-1_all.deb",
        "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
        BY_SA,
        "June Wallack",
        _prompts("fr_CA_f_June"),
    ),
    "asterisk-core-sounds-it-wav": Package(
        "a/asterisk-core-sounds/asterisk-core-sounds-it-wav_1.6.1-1_all.deb",
        "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
        "CC BY 3.0",
        "Carlo Flora",
        _prompts("it_IT_m_Carlo"),
    ),
    "asterisk-core-sounds-ru-wav": Package(
        "a/asterisk-core-sounds/asterisk-core-sounds-ru-wav_1.6.1-1_all.deb",
        "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
        "CC BY 3.0",
        "Maxim Topal (ivrvoice.ru)",
        _prompts("ru_RU_f_IvrvoiceRU"),
    ),
    "asterisk-moh-opsound-wav": Package(
        "a/asterisk-moh-opsound/asterisk-moh-opsound-wav_2.03-1.1_all.deb",
        "8f9d808a729d305c2d3343993f21ca5e6829e411682618dc8ea7aa8bc24a566c",
        BY_SA,
        "Paul Shuler (Macroform), Manolo Camp, Reno Project",
        (Sounds("music", r"asterisk/moh/(?P<by>\w+)-\w+\.wav"),),  # by the artist
    ),
    "tuxpaint-stamps-default": Package(
        "t/tuxpaint-stamps/tuxpaint-stamps-default_2022.06.04-1_all.deb",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        "GPL-2",
        "Bill Kendrick and those whom its changelog names",
        (
            # What a stamp shows, said in a language; without one in English.
            Sounds("speech", r"tuxpaint/stamps/.+_desc_(?P<by>[a-z]{2})\.ogg(\.ogg)?"),
            Sounds("speech", r"tuxpaint/stamps/.+_desc\.ogg", by="en"),
            # Dutch numbers, by a child of nine years.
            Sounds("child", r"tuxpaint/stamps/symbols/math/\d_nl\.ogg", by="nl_child"),
            Sounds("speech", r"tuxpaint/stamps/symbols/alphabets/(?P<by>en)glish/filled/.+\.ogg"),
            # What a stamp sounds like. How old those are who laugh at xing_school is not told.
            Sounds(
                "stamps",
                r"tuxpaint/stamps/(?P<word>(?!symbols/|space/|.+/xing_school)[\w/-]+)\.ogg",
            ),
        ),
    ),
    "klettres-data": Package(
        "k/klettres/klettres-data_22.12.3-1_all.deb",
        "1186d257a19e84230856baea0b0b1ded8be9195080fcdb2588970b5cd937f5a8",
        "GPL-2+",
        "Anne-Marie Mahfouf and the speakers whom its handbook names",
        # Brazilian ones are a child's of nine years. Those of ar, nb and tn are as high (258 to 360
        # Hz), and how old their speakers are is not told: they are not taken.
        (
            Sounds("child", r"klettres/pt_BR/\w+/.+\.ogg", by="pt_BR"),
            Sounds("speech", r"klettres/(?P<by>(?!ar|nb|tn)[a-z]{2,3})(_\w+)?/\w+/.+\.ogg"),
        ),
    ),
    "hedgewars-data": Package(
        "h/hedgewars/hedgewars-data_1.0.2-6_all.deb",
        "722225903a72604403e6e0026e40e9a6953f47a74d94efc5f55504bc05bb4761",
        "GFDL 1.3 / GPL-2",
        "Andrey Korotaev and the Hedgewars Project",
        (
            Sounds("music", r"games/hedgewars/Data/Music/.+\.ogg"),
            # Some files of these are the same.
            Sounds(
                "voices",
                r"games/hedgewars/Data/Sounds/voices/"
                r"(Classic|Default|Default_uk|HillBilly)/(?P<word>\D+)\d*\.ogg",
                by="Default",
            ),
            Sounds(
                "voices",
                r"games/hedgewars/Data/Sounds/voices/"
                r"(Default_pl|Russian_pl)/(?P<word>\D+)\d*\.ogg",
                by="pl",
            ),
            Sounds(
                "voices",
                r"games/hedgewars/Data/Sounds/voices/(?P<by>(?!Robot)\w+)/(?P<word>\D+)\d*\.ogg",
            ),
        ),
    ),
    "lomiri-sounds": Package(
        "l/lomiri-sounds/lomiri-sounds_22.02-1_all.deb",
        "d4a8fd0247e43e784ad75c11312d1f0e08a0ced6a4cfaadde3dcf118ab4e9abf",
        "CC BY-SA 3.0 / CC BY 3.0 / CC BY 4.0 / CC0 1.0",
        "Canonical Ltd., Mauricio Duarte, Sam Hulick, TMetso, Wayne Taylor, Amber Forest",
        (Sounds("", r"sounds/lomiri/(?P<word>(ringtones|notifications)/[^/]+)\.ogg"),),
    ),
    "sound-theme-freedesktop": Package(
        "s/sound-theme-freedesktop/sound-theme-freedesktop_0.8-2_all.deb",
        "135cc4893ba590d428577bc3bf42df756a165c05a2a43f84311ad7db779a70ea",
        "CC BY-SA 3.0 / GPL-2+",
        "Tim (corsica_s), the ALSA developers, Damien Sandras and others whom it names",
        (
            Sounds("speech", r"sounds/freedesktop/stereo/audio-channel-.+\.oga", by="alsa"),
            Sounds(
                "theme",
                r"sounds/freedesktop/stereo/(?P<word>alarm-clock-elapsed|bell|complete"
                r"|message-new-instant|phone-(incoming-call|outgoing-busy|outgoing-calling))\.oga",
            ),
        ),
    ),
    "wesnoth-1.16-data": Package(
        "w/wesnoth-1.16/wesnoth-1.16-data_1.16.9-1_all.deb",
        "1012b964bd412a6770685e3324ae3b61e176caff7846192d1ee63d55cd621e26",
        "GPL-2+ / CC BY-SA 4.0",
        "the Battle for Wesnoth Project",
        (
            Sounds(
                "creatures",
                r"games/wesnoth/1\.16/data/.+/(?P<word>(?P<by>dwarf|witches)-laugh)\.wav",
            ),
            Sounds(
                "creatures",
                r"games/wesnoth/1\.16/data/core/sounds/(?P<word>(?P<by>bat|drake|dwarf|elf|ghoul|goblin"
                r"|groan|gryphon|hiss|horse|human|human-female|human-old|mermaid|mermen|naga|ogre"
                r"|orc|orc-small|troll|tusker|ugg|wail|wolf|yeti|zombie))"
                r"(-(attack|big|canter|die|elf-canter|growl|hit|long|shriek|sml))?(-\d)?\.(ogg|wav)",
            ),
            Sounds("", r"games/wesnoth/1\.16/data/core/sounds/(?P<word>ambient/\D+)\d*\.ogg"),
            Sounds("", r"games/wesnoth/1\.16/data/core/sounds/(?P<word>horn-signals)/.+\.ogg"),
        ),
    ),
}


@dataclass(frozen=True)
class DebianConfig(CorpusConfig):
    """Section ``corpus.debian``."""

    packages: list[str] = field(
        default_factory=lambda: [name for name in PACKAGES if name not in OPTIONAL]
    )
    max_files: int = 30  # of one speaker, drawn by a digest of their paths
    min_s: float = 0.5  # shorter files are left out


class Debian(Corpus):
    """``PACKAGE/usr/share/...`` as `dpkg-deb -x` unpacks it, for each package.

    No class is an infant's crying. Where YAMNet hears some (0.2 or more in 13 of 10,945 files) they
    are wails, shouts and singing of Hedgewars' actors and a goblin of Wesnoth's, which stay. What
    one speaker said is one recording. Only files that are taken and the packages' licences are
    kept.
    """

    name = "debian"
    citation = "Sounds of Debian 12's packages " + ", ".join(PACKAGES) + "."
    licence = "GPL-2, GPL-2+, GFDL 1.3, CC BY-SA 3.0, CC BY-SA 4.0, CC BY 3.0, CC BY 4.0, CC0 1.0"
    terms = (
        "Free licences: name the authors (usr/share/doc/PACKAGE/copyright); who hands the sounds "
        "on, changed or not, does so under the same licences (GPL, GFDL, CC BY-SA)."
    )
    commercial_use = True
    homepage = "https://packages.debian.org/bookworm/"
    remotes = tuple(
        Remote(f"{SNAPSHOT}/{package.pool}", f"{name}.deb", package.sha256, into=name)
        for name, package in PACKAGES.items()
    )
    options = DebianConfig

    def files(self, options: CorpusConfig) -> tuple[Remote, ...]:
        """Those packages that ``options`` names."""
        wanted = _packages(options)
        return tuple(remote for remote in self.remotes if remote.into in wanted)

    def complete(self, folder: Path, options: CorpusConfig) -> None:
        """Keep of the packages what ``options`` takes."""
        wanted = _packages(options)
        if missing := [name for name in wanted if not (folder / name).is_dir()]:
            raise CorpusError(
                f"{folder}: {', '.join(missing)} missing: unpack them there with `dpkg-deb -x "
                "FILE FOLDER/PACKAGE`, or name those at hand in corpus.debian.packages"
            )
        kept = {folder / path for path in self._drawn(folder, wanted, options)}
        kept |= {path for name in wanted for path in (folder / name).glob(LICENCES)}
        for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder, then the folder
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in kept:
                path.unlink()

    def _drawn(self, folder: Path, wanted: list[str], options: CorpusConfig) -> Iterator[str]:
        """Of the entries of the packages, those long enough, and of a speaker so many."""
        config = options if isinstance(options, DebianConfig) else DebianConfig("")
        by_source: dict[str, list[str]] = defaultdict(list)
        for entry in self.entries(folder):
            if entry.source_path.partition("/")[0] in wanted:
                by_source[entry.recording_id].append(entry.source_path)
        for paths in by_source.values():
            drawn = 0
            for path in sorted(paths, key=_digest):
                if drawn < config.max_files and _seconds(folder / path) >= config.min_s:
                    drawn += 1
                    yield path

    def credits(self, folder: Path) -> Iterator[str]:
        """The authors of each package; its licence lies beside its sounds."""
        yield "Sounds of Debian's packages (usr/share/doc/PACKAGE/copyright of each):\n"
        for name in _present(folder):
            package = PACKAGES[name]
            yield f"- {name}: by {package.authors} [{package.licence}]"

    def check(self, folder: Path) -> None:
        """At least one package must be there."""
        if not _present(folder):
            self.require(folder, next(iter(PACKAGES)))

    def entries(self, folder: Path) -> Iterator[ClipEntry]:
        """The files that the packages' patterns name, in the order of their paths."""
        for name in _present(folder):
            for path in self.audio_files(folder, f"{name}/{SHARE}"):
                if entry := _entry(name, path):
                    yield entry


def _present(folder: Path) -> list[str]:
    return [name for name in PACKAGES if (folder / name).is_dir()]


def _packages(options: CorpusConfig) -> list[str]:
    config = options if isinstance(options, DebianConfig) else DebianConfig("")
    if unknown := [name for name in config.packages if name not in PACKAGES]:
        raise ConfigError(
            f"corpus.debian.packages: {unknown[0]!r} is unknown; there are {', '.join(PACKAGES)}"
        )
    if not config.packages:
        raise ConfigError("corpus.debian.packages names no package")
    return config.packages


def _entry(name: str, path: str) -> ClipEntry | None:
    """Of a file, or None where no pattern takes it."""
    package = PACKAGES[name]
    inside = path.removeprefix(f"{name}/{SHARE}/")
    for sounds in package.sounds:
        if not (match := sounds.fits(inside)):
            continue
        found = match.groupdict()
        by, word = sounds.by or found.get("by"), found.get("word")
        return ClipEntry(
            source_path=path,
            label="other",
            category="/".join(filter(None, (sounds.category, word))),
            recording_id=f"debian/{name}/{by or PurePosixPath(inside).with_suffix('')}",
            licence=package.licence,
        )
    return None


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()


def _seconds(path: Path) -> float:
    """By the file's header; infinite where it cannot be read, which `clean` will say."""
    import soundfile

    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        return float("inf")
    return info.frames / info.samplerate
