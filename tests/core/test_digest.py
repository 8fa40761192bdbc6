"""Content digests: what unfinished work is known by."""

from __future__ import annotations

from crywatch.core import digest
from crywatch.core.digest import code_sha256


def test_code_is_known_by_names_and_contents(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "_PACKAGE", tmp_path)
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "one.py").write_text("a = 1")
    (tmp_path / "folder" / "deep" / "two.py").write_text("b = 2")

    def both():
        return code_sha256("one.py", "folder")

    first = both()
    (tmp_path / "folder" / "two.pyc").write_text("compiled")
    assert both() == first
    (tmp_path / "folder" / "deep" / "two.py").write_text("b = 3")
    assert both() != first
    (tmp_path / "folder" / "deep" / "two.py").rename(tmp_path / "folder" / "two.py")
    assert both() not in (first, code_sha256("one.py"))
