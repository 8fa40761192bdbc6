"""Shared by all tests: one thread for the maths: repeatable, and a machine can be shared."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """The longest first: else a process would be alone with the rebuild at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="module")
def one_thread():
    """For what is compared bit by bit, whatever OMP_NUM_THREADS says."""
    from crywatch.core import threads

    with threads.one_thread():
        yield


@pytest.fixture(autouse=True)
def as_it_was():
    """What a test leaves in this process is not there for the next: MLflow keeps its store so."""
    from crywatch.core import redact

    environment, learnt = dict(os.environ), set(redact._learnt)
    yield
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)
    redact._learnt.clear()
    redact._learnt.update(learnt)
