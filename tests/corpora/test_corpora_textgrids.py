"""TextGrids of Praat as strong labels of Donate-a-cry's recordings."""

import pytest
from praatio import textgrid

from crywatch import corpora
from crywatch.core.errors import ConfigError, CorpusError
from crywatch.corpora import ClipEntry, Event, donateacry
from crywatch.corpora.donateacry import DonateACryConfig
from crywatch.corpora.download import DataConfig, DownloadConfig, run
from crywatch.corpora.generate import generate
from tests.corpora.test_corpora import TINY

CRYING = [(0.25, 1.5, "Cry"), (1.5, 2.0, ""), (2.0, 3.25, "noise "), (3.5, 4.0, "baby  cry")]


def write_grid(file, intervals, encoding="utf-8", **points):
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("sounds", intervals, 0, 7))
    for name, entries in points.items():
        grid.addTier(textgrid.PointTier(name, entries, 0, 7))
    file.parent.mkdir(parents=True, exist_ok=True)
    grid.save(str(file), format="long_textgrid", includeBlankSpaces=True)
    file.write_text(file.read_text(encoding="utf-8"), encoding=encoding)
    return file


@pytest.fixture
def corpus(tmp_path):
    """A generated one, and its clips by their names."""
    generate("donateacry", tmp_path / "corpus", TINY)
    return tmp_path / "corpus"


def index(folder):
    entries = corpora.get("donateacry").index(folder)
    return {e.source_path: e for e in entries if isinstance(e, ClipEntry)}


def paths_of(folder):
    """Cleaned clips that there are raw too."""
    cleaned = {path for path in index(folder) if path.startswith(donateacry.CLEANED)}
    raw = {stem(path) for path in index(folder) if path not in cleaned}
    return sorted(path for path in cleaned if stem(path) in raw)


def stem(path):
    return path.rpartition("/")[2].rpartition(".")[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_intervals_are_the_strong_labels_of_the_cleaned_clip_alone(corpus, encoding):
    first, second, *_ = paths_of(corpus)
    plain = index(corpus)
    grids = corpus / donateacry.TEXTGRIDS
    write_grid(grids / f"{stem(first)}.TextGrid", CRYING, encoding, marks=[(1.0, "cry")])
    write_grid(grids / "in" / f"{stem(second)}.TextGrid", [(0.0, 7.0, "speech")])
    found = index(corpus)
    assert found[first].label == "cry"
    assert found[first].events == (
        Event(0.25, 1.5, "cry"),
        Event(2.0, 3.25, "noise"),
        Event(3.5, 4.0, "cry"),
    )
    assert (found[second].label, found[second].events) == ("other", (Event(0.0, 7.0, "speech"),))
    assert {path for path in found if found[path] != plain[path]} == {first, second}


def test_a_raw_upload_without_a_cleaned_copy_has_them(corpus):
    path = next(path for path, entry in index(corpus).items() if entry.label == "unknown")
    for cleaned in (corpus / donateacry.CLEANED).rglob(f"{stem(path)}.wav"):
        cleaned.unlink()
    write_grid(corpus / donateacry.TEXTGRIDS / f"{stem(path)}.TextGrid", CRYING)
    assert index(corpus)[path].label == "cry"
    assert len(index(corpus)[path].events) == 3


@pytest.mark.parametrize(
    ("intervals", "name", "message"),
    [
        ([(0.0, 1.0, "c1")], "", r"no interval is a cry: .*one of cry, .*there are c1"),
        (CRYING, "other", r"other\.TextGrid and all others have no recording's name"),
        (None, "", r"\.TextGrid: not a TextGrid"),
    ],
)
def test_grids_that_cannot_be_right_are_an_error(corpus, intervals, name, message):
    file = corpus / donateacry.TEXTGRIDS / f"{name or stem(paths_of(corpus)[0])}.TextGrid"
    if intervals is None:
        file.parent.mkdir()
        file.write_text("File type = nothing\n")
    else:
        write_grid(file, intervals)
    with pytest.raises(CorpusError, match=message):
        index(corpus)


def download(tmp_path, mirror, textgrids):
    data = DataConfig("mirror", str(mirror), allow_missing=False)
    config = DownloadConfig(1.0, 0, 1.0, 1.0)
    options = DonateACryConfig(folder="", textgrids=str(textgrids))
    run("donateacry", data, config, tmp_path / "raw", tmp_path / "work", options)
    return index(tmp_path / "raw")


def test_a_folder_of_grids_elsewhere_comes_with_the_corpus(corpus, tmp_path):
    mirror = corpus.rename(tmp_path / "mirror_donateacry").parent / "mirror"
    mirror.mkdir()
    (tmp_path / "mirror_donateacry").rename(mirror / "donateacry")
    first = paths_of(mirror / "donateacry")[0]
    write_grid(tmp_path / "grids" / "one" / f"{stem(first)}.TextGrid", CRYING)
    assert len(download(tmp_path, mirror, tmp_path / "grids")[first].events) == 3
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match=r"corpus\.donateacry\.textgrids: no \.TextGrid"):
        download(tmp_path, mirror, tmp_path / "none")
    for folder in ("one", "two"):
        write_grid(tmp_path / "twice" / folder / f"{stem(first)}.TextGrid", CRYING)
    with pytest.raises(ConfigError, match=r"twice.one.*and .*twice.two.*have one name"):
        download(tmp_path, mirror, tmp_path / "twice")
