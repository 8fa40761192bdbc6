"""A local S3 server for tests: moto's, in this process, with one bucket."""

from __future__ import annotations

import pytest

from tests.helpers.remote_cases import BUCKET, S3


@pytest.fixture(scope="session")
def s3():
    """The server, with an empty bucket."""
    server_module = pytest.importorskip("moto.server", reason="needs moto[server]")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    running = S3(f"http://{host}:{port}")
    running.client().create_bucket(Bucket=BUCKET)
    yield running
    server.stop()
