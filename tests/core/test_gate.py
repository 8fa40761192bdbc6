"""What others can write is checked before it names a file, an argument or a query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crywatch.core import gate
from crywatch.core.gate import GateError

CONTROL = ["a\nb", "a\x1b[2Jb", "a\0b", "a\x7f", "a\x9bb"]
OPTIONS = ["-rf", "--force", "--output=/tmp/x", "-"]
OUT = ["/etc/passwd", "//host/share", "../x", "a/../../b", "..", "C:\\x", "c:x", "\\\\host\\share"]
NOTHING = ["", ".", None, 3, ["a"], {"a": "b"}]


@pytest.mark.parametrize(
    ("shape", "good"),
    [
        (gate.SHA256, ["0" * 64]),
        (gate.DVC_DIGEST, ["0" * 32, "f" * 32 + ".dir"]),
        (gate.COMMIT, ["a" * 40, "a" * 64]),
        (gate.STAGE, ["clean", "clean@esc50", "train_baselines@svc", "clean@ein Körper", "x@0.5"]),
        (gate.NAME, ["retrain", "reproduce-cry-detector-3", "one copy é"]),
        (gate.REFERENCE, ["puffy-daks", "exp_1", "v1.2"]),
    ],
)
def test_a_word_is_what_it_should_be_or_is_refused(shape, good):
    assert [shape(text, "here") for text in good] == good
    wrong = [*CONTROL, *OPTIONS, *OUT, *NOTHING, good[0] + "\n", f"/{good[0]}", f"-{good[0]}"]
    passed = [text for text in wrong if shape.fits(text)]
    assert passed == []
    with pytest.raises(GateError, match=r"^tag x: '\.\./x' is not "):
        shape("../x", "tag x")


@pytest.mark.parametrize("text", ["feature..x", "a.lock", "x@{1}", "*", "a?", "[a]", "a b", "a~1"])
def test_a_reference_holds_no_pattern(text):
    assert not gate.REFERENCE.fits(text)


@pytest.mark.parametrize("text", [*OUT, *NOTHING, "a\0b", "ü" * 200, "a\ud800"])
def test_a_path_that_leads_out_is_refused(tmp_path, text):
    for check in (gate.below, lambda text, where: gate.inside(tmp_path, text, where)):
        with pytest.raises(GateError, match="here: "):
            check(text, "here")


@pytest.mark.parametrize("text", ["a", "a/b.flac", "a..b", "at 12:30.wav", "-a.wav", "./a", ".b"])
def test_a_path_below_its_folder_stays_as_it_is(tmp_path, text):
    assert gate.below(text, "here") == text
    assert gate.inside(tmp_path, text, "here") == tmp_path / text


@settings(max_examples=200, derandomize=True, deadline=None)
@given(text=st.text(alphabet=["/", ".", "a", "\\", ":", "\0", "-", "é", "\ud800"], max_size=12))
def test_whatever_passes_lies_below(tmp_path_factory, text):
    folder = Path("/some/folder")
    try:
        passed = gate.below(text, "here")
    except GateError:
        return
    import os.path

    inside = os.path.normpath(folder / passed)
    assert inside == str(folder) or inside.startswith(f"{folder}/")


def test_a_link_is_followed_as_far_as_it_stays_inside(tmp_path):
    folder, beside = tmp_path / "own", tmp_path / "beside"
    for path in (folder / "a" / "x", beside / "x", tmp_path / "cache/files/md5/ab" / ("0" * 30)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "within").symlink_to(folder / "a")
    (folder / "out").symlink_to(beside)
    (folder / "file").symlink_to(beside / "x")
    (folder / "object").symlink_to(tmp_path / "cache/files/md5/ab" / ("0" * 30))  # as DVC links
    for good in ("within/x", "object", "not there"):
        assert gate.inside(folder, good, "here") == folder / good
    for wrong in ("out/x", "out", "file"):
        with pytest.raises(GateError, match="a link leads out"):
            gate.inside(folder, wrong, "here")


@pytest.mark.parametrize(
    ("text", "spelt"), [("a", "'a'"), ("it's", '"it\'s"'), ('say "a"', "'say \"a\"'"), ("", "''")]
)
def test_a_value_of_a_query_keeps_its_quotes(text, spelt):
    assert gate.quoted(text) == spelt
    with pytest.raises(GateError, match="both kinds of quotes"):
        gate.quoted(text + "'\"")


def test_only_a_folder_of_the_own_is_removed(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own / "a", own / "deep" / "b", other):
        folder.mkdir(parents=True)
        (folder / "kept").touch()
    (own / "link").symlink_to(other)
    wrong = [other, own, own / "deep" / "b", own / ".." / "other", own / "link", own / "a" / ".."]
    for folder in (*wrong, Path("/"), Path(), own / ""):
        with pytest.raises(GateError, match="it is not removed"):
            gate.remove(folder, own)
    assert (other / "kept").is_file() and (own / "deep" / "b" / "kept").is_file()
    gate.remove(own / "a", own)
    gate.remove(own / "a", own)  # that is not there
    assert not (own / "a").exists() and other.is_dir()


@dataclass(frozen=True)
class Inner:
    number: int
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    many: tuple[Inner, ...]
    of: dict[str, str]
    maybe: int | None = None


GOOD = {"name": "a", "many": [{"number": 1, "share": 2}], "of": {"a": "b"}}


def test_json_becomes_what_it_should_be():
    made = gate.parsed(Outer, json.dumps(GOOD | {"unknown": [1]}), "here")
    assert made == Outer("a", (Inner(1, 2.0),), {"a": "b"})
    assert gate.parsed(list[Any], "[1, {}]", "here") == [1, {}]
    assert gate.parsed(Outer, json.dumps(GOOD | {"maybe": 3}), "here").maybe == 3


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "3", '"x"', "[]", "[" * 5000, "\ufeff{}", "{}"),
        *(
            json.dumps(GOOD | more)
            for more in (
                {"name": 3},
                {"name": None},
                {"many": {}},
                {"many": [3]},
                {"many": [{"number": True}]},
                {"many": [{"number": 1.5}]},
                {"many": [{}]},
                {"of": {"a": 1}},
                {"of": ["a"]},
                {"maybe": "3"},
            )
        ),
    ],
)
def test_json_of_another_form_is_refused_by_its_place(text):
    with pytest.raises(GateError, match="^tag x"):
        gate.parsed(Outer, text, "tag x")
