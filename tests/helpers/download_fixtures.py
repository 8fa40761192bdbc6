"""What the tests of downloads share."""

import time
from types import SimpleNamespace

import pytest

from crywatch.corpora.download import transfer


@pytest.fixture
def waits(monkeypatch):
    """The pauses between attempts, which the tests do not take."""
    taken = []
    patient = SimpleNamespace(sleep=taken.append, monotonic=time.monotonic)
    monkeypatch.setattr(transfer, "time", patient)
    return taken
