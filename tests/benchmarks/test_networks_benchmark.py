"""The networks that BlazeNet is compared with have their published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks import networks
from crywatch.core.atomic import read_json
from crywatch.detection.blazenet.network import N_PARAMETERS


@pytest.mark.parametrize(
    ("make", "published"),  # parameters with 1,000 classes
    [
        (networks.mobilenet, 4_231_976),
        (networks.squeezenet, 1_235_496),
        (networks.shufflenet, 1_865_728),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_with_a_thousand_classes_they_have_the_published_parameters(make, published):
    with torch.device("meta"):
        found = networks.n_parameters(make(1000))
    assert found == published


def test_multiply_adds_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(4 * 32 * 32, 2))
    expected = 4 * 32 * 32 * 27 + 4 * 32 * 32 * 2
    assert networks.multiply_adds(network, torch.rand(1, 3, 64, 64)) == expected


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_what_is_timed_gives_the_same_answers(name):
    torch.manual_seed(1)
    network = networks.NETWORKS[name]().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    pictures = networks.picture(name, 2)
    with torch.inference_mode():
        expected = network(pictures)
        assert expected.shape == (2, 2)
        found = networks.fused(network)(pictures)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_the_table_is_printed_and_written(tmp_path, capsys):
    target = tmp_path / "networks.json"
    assert networks.main(["--rounds", "2", "--json", str(target)]) == 0
    rows = read_json(target)["rows"]
    assert [row["name"] for row in rows] == list(networks.NETWORKS)
    assert rows[0]["parameters"] == N_PARAMETERS < min(row["parameters"] for row in rows[1:])
    assert f"{N_PARAMETERS:,}" in capsys.readouterr().out
    assert all(row["ms"] > 0 for row in rows)
