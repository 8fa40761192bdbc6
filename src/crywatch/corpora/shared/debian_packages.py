"""Debian packages with free sounds: where each is, what of it is taken, and by whom it is spoken.

An audio file that no pattern names is not taken: beeps of games, effects of swords and magic,
stretches of silence, and packages' second copies of a sound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
    sounds: tuple[Sounds, ...]  # the first that fits is a file's


def _prompts(speaker: str) -> tuple[Sounds, ...]:
    """Asterisk's voice prompts: all but the stretches of silence."""
    return (Sounds("speech", rf"asterisk/sounds/{speaker}/(?!silence/).+\.wav", by=speaker),)


PACKAGES: dict[str, Package] = {
    "asterisk-core-sounds-en-wav": Package(
        "a/asterisk-core-sounds/asterisk-core-sounds-en-wav_1.6.1-1_all.deb",
        "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
        BY_SA,
        _prompts("en_US_f_Allison"),
    ),
    "asterisk-core-sounds-fr-wav": Package(
        "a/asterisk-core-sounds/asterisk-core-sounds-fr-wav_1.6.1-1_all.deb",
        "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
        BY_SA,
        _prompts("fr_CA_f_June"),
    ),
    "asterisk-core-sounds-it-wav": Package(
        "a/asterisk-core-sounds/asterisk-core-sounds-it-wav_1.6.1-1_all.deb",
        "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
        "CC BY 3.0",
        _prompts("it_IT_m_Carlo"),
    ),
    "asterisk-core-sounds-ru-wav": Package(
        "a/asterisk-core-sounds/asterisk-core-sounds-ru-wav_1.6.1-1_all.deb",
        "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
        "CC BY 3.0",
        _prompts("ru_RU_f_IvrvoiceRU"),
    ),
    "asterisk-moh-opsound-wav": Package(
        "a/asterisk-moh-opsound/asterisk-moh-opsound-wav_2.03-1.1_all.deb",
        "8f9d808a729d305c2d3343993f21ca5e6829e411682618dc8ea7aa8bc24a566c",
        BY_SA,
        (Sounds("music", r"asterisk/moh/(?P<by>\w+)-\w+\.wav"),),  # by the artist
    ),
    "tuxpaint-stamps-default": Package(
        "t/tuxpaint-stamps/tuxpaint-stamps-default_2022.06.04-1_all.deb",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        "GPL-2",
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
        "GFDL 1.3, GPL-2",
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
        "CC BY-SA 3.0, CC BY 3.0, CC BY 4.0, CC0 1.0",
        (Sounds("", r"sounds/lomiri/(?P<word>(ringtones|notifications)/[^/]+)\.ogg"),),
    ),
    "sound-theme-freedesktop": Package(
        "s/sound-theme-freedesktop/sound-theme-freedesktop_0.8-2_all.deb",
        "135cc4893ba590d428577bc3bf42df756a165c05a2a43f84311ad7db779a70ea",
        "CC BY-SA 3.0, GPL-2+",
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
        "GPL-2+, CC BY-SA 4.0",
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
