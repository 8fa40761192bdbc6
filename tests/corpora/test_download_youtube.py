"""Clips from YouTube: what counts as gone, what is tried again, and what is never asked twice."""

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crywatch import corpora
from crywatch.audio.decode import decode
from crywatch.audio.waves.cleaned import write_flac
from crywatch.core import params
from crywatch.core.errors import DownloadError
from crywatch.corpora import Remote, WantedClip
from crywatch.corpora.download import DataConfig, DownloadConfig, run, youtube
from crywatch.corpora.download.clips import bring_clips
from crywatch.corpora.download.youtube import ClipsConfig, fetch_clips
from crywatch.corpora.generate.files import encode
from crywatch.corpora.shared.audioset_selection import AudioSetConfig
from crywatch.corpora.shared.ledger import FILE as LEDGER
from crywatch.corpora.shared.ledger import REPORT, read_ledger
from tests.helpers.generated import generated
from tests.helpers.http_cases import serving

CONF = Path(__file__).parents[2] / "conf"
CONFIG = ClipsConfig(
    sleep_s=0.0,
    sleep_requests_s=0.0,
    bandwidth_kb_s=0.0,
    retries=2,
    backoff_s=8.0,
    max_failures=3,
)
RATE_HZ = 8000
SECONDS = 60

PRIVATE = "Private video. Sign in if you've been granted access to this video"
BOT = "Sign in to confirm you’re not a bot. Use --cookies"


def track(seconds=SECONDS):
    """A tone of 1 kHz whose RMS says which second it is: (second + 1) / 100."""
    levels = np.repeat((1 + np.arange(seconds)) / 100, RATE_HZ)
    tone = np.sqrt(2) * np.sin(2 * np.pi * 1_000 * np.arange(len(levels)) / RATE_HZ)
    return (levels * tone).astype(np.float32)


def clips(*names, start_s=30.0):
    return [
        WantedClip(f"audio/{n}.flac", f"https://host/{n}", start_s, start_s + 10, f"class {n[0]}")
        for n in names
    ]


class FakeHost:
    """Stands for yt_dlp.YoutubeDL; ``answers`` by clip: an error's text, or a sound, in turn."""

    def __init__(self, **answers):
        self.answers = {k: v if isinstance(v, list) else [v] for k, v in answers.items()}
        self.asked, self.options = [], []

    def __call__(self, options):
        self.options.append(options)
        return _FakeDownloader(self, options)


class _FakeDownloader:
    def __init__(self, host, options):
        self.host, self.options = host, options

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return False

    def extract_info(self, url, download):
        name = url.rpartition("/")[2]
        self.host.asked.append(name)
        answers = self.host.answers.get(name, [track()])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, str):
            raise RuntimeError(f"ERROR: \x1b[0;31m[youtube]\x1b[0m {name}: {answer}")
        if isinstance(answer, BaseException):
            raise answer
        path = Path(self.options["outtmpl"]["default"] % {"ext": "wav"})
        if isinstance(answer, bytes):
            path.write_bytes(answer)
        else:
            write_flac(path, answer, RATE_HZ)
        return {"requested_downloads": [{"filepath": str(path)}]}


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The pauses between attempts, which the tests do not take."""
    taken = []
    monkeypatch.setattr(youtube, "time", SimpleNamespace(sleep=taken.append))
    return taken


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(youtube.shutil, "which", lambda name: None)


def fetch(wanted, folder, host, config=CONFIG):
    return fetch_clips(wanted, folder, config, 5.0, host)


def test_a_clip_is_cut_from_the_whole_track_where_there_is_no_ffmpeg(tmp_path):
    host = FakeHost()
    fetched = fetch(clips("a"), tmp_path, host)
    sound = decode(tmp_path / "audio" / "a.flac")
    assert sound.rate_hz == RATE_HZ
    np.testing.assert_allclose(sound.wave, track()[30 * RATE_HZ : 40 * RATE_HZ], atol=1e-4)
    assert fetched.gone == {} and fetched.failed == {}
    assert "download_ranges" not in host.options[0]
    assert not (tmp_path / youtube.PART).exists()


def test_the_host_cuts_where_there_is_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setattr(youtube.shutil, "which", lambda name: "/usr/bin/ffmpeg")
    host = FakeHost(a=track(11))
    fetch(clips("a"), tmp_path, host)
    ranges = list(host.options[0]["download_ranges"]({"id": "a"}, None))
    assert ranges == [{"start_time": 30.0, "end_time": 40.0}]
    np.testing.assert_allclose(
        decode(tmp_path / "audio/a.flac").wave, track(11)[: 10 * RATE_HZ], atol=1e-4
    )


def test_the_limits_reach_the_downloader(tmp_path):
    host = FakeHost()
    polite = ClipsConfig(sleep_s=4.0, sleep_requests_s=2.0, bandwidth_kb_s=250.0)
    fetch(clips("a"), tmp_path / "50%d", host, polite)
    options = host.options[0]
    assert (options["sleep_interval"], options["sleep_interval_requests"]) == (4.0, 2.0)
    assert (options["ratelimit"], options["socket_timeout"]) == (250_000.0, 5.0)
    assert (tmp_path / "50%d" / "audio" / "a.flac").is_file()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (PRIVATE, "private"),
        ("Video unavailable. This video is private", "private"),
        (
            "This video is no longer available because the YouTube account associated with this "
            "video has been terminated.",
            "terminated",
        ),
        ("Video unavailable. This video has been removed by the uploader", "removed"),
        ("This video has been removed for violating YouTube's policy on hate speech.", "removed"),
        (
            "Video unavailable. This video is no longer available due to a copyright claim by X",
            "copyright",
        ),
        (
            "Video unavailable. This video contains content from X, who has blocked it in your "
            "country on copyright grounds",
            "geo",
        ),
        ("The uploader has not made this video available in your country", "geo"),
        ("Sign in to confirm your age. This video may be inappropriate for some users.", "age"),
        ("Join this channel to get access to members-only content", "payment"),
        ("Video unavailable", "unavailable"),
        ("This video is not available", "unavailable"),
    ],
)
def test_what_the_host_says_of_a_video_is_a_reason(message, reason, tmp_path, waits):
    host = FakeHost(a=message)
    fetched = fetch(clips("a"), tmp_path, host)
    assert fetched.gone["a"].reason == reason and reason in youtube.REASONS
    assert fetched.gone["a"].message == f"[youtube] a: {message}"
    assert host.asked == ["a"] and waits == []


def test_nothing_is_asked_twice(tmp_path):
    host = FakeHost(b=PRIVATE)
    first = fetch(clips("a", "b", "c"), tmp_path, host)
    assert host.asked == ["a", "b", "c"]
    again = FakeHost()
    assert fetch(clips("a", "b", "c", "d"), tmp_path, again) == first
    assert again.asked == ["d"]


def test_a_kill_between_clips_loses_nothing(tmp_path):
    host = FakeHost(b=PRIVATE, c=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fetch(clips("a", "b", "c"), tmp_path, host)
    again = FakeHost()
    assert set(fetch(clips("a", "b", "c"), tmp_path, again).gone) == {"b"}
    assert again.asked == ["c"]


def test_what_may_pass_is_tried_again_with_longer_pauses(tmp_path, waits):
    host = FakeHost(a=["Read timed out", "HTTP Error 403: Forbidden", track()])
    fetched = fetch(clips("a"), tmp_path, host)
    assert (tmp_path / "audio/a.flac").is_file() and fetched.failed == {}
    assert waits == [8.0, 16.0]


def test_a_clip_that_fails_for_no_known_reason_is_left_to_the_next_run(tmp_path):
    host = FakeHost(b="Something new")
    fetched = fetch(clips("a", "b", "c"), tmp_path, host)
    assert fetched.failed == {"b": "[youtube] b: Something new"} and fetched.gone == {}
    again = FakeHost()
    fetch(clips("a", "b", "c"), tmp_path, again)
    assert again.asked == ["b"]


@pytest.mark.parametrize(
    "message",
    [
        BOT,
        "Unable to download API page: HTTP Error 429: Too Many Requests",
        "Video unavailable. This content isn't available, try again later. The current session "
        "has been rate-limited by YouTube for up to an hour.",
    ],
)
def test_a_host_that_blocks_stops_the_run_and_counts_nothing_as_gone(message, tmp_path, waits):
    host = FakeHost(b=message)
    with pytest.raises(DownloadError, match=r"host/b: the host blocks .*1 of 3 clips are kept"):
        fetch(clips("a", "b", "c"), tmp_path, host)
    assert host.asked == ["a", "b", "b", "b"] and waits == [8.0, 16.0]
    assert not (tmp_path / LEDGER).exists()
    assert set(fetch(clips("a", "b", "c"), tmp_path, FakeHost()).gone) == set()


def test_failures_in_a_row_stop_the_run_and_others_do_not(tmp_path):
    names = [f"{n}{k}" for n in "abc" for k in "xyz"]
    odd = {name: "Strange" for name in names if name[1] != "z"}  # two, then one that comes
    assert len(fetch(clips(*names), tmp_path / "1", FakeHost(**odd)).failed) == 6
    with pytest.raises(DownloadError, match="3 clips in a row failed .*Strange.*update yt-dlp"):
        fetch(clips(*names), tmp_path / "2", FakeHost(**dict.fromkeys(names, "Strange")))


def test_a_video_that_was_cut_or_has_no_sound_is_gone(tmp_path):
    silent = tmp_path / "silent.mp4"
    video_without_sound(silent)
    host = FakeHost(a=track(33), b=track(36), c=silent.read_bytes())
    fetched = fetch(clips("a", "b", "c"), tmp_path / "work", host)
    assert {name: gone.reason for name, gone in fetched.gone.items()} == {
        "a": "cut",
        "c": "no_audio",
    }
    assert len(decode(tmp_path / "work/audio/b.flac").wave) == 6 * RATE_HZ


def video_without_sound(path):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_file_that_does_not_decode_is_fetched_anew(tmp_path):
    host = FakeHost(a=[b"garbage", track()])
    assert fetch(clips("a"), tmp_path, host).gone == {}
    assert (tmp_path / "audio/a.flac").is_file()


# Placing, and the report


def test_the_report_counts_by_class_and_reason(tmp_path):
    host = FakeHost(a1=PRIVATE, b2="Video unavailable", b3="Strange")
    wanted = clips("a1", "a2", "b1", "b2", "b3")
    text = bring_clips(wanted, tmp_path / "out", tmp_path / "work", CONFIG, 5.0, host)
    with open(tmp_path / "out" / REPORT, newline="") as handle:
        rows = {row["class"]: row for row in csv.DictReader(handle)}
    counts = {
        name: [int(row[k]) for k in ("wanted", "had", "failed", "gone", "private", "unavailable")]
        for name, row in rows.items()
    }
    assert counts == {
        "class a": [2, 1, 0, 1, 1, 0],
        "class b": [3, 1, 1, 1, 0, 1],
        "all": [5, 2, 1, 2, 1, 1],
    }
    lines = text.splitlines()
    assert lines[0].split() == [
        "class",
        "wanted",
        "had",
        "failed",
        "gone",
        "private",
        "unavailable",
    ]
    assert lines[-1].split() == ["all", "5", "2", "1", "2", "1", "1"]
    assert set(read_ledger(tmp_path / "out" / LEDGER)) == {"a1", "b2"}
    placed = sorted(path.name for path in (tmp_path / "out/audio").iterdir())
    assert placed == ["a2.flac", "b1.flac"]


# The stage


@pytest.fixture
def published(tmp_path, monkeypatch):
    """AudioSet's tables on a server, and what YouTube answers."""
    generated("audioset", tmp_path / "publisher", seed=3, infants=2)
    corpus = type(corpora.get("audioset"))

    def reply(request):
        data = (tmp_path / "publisher" / request.path.lstrip("/")).read_bytes()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    with serving(reply) as address:
        remotes = tuple(
            Remote(f"{address}/{remote.filename}", remote.filename, unpack=False)
            for remote in corpus.remotes
        )
        monkeypatch.setattr(corpus, "remotes", remotes)
        yield tmp_path / "publisher"


def bring(tmp_path, host, monkeypatch, allow_missing=False):
    import yt_dlp

    monkeypatch.setattr(yt_dlp, "YoutubeDL", host)
    options = params.typed(
        params.compose([], CONF).corpus.audioset, AudioSetConfig, "corpus.audioset"
    )
    return run(
        "audioset",
        DataConfig("publishers", "", allow_missing),
        DownloadConfig(5.0, 0, min_bytes_s=1.0, max_unpacked_gb=1.0, clips=CONFIG),
        tmp_path / "raw" / "audioset",
        tmp_path / "work" / "audioset",
        options,
    )


class WholeVideos(FakeHost):
    """Every video is long enough for any clip; ``after`` clips the host blocks."""

    def __init__(self, after=None):
        super().__init__()
        self.after = after

    def __call__(self, options):
        if self.after is not None and len(self.asked) >= self.after:
            self.answers = {}
            return _FakeDownloader(_Blocking(self.asked), options)
        self.answers = _Everything(track(310))
        return super().__call__(options)


class _Everything(dict):
    def __init__(self, sound):
        super().__init__()
        self.sound = sound

    def get(self, key, default=None):
        return [self.sound]


class _Blocking:
    def __init__(self, asked):
        self.asked, self.answers = asked, SimpleNamespace(get=lambda *args: [BOT])


def test_the_stage_brings_tables_selection_and_clips(published, tmp_path, monkeypatch):
    host = WholeVideos()
    summary = bring(tmp_path, host, monkeypatch)
    folder = tmp_path / "raw" / "audioset"
    found = list(corpora.get("audioset").index(folder))
    assert len(found) == len(host.asked) > 9
    assert {entry.label for entry in found} == {"cry", "other"}
    assert summary.report.splitlines()[-1].split()[:3] == ["all", str(len(found)), str(len(found))]
    # Neither a rebuild nor a lost output asks for a clip again.
    shutil.rmtree(folder)
    again = WholeVideos()
    assert bring(tmp_path, again, monkeypatch).sha256 == summary.sha256
    assert again.asked == []
    assert [path.name for path in (tmp_path / "work/audioset").iterdir()] == ["clips"]


@pytest.mark.parametrize("allow_missing", [False, True])
def test_a_block_in_the_middle_keeps_what_came(published, allow_missing, tmp_path, monkeypatch):
    host = WholeVideos(after=4)
    if allow_missing:
        assert "the host blocks" in bring(tmp_path, host, monkeypatch, True).missing
    else:
        with pytest.raises(DownloadError, match=r"the host blocks.*4 of \d+ clips are kept"):
            bring(tmp_path, host, monkeypatch)
        assert not (tmp_path / "raw" / "audioset").exists()
    again = WholeVideos()
    bring(tmp_path, again, monkeypatch)
    assert again.asked and not set(again.asked) & set(host.asked[:4])


# The real yt-dlp, on a server of this machine


def test_the_real_downloader_fetches_a_direct_address(tmp_path):
    encode(tmp_path / "t.m4a", (32767 * track()).astype(np.int16), RATE_HZ)
    data = (tmp_path / "t.m4a").read_bytes()

    def reply(request):
        gone = "gone" in request.path
        request.send_response(404 if gone else 200)
        request.send_header("Content-Type", "audio/mp4")
        request.send_header("Content-Length", str(len(data) * (not gone)))
        request.end_headers()
        if not gone:
            request.wfile.write(data)

    with serving(reply) as address:
        wanted = [
            WantedClip("audio/x_30000.flac", f"{address}/t.m4a", 30.0, 40.0, "x"),
            WantedClip("audio/y_30000.flac", f"{address}/gone.m4a", 30.0, 40.0, "y"),
        ]
        fetched = fetch_clips(wanted, tmp_path / "work", CONFIG, 5.0)
    wave = decode(tmp_path / "work/audio/x_30000.flac").wave
    assert len(wave) == 10 * RATE_HZ
    levels = np.sqrt(np.square(wave.reshape(10, RATE_HZ)[:, 2000:6000]).mean(axis=1))
    np.testing.assert_allclose(levels, np.arange(31, 41) / 100, atol=0.02)
    # A page that is not there is no statement about the video.
    assert list(fetched.failed) == ["y_30000"] and "404" in fetched.failed["y_30000"]


def test_the_section_fits_the_dataclass():
    config = params.typed(params.compose([], CONF).download, DownloadConfig, "download")
    assert config.clips == ClipsConfig()
