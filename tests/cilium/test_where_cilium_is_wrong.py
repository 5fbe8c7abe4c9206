"""What the real clustermesh-apiserver does wrong (docs/formats.md), and our publisher right, on the same objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.etcd.local import LocalEtcd

from ..apiserver.server import ApiServer
from . import objects
from .comparing import held
from .conftest import Etcds, Say
from .kubernetes import install_crds, put_all, remove_all
from .peers import ClusterMesh
from .publishing import OursAsProcess
from .readers import eventually

ADDRESS = "cilium/state/ip/v1/default/10.8.0.{}"


def shows(etcd: LocalEtcd, number: int) -> Callable[[], bool]:
    return lambda: ADDRESS.format(number) in held(etcd)


def test_keys_of_what_went_while_the_writer_was_away(server: ApiServer, etcds: Etcds, tmp_path: Path, say: Say):
    """The real one, started again, leaves them to their old lease; ours deletes them at once."""
    real, ours = etcds(), etcds()
    stays, goes, comes = (endpoint(number) for number in (1, 2, 3))
    put_all(server, [stays, goes])
    with ClusterMesh(tmp_path / "real", server, real) as peer, OursAsProcess(tmp_path / "ours", server, ours) as writer:
        for each in (peer, writer):
            each.wait_ready()
            each.kill()
        remove_all(server, [goes])
        put_all(server, [comes])
        for each, etcd in ((peer, real), (writer, ours)):
            each.start()
            each.wait_ready()
            eventually(shows(etcd, 3), bool, "what came meanwhile")
        eventually(shows(ours, 2), lambda there: not there, "our deletion")
        assert shows(real, 2)()
    remove_all(server, [stays, comes])
    say("a restart: the real writer leaves the key of what went meanwhile, ours deletes it")


@pytest.mark.stress
def test_one_port_that_is_none_stops_the_real_writer(etcds: Etcds, tmp_path: Path, say: Say):
    """On an API server of its own: whoever lists endpoints there with Cilium's client fails."""
    real, ours = etcds(), etcds()
    with ApiServer(crds=False) as server:
        server.start()
        install_crds(server)
        bad = endpoint(5)
        bad["status"]["named-ports"] = [{"name": "http", "port": 65_536, "protocol": "TCP"}]
        put_all(server, [endpoint(4), bad])
        with (
            ClusterMesh(tmp_path / "real", server, real) as peer,
            OursAsProcess(tmp_path / "o", server, ours) as writer,
        ):
            writer.wait_ready()
            assert shows(ours, 4)()
            eventually(lambda: "cannot unmarshal number 65536" in peer.log.read_text(), bool, "the complaint")
            assert not shows(real, 4)()
            remove_all(server, [bad])
            peer.wait_ready()
            assert shows(real, 4)()
    say("a port of 65536: the real writer writes no endpoint at all until it is gone, ours all others")


def endpoint(number: int) -> objects.Object:
    return objects.endpoint(f"away-{number}", f"10.8.0.{number}", namespace="default")
