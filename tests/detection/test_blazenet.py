"""The network against the paper's table, the front end against librosa, order and rate."""

from __future__ import annotations

import warnings

import librosa
import numpy as np
import pytest
import torch
from torch.nn import functional

from crywatch.audio.segments import n_segments
from crywatch.audio.waves.resampling import resample
from crywatch.detection.blazenet.data import EpochSampler
from crywatch.detection.blazenet.frontend import (
    CENTRE_DB,
    FRAMES,
    SCALE_DB,
    decibels,
    from_wave,
    pictures,
)
from crywatch.detection.blazenet.module import BlazeNetModule, BlazenetRecipe
from crywatch.detection.blazenet.network import (
    FEATURES,
    IMAGENET_DEVIATIONS,
    IMAGENET_MEANS,
    BlazeBlock,
    BlazeNet,
    NetworkConfig,
    SameConv2d,
    cry_probability,
)
from tests.helpers.blazenet_cases import FIVE_SECONDS, IMAGE, ONE_SECOND, sound

AUTHOR = NetworkConfig("same", "imagenet")


@pytest.fixture(scope="module")
def network() -> BlazeNet:
    torch.manual_seed(0)
    return BlazeNet().eval()


@pytest.mark.parametrize("config", [NetworkConfig(), AUTHOR], ids=["ours", "author"])
def test_the_network_has_the_papers_number_of_parameters(config):
    network = BlazeNet(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == 89_680
    assert network.state_dict().keys() == BlazeNet().state_dict().keys()


# Ones under a kernel of ones: how many of its rows (and columns) lie on the input of 4 x 4. SAME
# has one zero, or one more of three, below and to the right; the other has them on all sides.
@pytest.mark.parametrize(
    ("kernel", "made", "counts"),
    [
        (3, SameConv2d(1, 1, 3, 2), [3, 2]),
        (5, SameConv2d(1, 1, 5, 2), [4, 3]),
        (3, torch.nn.Conv2d(1, 1, 3, 2, padding=1), [2, 3]),
        (5, torch.nn.Conv2d(1, 1, 5, 2, padding=2), [3, 4]),
    ],
)
def test_where_the_zeros_are(kernel, made, counts):
    torch.nn.init.ones_(made.weight)
    torch.nn.init.zeros_(made.bias)
    expected = torch.outer(torch.tensor(counts), torch.tensor(counts)).float()
    assert torch.equal(made(torch.ones(1, 1, 4, 4))[0, 0], expected)


def test_an_authors_network_is_its_layers_on_a_normalised_image():
    torch.manual_seed(0)
    network, batch = BlazeNet(AUTHOR).eval(), torch.rand(2, 64, 64)
    scale = zip(IMAGENET_MEANS, IMAGENET_DEVIATIONS, strict=True)
    x = torch.stack([(batch - mean) / deviation for mean, deviation in scale], dim=1)
    stem = network.stem
    x = functional.conv2d(functional.pad(x, (1, 2, 1, 2)), stem.weight, stem.bias, 2).relu()
    taps = []
    for blocks, tap in ((network.first, network.tap1), (network.second, network.tap2)):
        for block in blocks:
            depth = block.depthwise
            around = functional.pad(x, (0, 1, 0, 1) if block.stride == 2 else (1, 1, 1, 1))
            out = functional.conv2d(
                around, depth.weight, depth.bias, block.stride, 0, 1, len(depth.weight)
            )
            skip = functional.max_pool2d(x, 2) if block.stride == 2 else x
            skip = functional.pad(skip, (0, 0, 0, 0, 0, block.grow))
            x = (block.pointwise(out) + skip).relu()
        taps.append(tap(x).flatten(1))
    expected = network.classifier(torch.cat(taps, dim=1))
    torch.testing.assert_close(network(batch), expected, rtol=1e-4, atol=1e-5)
    plain = BlazeNet()
    plain.load_state_dict(network.state_dict())
    assert not torch.allclose(plain(batch), expected, atol=1e-3)


@pytest.mark.parametrize("changes", [{"padding": "valid"}, {"channels": "one"}])
def test_a_network_that_there_is_not_is_named(changes):
    ((name, value),) = changes.items()
    with pytest.raises(ValueError, match=f"{name} is '{value}'; there are "):
        BlazeNet(NetworkConfig(**changes))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_shapes_for_any_batch(network, n):
    batch = torch.randn(n, 64, 64)
    assert network.features(batch).shape == (n, FEATURES)
    assert network(batch).shape == (n, 2)
    assert cry_probability(network(batch)).shape == (n,)


def test_the_taps_are_8_by_8_and_4_by_4(network):
    seen = {}
    handles = [
        getattr(network, name).register_forward_hook(
            lambda _, __, out, name=name: seen.update({name: tuple(out.shape[1:])})
        )
        for name in ("first", "second", "tap1", "tap2")
    ]
    network(torch.randn(1, 64, 64))
    for handle in handles:
        handle.remove()
    assert seen == {
        "first": (88, 8, 8),
        "second": (96, 4, 4),
        "tap1": (2, 8, 8),
        "tap2": (6, 4, 4),
    }


def test_one_channel_with_summed_weights_is_the_picture_on_three_channels(network):
    batch = torch.randn(2, 64, 64)
    quick = network.features(batch).sum()
    (quick_gradient,) = torch.autograd.grad(quick, network.stem.weight)
    three = batch.unsqueeze(1).expand(-1, 3, -1, -1)
    middle = network.first(functional.relu(network.stem(three)))
    last = network.second(middle)
    plain = network.tap1(middle).flatten(1).sum() + network.tap2(last).flatten(1).sum()
    (plain_gradient,) = torch.autograd.grad(plain, network.stem.weight)
    torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(quick_gradient, plain_gradient, rtol=1e-3, atol=1e-3)


def silenced(inside: int, outside: int, stride: int) -> BlazeBlock:
    """A block of which only the skip is left."""
    block = BlazeBlock(inside, outside, stride)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    return block


def test_the_skip_of_a_plain_block_is_the_input():
    x = torch.randn(2, 5, 8, 8)
    assert torch.equal(silenced(5, 5, 1)(x), x.relu())


def test_the_skip_is_zero_padded_where_channels_grow():
    x = torch.randn(2, 5, 8, 8)
    out = silenced(5, 8, 1)(x)
    assert torch.equal(out[:, :5], x.relu())
    assert not out[:, 5:].any()


def test_the_skip_is_max_pooled_where_the_block_strides():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    out = silenced(1, 2, 2)(x)
    assert out[0, 0].tolist() == [[5.0, 7.0], [13.0, 15.0]]
    assert not out[0, 1].any()


def test_scores_do_not_depend_on_the_batch(network):
    batch = torch.randn(9, 64, 64)
    alone = torch.cat([network(picture[None]) for picture in batch])
    torch.testing.assert_close(network(batch), alone, rtol=1e-4, atol=1e-5)


def from_librosa(segment: np.ndarray, config) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters")
        power = librosa.feature.melspectrogram(
            y=segment,
            sr=config.rate_hz,
            n_fft=config.n_fft,
            hop_length=config.hop,
            center=False,
            n_mels=config.n_mels,
            fmin=config.fmin_hz,
            fmax=config.fmax_hz,
        )
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=config.top_db)


@pytest.mark.parametrize("config", [ONE_SECOND, FIVE_SECONDS], ids=["1s", "5s"])
def test_the_picture_is_librosas_to_a_thousandth_of_a_decibel(config):
    samples = round(config.segment_s * config.rate_hz)
    loud = sound(samples, 1)
    impulse = np.zeros(samples, dtype=np.float32)
    impulse[samples // 3] = 0.9
    segments = np.stack([loud, loud * 1e-3, impulse, np.zeros_like(loud)])
    ours = decibels(torch.from_numpy(segments), config).numpy()
    assert ours.shape == (4, 64, FRAMES)
    for mine, segment in zip(ours, segments, strict=True):
        np.testing.assert_allclose(mine, from_librosa(segment, config), atol=1e-3)


def as_an_image(segment: np.ndarray) -> np.ndarray:
    """Bytes [64, 64], as the authors' code makes them with librosa."""
    power = librosa.feature.melspectrogram(
        y=segment, sr=8000, n_mels=64, fmin=0, center=False, n_fft=512, hop_length=118
    )
    level = librosa.power_to_db(power, ref=np.max)
    return ((level - level.min()) / (level.max() - level.min()) * 255).astype(np.uint8)


def test_an_image_is_the_authors_with_all_bands_up_to_4_khz():
    loud = sound(8000, 1)
    impulse = np.zeros(8000, dtype=np.float32)
    impulse[2600] = 0.9
    made = pictures(torch.from_numpy(np.stack([loud, loud * 1e-2, impulse])).double(), IMAGE)
    assert (made.amin(), made.amax()) == (0, 1)
    # The second says nothing of its level.
    for ours, segment in zip(made * 255, (loud, loud, impulse), strict=True):
        # A level on the edge of two bytes falls to either side.
        apart = np.abs(ours.numpy().round() - as_an_image(segment))
        assert apart.max() <= 1 and (apart > 0).mean() < 0.005
    assert (made[0].amax(dim=1) > 0).all()  # no band is empty


def test_an_even_picture_is_black():
    assert not pictures(torch.zeros(1, 8000), IMAGE).any()


def test_window_and_hop_are_the_papers_and_scale_with_the_segment():
    assert (ONE_SECOND.n_fft, ONE_SECOND.hop) == (512, 118)
    assert (FIVE_SECONDS.n_fft, FIVE_SECONDS.hop) == (2560, 590)
    # Without centring a second has exactly 64 windows.
    assert FRAMES == 1 + (8000 - 512) // 118
    assert FRAMES == 1 + (40_000 - 2560) // 590


def test_the_empty_upper_bands_carry_the_absolute_level():
    segment = torch.from_numpy(sound(8000))[None]
    loud, quiet = decibels(segment, ONE_SECOND)[0], decibels(segment / 10, ONE_SECOND)[0]
    # 8,000 Hz is twice Nyquist: the bands above 4,000 Hz have no bins.
    centres = librosa.mel_frequencies(66, fmin=0.0, fmax=8000.0)
    empty = torch.from_numpy(centres[:-2] >= 4000)
    assert 10 < int(empty.sum()) < 40
    assert torch.allclose(loud[empty], loud.max() - 80.0, atol=1e-4)
    assert torch.allclose(loud[empty] - quiet[empty], torch.tensor(20.0), atol=1e-3)


def test_the_network_input_is_a_fixed_scale_of_decibels():
    segment = torch.from_numpy(sound(8000))[None]
    restored = pictures(segment, ONE_SECOND) * SCALE_DB + CENTRE_DB
    torch.testing.assert_close(restored, decibels(segment, ONE_SECOND), rtol=0, atol=1e-4)


def test_silence_is_finite_and_flat():
    picture = from_wave(np.zeros(16_000, dtype=np.float32), ONE_SECOND)
    assert torch.isfinite(picture).all()
    assert picture.unique().numel() == 1


# 23,999 samples are 1.49994 s: half a sample of rounding at 8 kHz must not make a second of it.
@pytest.mark.parametrize("n", [1, 2, 799, 16_000, 23_999, 24_000, 24_001, 39_999, 40_001])
@pytest.mark.parametrize("config", [ONE_SECOND, FIVE_SECONDS], ids=["1s", "5s"])
def test_a_wave_has_as_many_pictures_as_plain_segments(n, config):
    made = from_wave(sound(n), config)
    assert made.shape == (n_segments(n, segment_s=config.segment_s), 64, FRAMES)
    assert torch.isfinite(made).all()


def test_segments_are_cut_after_resampling_the_whole_recording():
    wave = sound(3 * 16_000)
    low = resample(wave, 16_000, 8000)
    middle = pictures(torch.from_numpy(low[8000:16_000])[None], ONE_SECOND)
    torch.testing.assert_close(from_wave(wave, ONE_SECOND)[1:2], middle)


def test_a_short_tail_is_zero_padded():
    wave = sound(16_000 + 9600)
    padded = np.concatenate([resample(wave, 16_000, 8000), np.zeros(3200, dtype=np.float32)])
    expected = pictures(torch.from_numpy(padded.reshape(2, 8000)), ONE_SECOND)
    torch.testing.assert_close(from_wave(wave, ONE_SECOND), expected)


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        sampler = EpochSampler(50, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert sorted(order(1, 2)) == list(range(50))
    assert len({tuple(order(*pair)) for pair in ((1, 2), (1, 3), (2, 2), (2, 3))}) == 4


def test_the_rate_falls_in_steps():
    module = BlazeNetModule(BlazenetRecipe(lr=0.001, momentum=0.9, lr_step=20, lr_gamma=0.1))
    made = module.configure_optimizers()
    optimiser, schedule = made["optimizer"], made["lr_scheduler"]
    assert optimiser.param_groups[0]["momentum"] == 0.9
    rates = []
    for _ in range(60):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([1e-3] * 20 + [1e-4] * 20 + [1e-5] * 20)
