"""The comparisons: what is timed beside what, on the project's own code paths."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn import functional

from benchmarks import sounds
from benchmarks.peers import PlainBlazeNet, plain_copy
from benchmarks.rounds import Case, Comparison
from crywatch.audio.decode import BlockReader
from crywatch.audio.encoding import encoded
from crywatch.audio.segments import RATE_HZ, cut
from crywatch.audio.waves.cleaned import to_int16
from crywatch.audio.waves.resampling import at_rate
from crywatch.core import params
from crywatch.core.models import ModelFolder, save
from crywatch.data import clean
from crywatch.data.clean import CleanConfig
from crywatch.data.features import FeatureStore
from crywatch.data.tables import empty, read_table, write_table
from crywatch.data.tables.clips import CLIPS, EVENTS, SPLIT_CLIPS
from crywatch.detection.blazenet import pictures
from crywatch.detection.blazenet.choosing import plain_segments
from crywatch.detection.blazenet.data import SegmentDataset
from crywatch.detection.blazenet.frontend import FrontEndConfig, from_wave
from crywatch.detection.blazenet.module import BlazeNetModule, BlazenetRecipe
from crywatch.detection.blazenet.network import BlazeNet
from crywatch.detection.blazenet.pictures import PicturesConfig, folder_name
from crywatch.detection.blazenet.train_blazenet import TrainBlazenetConfig
from crywatch.detection.detectors import Detector, load_detector
from crywatch.detection.embedders import EmbedderConfig, build
from crywatch.detection.embedders.yamnet import YamnetFile
from crywatch.detection.robust.train_robust import TrainRobustConfig

BATCH = 256  # pictures
PARAMS = Path(__file__).parent.parent / "params.yaml"
LIVE = Path(__file__).parent.parent / "conf" / "robust_context" / "live.yaml"
YAMNET_CLASSES = 521
VGGISH_DIM = 128

DECODING = "decoding alone"
DETECTOR = "detector, file to events"
DECODED = "detector, samples to events"
REAL_TIME = "real time"
ALL_CODECS = "all codecs"
YAMNET = "YAMNet file"
PLAIN_256 = f"plain BlazeNet, batch {BATCH}"
WHOLE_256 = f"front end + BlazeNet, batch {BATCH}"
PLAIN_STEP = "plain training step"
OUR_STEP = "training step"
ONCE = "made once"
EACH = "made for each variant"


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    seconds: int  # of sound for each thing
    recording_s: int  # of the recording that the detector listens to
    yamnet: Path | None  # the quantised file
    vggish: str  # a TF-Hub handle or a SavedModel's folder, or ""


class Bench:
    """Makes the comparisons; inputs are made when the first one needs them."""

    def __init__(self, options: Options, folder: Path):
        self.options = options
        self.folder = folder
        self._recorded: list[np.ndarray] | None = None
        features = params.section("pictures", PicturesConfig, PARAMS)
        self.features = features
        self.training = params.section("train_blazenet", TrainBlazenetConfig, PARAMS)
        self.front_end = features.front_end("ours", 1.0)

    @property
    def recorded(self) -> list[np.ndarray]:
        """Clips as recorded."""
        if self._recorded is None:
            self._recorded = sounds.clips(self.options.seconds)
        return self._recorded

    def wave(self) -> np.ndarray:
        """The clips as one clean recording."""
        return sounds.wave(self.recorded, self.options.seconds)

    def clean(self) -> Comparison:
        """Stage ``clean`` (decoding, resampling, measuring, writing) by codec, on two cores."""
        config = replace(params.section("clean", CleanConfig, PARAMS), workers=2)
        folders = {codec.name: (codec,) for codec in sounds.CODECS}
        folders[ALL_CODECS] = sounds.CODECS
        cases = tuple(
            _cleaning(name, self.recorded, codecs, config, self.folder / f"clean-{number}")
            for number, (name, codecs) in enumerate(folders.items())
        )
        return Comparison("clean", cases, REAL_TIME, threads=2)

    def inference(self) -> Comparison:
        """Embedders, front end and network beside YAMNet, on one core."""
        wave = self.wave()
        seconds = cut(wave)
        pictures = from_wave(wave, self.front_end)
        network = _network()
        plain = plain_copy(network).eval()
        n = float(len(seconds))

        def alone(net: torch.nn.Module) -> Case:
            label = "plain BlazeNet" if isinstance(net, PlainBlazeNet) else "BlazeNet"
            few = pictures[: max(1, len(pictures) // 4)]  # a batch of one is slow
            return Case(f"{label}, batch 1", len(few), lambda: _scores(net, few, 1))

        cases = list(self._embedders(seconds))
        cases += [
            Case("front end", n, lambda: from_wave(wave, self.front_end)),
            alone(network),
            Case(f"BlazeNet, batch {BATCH}", n, lambda: _scores(network, pictures, BATCH)),
            Case(WHOLE_256, n, lambda: _detect(network, wave, self.front_end)),
            alone(plain),
            Case(PLAIN_256, n, lambda: _scores(plain, pictures, BATCH)),
        ]
        reference = YAMNET if self.options.yamnet else PLAIN_256
        return Comparison("inference", tuple(cases), reference, threads=1)

    def _embedders(self, seconds: np.ndarray) -> Iterator[Case]:
        n = float(len(seconds))
        if self.options.yamnet:
            config = EmbedderConfig("yamnet", YAMNET_CLASSES, str(self.options.yamnet))
            yamnet = YamnetFile(config, threads=1)
            yield Case(YAMNET, n, lambda: yamnet.embed_seconds(seconds))
        logmel = build(EmbedderConfig("logmel", 128, ""))
        yield Case("embedder logmel", n, lambda: logmel.embed_seconds(seconds))
        if self.options.vggish:
            vggish = build(EmbedderConfig("vggish", VGGISH_DIM, self.options.vggish))
            yield Case("embedder vggish", n, lambda: vggish.embed_seconds(seconds))

    def detector(self) -> Comparison:
        """The default detector from a file to its events, decoding apart, on one core.

        The weights are random; the time is that of any. The file is an hour of 16-bit WAV at
        16 kHz, the clips over and over.
        """
        wave = np.resize(self.wave(), self.options.recording_s * RATE_HZ)
        path = self.folder / "recording.wav"
        path.write_bytes(encoded(to_int16(wave), RATE_HZ, "wav", "pcm_s16le"))
        detector = default_detector(self.folder / "detector")
        live = default_detector(self.folder / "live", LIVE)
        n = float(self.options.recording_s)
        cases = [
            Case(DECODING, n, lambda: sum(map(len, at_rate(BlockReader(path), RATE_HZ)))),
            Case(DETECTOR, n, lambda: detector.detect(path)),
            Case(DECODED, n, lambda: detector.detect(wave)),
            Case("same, context live", n, lambda: live.detect(wave)),
        ]
        if self.options.yamnet:
            seconds = cut(wave)
            yamnet = YamnetFile(
                EmbedderConfig("yamnet", YAMNET_CLASSES, str(self.options.yamnet)), threads=1
            )
            cases.append(Case(YAMNET, n, lambda: yamnet.embed_seconds(seconds)))
        reference = YAMNET if self.options.yamnet else DECODING
        return Comparison("detector", tuple(cases), reference, threads=1)

    def train(self) -> Comparison:
        """Training steps of the recipe beside plain eager ones, on one core."""
        # Contiguous, as they come from the store.
        pictures = from_wave(self.wave(), self.front_end).contiguous()
        labels = torch.from_numpy(
            np.random.default_rng(sounds.SEED).integers(2, size=len(pictures))
        )
        size = self.training.batch_size
        batches = list(zip(pictures.split(size), labels.split(size), strict=True))
        config = self.training
        lr = config.recipes["ours"].lr
        recipe = BlazenetRecipe(lr, config.momentum, config.lr_step, config.lr_gamma)
        n = float(len(pictures))
        cases = (
            Case(OUR_STEP, n, _our_steps(recipe, batches)),
            Case(PLAIN_STEP, n, _plain_steps(recipe, batches)),
        )
        return Comparison("train", cases, PLAIN_STEP, threads=1)

    def pictures(self) -> Comparison:
        """Stage ``pictures`` once for all variants, or anew for each, on one core."""
        table = _clips_table(self.recorded, self.folder / "pictures")
        n = 5.0 * len(self.recorded)
        wanted = [
            (self.training.recipe(name).front_end, variant.segment_s)
            for name, variant in self.training.variants.items()
        ]
        out = self.folder / "pictures"

        def stage(config: PicturesConfig, name: str) -> None:
            pictures.run([table], config, out / name, out / f"{name}-work")

        def alone(front_end: str, segment_s: float) -> PicturesConfig:
            config = replace(self.features.front_ends[front_end], segments_s=[segment_s])
            return PicturesConfig({front_end: config})

        def read(store: FeatureStore) -> None:
            clips = read_table(table, SPLIT_CLIPS)
            data = SegmentDataset(store, plain_segments(clips, store, empty(EVENTS)), 1 << 30)
            data.__getitems__(list(range(len(data))))

        def once() -> None:
            stage(self.features, "once")
            for picture in wanted:
                read(FeatureStore(out / "once" / folder_name(*picture)))

        def each() -> None:
            for picture in wanted:
                stage(alone(*picture), "each")
                read(FeatureStore(out / "each" / folder_name(*picture)))

        return Comparison("pictures", (Case(ONCE, n, once), Case(EACH, n, each)), EACH, threads=1)


def _cleaning(
    name: str,
    recorded: list[np.ndarray],
    codecs: tuple[sounds.Codec, ...],
    config: CleanConfig,
    folder: Path,
) -> Case:
    raw, out, work = folder / "raw", folder / "out", folder / "work"
    for codec in codecs:
        sounds.write(recorded, codec, raw)
    corpus = sounds.Folder("bench")
    n = 5.0 * len(recorded) * len(codecs)

    def call() -> None:
        summary = clean.run(corpus, config, raw, out, work)
        if summary.n_quarantined:
            raise RuntimeError(f"{name}: {summary.reasons}")

    return Case(name, n, call, lambda: shutil.rmtree(out, ignore_errors=True))


def _clips_table(recorded: list[np.ndarray], folder: Path) -> Path:
    """The split's table over cleaned copies of ``recorded``."""
    codec = sounds.CODECS[0]
    sounds.write(recorded, codec, folder / "raw")
    config = replace(params.section("clean", CleanConfig, PARAMS), workers=1)
    clean.run(sounds.Folder("bench"), config, folder / "raw", folder / "clips", folder / "work")
    frame = read_table(folder / "clips" / "clips.parquet", CLIPS)
    frame = frame.assign(cluster_id=None, canonical=True, group_id=frame["clip_id"], split="train")
    path = folder / "split.parquet"
    write_table(frame, path, SPLIT_CLIPS)
    return path


def _network() -> BlazeNet:
    torch.manual_seed(sounds.SEED)
    return BlazeNet().eval()


def peak_mb(folder: Path, recording_s: int) -> float:
    """The largest resident set of a process that detects in a recording of that length."""
    path = folder / f"{recording_s}.wav"
    noise = np.random.default_rng(sounds.SEED).normal(0, 0.05, recording_s * RATE_HZ)
    path.write_bytes(encoded(to_int16(noise), RATE_HZ, "wav", "pcm_s16le"))
    default_detector(folder / "detector")
    code = "import sys; from crywatch.detection.detectors import load_detector as load;"
    code += "one = load(sys.argv[1]); one.speed_up(); one.detect(sys.argv[2]);"
    # Not ru_maxrss: it begins with what this process has.
    code += "print(open('/proc/self/status').read())"
    command = [sys.executable, "-c", code, str(folder / "detector"), str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    path.unlink()
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) / 1024


def default_detector(folder: Path, context: Path | None = None) -> Detector:
    """As params.yaml has it, or with another context; in ``folder`` and on the fastest runtime."""
    recipe = params.section("train_robust", TrainRobustConfig, PARAMS).recipe()
    description = {"kind": "robust", "name": "random", "segment_s": 1.0}
    description |= {"frontend": recipe.front_end.as_dict(), "context": recipe.context.as_dict()}
    if context is not None:
        description["context"] = OmegaConf.to_container(OmegaConf.load(context))
    weights = {f"backbone.{name}": value for name, value in _network().state_dict().items()}
    save(folder, ModelFolder(description, weights))
    detector = load_detector(folder)
    detector.speed_up()
    return detector


@torch.inference_mode()
def _scores(network: torch.nn.Module, pictures: Tensor, batch: int) -> None:
    for part in pictures.split(batch):
        network(part)


@torch.inference_mode()
def _detect(network: BlazeNet, wave: np.ndarray, front_end: FrontEndConfig) -> None:
    for part in from_wave(wave, front_end).split(BATCH):
        network(part)


Batches = list[tuple[Tensor, Tensor]]


def _our_steps(recipe: BlazenetRecipe, batches: Batches) -> Callable[[], None]:
    """The module's own step and optimiser, as Lightning calls them."""
    torch.manual_seed(sounds.SEED)
    module = BlazeNetModule(recipe)
    optimiser = module.configure_optimizers()["optimizer"]

    def call() -> None:
        for number, batch in enumerate(batches):
            optimiser.zero_grad()
            module.training_step(batch, number).backward()
            optimiser.step()

    return call


def _plain_steps(recipe: BlazenetRecipe, batches: Batches) -> Callable[[], None]:
    """PyTorch's defaults on the plain network."""
    torch.manual_seed(sounds.SEED)
    network = plain_copy(BlazeNet())
    optimiser = torch.optim.SGD(network.parameters(), recipe.lr, recipe.momentum)

    def call() -> None:
        for batch, labels in batches:
            optimiser.zero_grad()
            functional.cross_entropy(network(batch), labels).backward()
            optimiser.step()

    return call
