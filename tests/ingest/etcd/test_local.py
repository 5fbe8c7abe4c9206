"""The etcd of the tests tells what would otherwise look like a fault of what is tested."""

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from ingest.etcd import parse_endpoint
from ingest.etcd.local import LocalEtcd, NoEtcd

from ...waiting import eventually


def test_a_server_that_ended_by_itself_is_told_and_its_log_is_kept():
    with pytest.raises(NoEtcd, match=r"ended by itself, with code 2; its log is (\S+)") as raised:
        with LocalEtcd() as etcd:
            etcd.start()
            os.kill(etcd.pid, signal.SIGABRT)  # the runtime of Go writes why, and all stacks
            eventually(lambda: not etcd.is_running)
    assert "SIGABRT" in str(raised.value)
    found = re.search(r"its log is (\S+):", str(raised.value))
    assert found is not None
    assert "goroutine" in Path(found[1]).read_text()


def test_a_port_that_another_program_took_is_told_and_not_taken_for_ours():
    """An etcd there would answer, and we would take it for ours until it ends."""
    with LocalEtcd() as other, LocalEtcd() as etcd:
        other.start()
        etcd.endpoint = other.endpoint
        with pytest.raises(NoEtcd, match=f"port {parse_endpoint(other.endpoint).port} is taken by another program"):
            etcd.start()


def test_it_starts_again_where_a_connection_of_before_is_still_open():
    with LocalEtcd() as etcd:
        etcd.start()
        with socket.create_connection(("127.0.0.1", parse_endpoint(etcd.endpoint).port)):
            etcd.stop()
            etcd.start()
