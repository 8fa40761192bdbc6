"""The closure of imports: what unfinished work is known by, and what a stage depends on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from crywatch.core.code import PACKAGE, closure, code_sha256

FILES = {
    "__init__.py": "",
    "core/paths.py": "from crywatch.room import unseen",
    "room/__init__.py": "FACE = 1",
    "room/stage.py": "from crywatch.room import direct\nfrom crywatch.core import paths\n",
    "room/direct.py": "def run():\n    from crywatch.far.inner import late\n",
    "room/late.py": "",
    "room/unseen.py": "",
    "far/inner.py": "from crywatch.room import FACE\nlate = 'crywatch.far.opened:Name'",
    "far/opened.py": "import crywatch.far.last as last",
    "far/last.py": "",
    "far/page.html.j2": "",
}


@pytest.fixture
def package(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_the_closure_reaches_through_functions_packages_and_names_opened_by_need(package):
    files = closure(package / "room" / "stage.py", package)
    assert {file.relative_to(package).as_posix() for file in files} == {
        "room/direct.py",
        "room/__init__.py",  # for FACE; not for the modules beside it
        "far/inner.py",
        "far/opened.py",
        "far/last.py",
        "far/page.html.j2",
    }


@pytest.mark.parametrize("name", FILES)
def test_code_is_known_by_all_that_the_module_reaches(package, name):
    before = code_sha256("crywatch.room.stage", package)
    (package / name).write_text(f"{FILES[name]}\n# a comment")
    unreached = ("__init__.py", "core/paths.py", "room/late.py", "room/unseen.py")
    assert (code_sha256("crywatch.room.stage", package) == before) == (name in unreached)


def test_a_name_that_is_no_module_is_refused(package):
    with pytest.raises(ValueError, match=r"crywatch\.room\.none"):
        code_sha256("crywatch.room.none", package)


@pytest.mark.parametrize(
    "module",
    [
        "data.clean",
        "detection.blazenet.train_blazenet",
        "detection.embedders.embed",
    ],
)
def test_what_python_imports_is_in_the_closure(module):
    """Of the modules that run at import, only plumbing and faces of rooms are outside."""
    code = (
        f"import sys, crywatch.{module}\n"
        "print(*(m.__file__ for n, m in sorted(sys.modules.items()) if n.startswith('crywatch')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    root = PACKAGE.joinpath(*module.split("."))
    root = root / "__init__.py" if root.is_dir() else root.with_suffix(".py")
    reached = {str(file) for file in {root, *closure(root)}}
    outside = {
        name
        for path in set(done.stdout.split()) - reached
        if not (name := path.removeprefix(f"{PACKAGE}/")).startswith(("core/", "tracking/"))
        and not name.endswith("__init__.py")
    }
    assert outside <= {"detection/engine/base.py", "audio/guard.py"}
