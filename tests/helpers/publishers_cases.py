"""The publishers of profile full on one local server: archives, a gate, refusals and videos.

A copy of the project asks it in place of them: the hosts' names in its loaders and options are
replaced by the server's (the hub's by HF_ENDPOINT), and `yt_dlp` by a stand-in that asks it too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from crywatch import corpora
from crywatch.corpora import audioset
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.corpora.shared.audioset_tables import CLASSES, SEGMENTS, read_classes, read_segments
from tests.helpers.archive_cases import make_deb, tar_info
from tests.helpers.dag import ROOT
from tests.helpers.http_cases import answer, serving
from tests.helpers.published_cases import example, write_pca, write_shard

TOKEN = "hf_not-a-real-token"
HOSTS = (
    *("github.com", "api.osf.io", "zenodo.org", "storage.googleapis.com", "tfhub.dev"),
    "snapshot.debian.org",
)
GONE = "Private video. Sign in if you've been granted access to this video"
BOT = "Sign in to confirm you’re not a bot. Use --cookies"
# What a server does not have is private; one that blocks says so of every video.
YT_DLP = """
import os
import urllib.error
import urllib.request
from pathlib import Path


class YoutubeDL:
    def __init__(self, options):
        self.options = options

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return False

    def extract_info(self, url, download):
        import numpy as np
        import soundfile

        path = Path(self.options["outtmpl"]["default"] % {"ext": "flac"})
        name = url.rpartition("=")[2]
        try:
            with urllib.request.urlopen(f"{os.environ['PUBLISHERS']}/videos/{name}") as reply:
                path.write_bytes(reply.read())
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"ERROR: [youtube] {name}: {error.read().decode()}") from None
        if "download_ranges" not in self.options:  # the clip is cut from the whole track
            wave, rate_hz = soundfile.read(path, dtype="int16")
            before = np.zeros(rate_hz * int(path.stem.rpartition("_")[2]) // 1000, dtype="int16")
            soundfile.write(path, np.concatenate([before, wave]), rate_hz, format="FLAC")
        return {"requested_downloads": [{"filepath": str(path)}]}
"""


@dataclass
class Publishers:
    """What the server has, and what it does not give."""

    folder: Path  # of the corpora in the publishers' layouts
    files: dict[str, bytes] = field(default_factory=dict)  # by host and path
    gated: dict[str, bytes] = field(default_factory=dict)  # of the hub, by path
    videos: dict[str, bytes] = field(default_factory=dict)  # by id; all others are private
    refused: set[str] = field(default_factory=set)  # hosts that answer 403
    blocks: bool = False  # whether the host of videos does
    gives: bool = True  # whether a token and a folder on request are there
    url: str = ""

    def answer(self, path: str, token: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        path = urlsplit(path).path
        host, _, rest = path.lstrip("/").partition("/")
        if host in self.refused:
            return 403, {}, b""
        if host == "videos":
            if self.blocks:
                return 429, {}, BOT.encode()
            return (200, {}, self.videos[rest]) if rest in self.videos else (404, {}, GONE.encode())
        if path in self.gated:
            if not token:
                return 401, {}, b""
            if token != f"Bearer {TOKEN}":
                return 403, {}, b""
            return 200, _announced(self.gated[path]), self.gated[path]
        body = self.files.get(path)
        return (404, {}, b"") if body is None else (200, _announced(body), body)


def _announced(body: bytes) -> dict[str, str]:
    digest = hashlib.sha256(body).hexdigest()
    return {"ETag": f'"{digest}"', "X-Repo-Commit": digest[:40]}


@contextmanager
def publishing(
    folder: Path, generator: GeneratorConfig, names: Iterable[str]
) -> Iterator[Publishers]:
    """The publishers of ``names`` with small archives, whose content is generated in ``folder``."""
    publishers = Publishers(folder)

    def reply(request) -> None:
        token = request.headers.get("Authorization", "")
        answer(request, *publishers.answer(request.path, token))

    with serving(reply) as url:
        publishers.url = url
        for name in names:
            generate(name, folder / name, generator)
            if name == "audioset":
                _features(folder / name)
            _publish(publishers, name, folder / name)
        for clip in (folder / "audioset" / audioset.AUDIO).iterdir():
            publishers.videos[clip.stem.rpartition("_")[0]] = clip.read_bytes()
        yield publishers


def _publish(publishers: Publishers, name: str, folder: Path) -> None:
    listed = []
    for remote in corpora.get(name).remotes:
        if not (folder / remote.into).is_dir():
            continue  # a package that is no default
        body = _packed(folder, remote) if remote.unpack else (folder / remote.filename).read_bytes()
        where = urlsplit(remote.url)
        if remote.host == "huggingface":
            publishers.gated[where.path] = body
        elif remote.host == "osf":
            at = f"/{where.netloc}/download/{remote.filename}"
            publishers.files[at] = body
            hashes = {"sha256": hashlib.sha256(body).hexdigest()}
            about = {"name": f"Enes{remote.filename}", "kind": "file", "extra": {"hashes": hashes}}
            listed.append({"attributes": about, "links": {"download": f"{publishers.url}{at}"}})
            listing = json.dumps({"data": listed, "links": {"next": None}})
            publishers.files[f"/{where.netloc}{where.path}"] = listing.encode()
        else:
            publishers.files[f"/{where.netloc}{where.path}"] = body


def _packed(folder: Path, remote: corpora.Remote) -> bytes:
    """What ``remote`` unpacks to: a folder of the layout, or one that the archive holds."""
    inside = {"audio.zip": "audio", "features.tar.gz": audioset.FEATURES}.get(remote.filename)
    if remote.filename.endswith(".deb"):
        root = folder / remote.into
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        members = {tar_info(f"./{file.relative_to(root)}"): file.read_bytes() for file in files}
        return make_deb(folder.with_name(remote.filename), members).read_bytes()
    kind = "gztar" if remote.filename.endswith(".tar.gz") else "zip"
    target = folder.with_name(f"packed-{folder.name}-{remote.filename}")
    packed = shutil.make_archive(str(target), kind, folder / remote.into, inside)
    return Path(packed).read_bytes()


def _features(folder: Path) -> None:
    """Features of the clips of all parts, higher where an infant may cry."""
    numbers = {entry.mid: entry.index for entry in read_classes(folder / CLASSES)}
    rng = np.random.default_rng(5)
    for shards, part in (("bal_train", "balanced"), ("unbal_train", "unbalanced"), ("eval",) * 2):
        records = []
        for segment in read_segments(folder / SEGMENTS[part]):
            levels = rng.integers(0, 200, (10, 128)) + 50 * (audioset.BABY_CRY in segment.mids)
            labels = tuple(numbers[mid] for mid in segment.mids)
            levels = levels.astype(np.uint8)
            records.append(example(segment.ytid, segment.start_s, labels, levels))
        write_shard(folder / audioset.FEATURES / shards / "-0.tfrecord", *records)


def publish_networks(publishers: Publishers, folder: Path) -> None:
    """Stand-ins of VGGish with its PCA, YAMNet and ECAPA-TDNN at the publishers' addresses."""
    from crywatch.speaker.ecapa import CHECKPOINT, Ecapa, EcapaShape
    from tests.helpers.embedder_cases import save_vggish, save_yamnet
    from tests.helpers.speaker_cases import save_published

    for name, save in (("vggish", save_vggish), ("yamnet", save_yamnet)):
        packed = shutil.make_archive(str(folder / name), "gztar", save(folder / f"{name}-model"))
        publishers.files[f"/tfhub.dev/google/{name}/1"] = Path(packed).read_bytes()
    pca = write_pca(folder / "pca.npz").read_bytes()
    publishers.files["/storage.googleapis.com/audioset/vggish_pca_params.npz"] = pca
    ecapa = save_published(folder / "ecapa", Ecapa(EcapaShape(16, 48, 16, 16)))
    at = f"/speechbrain/spkrec-ecapa-voxceleb/resolve/main/{CHECKPOINT}"
    publishers.files[at] = (ecapa / CHECKPOINT).read_bytes()


def moved(remote: corpora.Remote, publishers: Publishers) -> corpora.Remote:
    """``remote`` on the local server; the hub's are by HF_ENDPOINT."""
    where = urlsplit(remote.url)
    at = f"{publishers.url}/{where.netloc}{where.path}"
    if where.netloc not in HOSTS:
        return remote
    return replace(remote, url=at, sha256=remote.sha256 and _digest(remote, publishers))


def _digest(remote: corpora.Remote, publishers: Publishers) -> str:
    """Of what the local server has in place of ``remote``'s file."""
    where = urlsplit(remote.url)
    return hashlib.sha256(publishers.files.get(f"/{where.netloc}{where.path}", b"")).hexdigest()


def project_of(folder: Path, publishers: Publishers, compose: Callable[[Path], None]) -> Path:
    """A copy of the project that asks ``publishers``; ``compose`` writes its parameters."""
    folder.mkdir(parents=True)
    for name in ("src", "pipelines", "studies", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    modules = (folder / "src" / "crywatch" / "corpora").rglob("*.py")
    loaders = [module.relative_to(folder) for module in modules]
    remotes = [remote for name in corpora.NAMES for remote in corpora.get(name).remotes]
    for name in (*loaders, "conf/profile/full.yaml", "conf/embedder/vggish.yaml"):
        text = (folder / name).read_text()
        for remote in remotes:
            if remote.sha256 and remote.host == "":
                text = text.replace(remote.sha256, _digest(remote, publishers))
        for host in HOSTS:
            text = text.replace(f"https://{host}/", f"{publishers.url}/{host}/")
        (folder / name).write_text(text)
    (folder / "standin" / "yt_dlp").mkdir(parents=True)
    (folder / "standin" / "yt_dlp" / "__init__.py").write_text(YT_DLP)
    ranges = "def download_range_func(chapters, ranges):\n    return ranges\n"
    (folder / "standin" / "yt_dlp" / "utils.py").write_text(ranges)
    compose(folder)
    return folder


def variables(folder: Path, publishers: Publishers, token: str = "") -> dict[str, str]:
    """Of the environment of commands in a project of `project_of`; no login of the machine."""
    given = {
        "PYTHONPATH": f"{folder / 'standin'}:{folder / 'src'}",
        "PUBLISHERS": publishers.url,
        "HF_ENDPOINT": publishers.url,
        "HF_HOME": str(folder / "hub"),
        "TFHUB_CACHE_DIR": str(folder / "tfhub"),
        "NO_PROXY": "127.0.0.1",
    }
    return given | ({"HF_TOKEN": token} if token else {})
