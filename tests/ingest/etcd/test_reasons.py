"""What is told of an etcd that cannot be reached."""

import pytest

from ingest.etcd import Client, Unavailable, parse_endpoint
from ingest.etcd.local import free_port


def test_a_refused_connection_is_told_without_the_status_of_grpc():
    endpoint = f"http://localhost:{free_port()}"
    with Client(parse_endpoint(endpoint)) as client, pytest.raises(Unavailable) as caught:
        client.version()
    assert str(caught.value).startswith(f"{endpoint}: ")
    assert "refused" in str(caught.value)
    assert "UNKNOWN" not in str(caught.value)
    assert "ipv4:" not in str(caught.value)
