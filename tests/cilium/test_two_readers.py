"""Cilium's reader of other clusters and ours: over the etcds of both writers, and over values that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingest.clustermesh.admission import Admission, IncompatibleCluster
from ingest.clustermesh.ids import ClusterIds
from ingest.clustermesh.kinds import Layout
from statedb.catalog import Rejected
from statedb.catalog.wire import endpoint_slices
from statedb.catalog.wire.endpoint_slices import EndpointSlice, SliceEndpoint, SlicePort

from ..ingest.clustermesh.publisher import LITERALS, Publisher, Rig
from .conftest import Etcds, Published, Say
from .peers import CLUSTER
from .readers import LOCAL_ID, CiliumReader, ours, require_equal_rows

NODE = LITERALS["cilium/state/nodes/v1/cluster3/test-node-1"].decode()
SERVICE = LITERALS["cilium/state/services/v1/cluster3/test/echo"].decode()
LABEL = "k8s:io.cilium.k8s.policy.cluster"


@pytest.mark.parametrize("slices", [False, True])
@pytest.mark.parametrize("writer", ["real", "ours"])
def test_equal_rows_over_both_writers_etcds(published: Published, writer: str, slices: bool, tmp_path: Path, say: Say):
    etcd = published.real if writer == "real" else published.ours
    with (
        CiliumReader(tmp_path, etcd, slices=slices) as reader,
        Rig(etcd.endpoint, prefer_endpoint_slices=slices) as rig,
    ):
        state = reader.wait_ready()
        rows = require_equal_rows(reader.rows(state), ours(rig.synced(), slices=slices))
    say(f"two readers, {writer} writer, {'slices' if slices else 'services'}: {rows} rows compared")


def node(name: str, **changed: str) -> tuple[str, bytes]:
    """A node with these fields, each as JSON."""
    fields = json.loads(NODE) | {"Name": name} | {field: json.loads(text) for field, text in changed.items()}
    return f"cilium/state/nodes/v1/cluster3/{name}", json.dumps(fields).encode()


def ip(address: str, value: str) -> tuple[str, bytes]:
    return f"cilium/state/ip/v1/default/{address}", value.encode()


def pair(address: str, identity: int = 196_700, **more: Any) -> tuple[str, bytes]:
    fields = {"IP": f'"{address}"', "HostIP": '"172.18.0.2"', "ID": identity, "Key": 0, "Metadata": '""'} | more
    return ip(address, "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}")


def identity(number: str, labels: str) -> tuple[str, bytes]:
    return f"cilium/state/identities/v1/id/{number}", labels.encode()


def service(name: str, *changed: tuple[str, str]) -> tuple[str, bytes]:
    text = SERVICE.replace('"name":"echo","frontends"', f'"name":"{name}","frontends"')
    for old, new in changed:
        assert old in text
        text = text.replace(old, new)
    return f"cilium/state/services/v1/cluster3/test/{name}", text.encode()


def slice_(name: str, *ips: str, **changed: Any) -> tuple[str, bytes]:
    fields: dict[str, Any] = {
        "cluster": CLUSTER,
        "cluster_id": 3,
        "namespace": "test",
        "name": name,
        "labels": (("kubernetes.io/service-name", "sliced"),),
        "endpoints": tuple(SliceEndpoint((each,)) for each in ips),
        "ports": (SlicePort("http", "TCP", 80),),
    }
    value = endpoint_slices.encode(EndpointSlice(**(fields | changed)))
    return f"cilium/state/endpointslices/v1/cluster3/test/{name}", value


VALUES: dict[str, list[tuple[str, bytes]]] = {
    "nodes": [
        node("right"),
        node("other-name", Name='"else"'),
        node("no-name", Name='""'),
        node("other-cluster", Cluster='"cluster4"'),
        node("other-id", ClusterID="4"),
        node("no-id", ClusterID="0"),
        node("big-key", EncryptionKey="256"),
        node("bad-health", IPv4HealthIP='"none"'),
        node("six-health", IPv4HealthIP='"fd00::1"'),
        node("text-cidr", IPv6AllocCIDR='"fd00::5/64"'),
        node("bad-cidr", IPv6AllocCIDR='"fd00::5/640"'),
        node("no-cidr", IPv6AllocCIDR='""'),
        node("numbers", Labels='{"a":1}'),
        node("new-field", NewField='{"a":[1]}'),
        node("other-case", bootid='"y"'),
        node("null-labels", Labels="null"),
        node("bad-ip", IPAddresses='[{"Type":"InternalIP","IP":"1.2.3"}]'),
        node("no-ip", IPAddresses='[{"Type":"InternalIP","IP":""}]'),
        ("cilium/state/nodes/v1/cluster3/none", b""),
        ("cilium/state/nodes/v1/cluster3/list", b"[]"),
        ("cilium/state/nodes/v1/cluster3/cut", NODE[:50].encode()),
        ("cilium/state/nodes/v1/cluster3/null", b"null"),
    ],
    "ips": [
        pair("10.3.0.1"),
        pair("fd00::1"),
        pair("10.3.0.2", 196_607),
        pair("10.3.0.3", 262_143),
        pair("10.3.0.4", 262_144),
        pair("10.3.0.5", 1),
        pair("10.3.0.6", 255),
        pair("10.3.0.7", 256),
        pair("10.3.0.8", 0),
        pair("10.3.0.9", HostIP='"node"'),
        pair("10.3.0.10", HostIP='""'),
        pair("10.3.0.11", Key=256),
        pair("10.3.0.12", Mask='"/////w=="'),
        pair("10.3.0.13", NamedPorts='[{"Name":"a","Port":70000,"Protocol":"TCP"}]'),
        pair("10.3.0.14", NamedPorts='[{"Name":"a","Port":80,"Protocol":"TCP"}]'),
        pair("10.3.0.15", K8sNamespace='"n"', K8sPodName='"p"', K8sServiceAccount='"s"'),
        pair("10.3.0.16", Extra='{"x":1}'),
        pair("10.3.0.17", ID="-1"),
        pair("10.3.0.18", ID="4294967296"),
        pair("10.3.0.19", ID="1.0"),
        ip("10.3.0.20", '{"IP":"10.3.9.20","HostIP":"","ID":196700,"Key":0,"Metadata":""}'),
        ip("<nil>", '{"IP":"","HostIP":"","ID":196700,"Key":0,"Metadata":""}'),
        ip("10.3.0.21", ""),
        ip("10.3.0.22", "{}"),
        ip("10.3.0.23", "null"),
        ip("10.3.0.24", '{"ip":"10.3.0.24","hostip":"172.18.0.2","id":196700,"key":0,"metadata":""}'),
    ],
    "identities": [
        identity("196700", f"k8s:app=web;{LABEL}=cluster3;"),
        identity("196701", f"k8s:app=web;{LABEL}=cluster4;"),
        identity("196702", "k8s:app=web;"),
        identity("196703", f"any:{LABEL[4:]}=cluster3;"),
        identity("196704", f"{LABEL}=cluster3"),
        identity("196705", f"k8s:a=b=c;{LABEL}=cluster3;k8s:empty=;novalue;"),
        identity("196607", f"{LABEL}=cluster3;"),
        identity("262143", f"{LABEL}=cluster3;"),
        identity("262144", f"{LABEL}=cluster3;"),
        identity("1", f"{LABEL}=cluster3;"),
        identity("255", f"{LABEL}=cluster3;"),
        identity("none", f"{LABEL}=cluster3;"),
        identity("196706", ""),
        identity("196707", ";;"),
        identity("0196708", f"{LABEL}=cluster3;"),
    ],
    "services": [
        service("right"),
        service("unshared", ('"shared":true', '"shared":false')),
        service("other-id", ('"clusterID":3', '"clusterID":4')),
        service("other-cluster", ('"cluster":"cluster3"', '"cluster":"cluster4"')),
        service("other-namespace", ('"namespace":"test"', '"namespace":"else"')),
        service("bad-frontend", ('"10.96.50.104"', '""')),
        service("zoned", ('"10.244.1.1":{"http"', '"fe80::1%eth0":{"http"')),
        service("bad-backend", ('"10.244.1.1":{"http"', '"a":{"http"')),
        service("big-port", ('"Port":8080', '"Port":65536')),
        service("odd-protocol", ('"Protocol":"TCP","Port":8080', '"Protocol":"ICMP","Port":8080')),
        service("mapped", ('"10.244.1.1":{"http"', '"::ffff:10.244.1.1":{"http"')),
        service(
            "no-backends", ('"backends":{"10.244.1.1":{"http":{"Protocol":"TCP","Port":8080}}}', '"backends":null')
        ),
        service("empty-ports", ('{"http":{"Protocol":"TCP","Port":8080}}', "{}")),
        ("cilium/state/services/v1/cluster3/test/cut", SERVICE[:40].encode()),
    ],
    "slices": [
        slice_("right", "10.3.1.1", "10.3.1.2"),
        slice_("names", "a.example.org", address_type="FQDN"),
        slice_("six", "fd00::1", address_type="IPv6"),
        slice_("six-in-four", "fd00::2"),
        slice_("four-in-six", "10.3.1.3", address_type="IPv6"),
        slice_("mapped-in-four", "::ffff:10.3.1.4"),
        slice_("mapped-in-six", "::ffff:10.3.1.5", address_type="IPv6"),
        slice_("zoned", "fe80::1%eth0", address_type="IPv6"),
        slice_("one-bad", "10.3.1.6", "bad"),
        slice_("unlabelled", "10.3.1.7", labels=()),
        slice_("other-id", "10.3.1.8", cluster_id=4),
        slice_("other-cluster", "10.3.1.9", cluster="cluster4"),
        slice_("no-namespace", "10.3.1.10", namespace=""),
        slice_("other-kind", "10.3.1.11", address_type="New"),
        ("cilium/state/endpointslices/v1/cluster3/test/none", b""),
        ("cilium/state/endpointslices/v1/cluster3/test/text", b"{}"),
    ],
}


PREFIXES = (
    "nodes/v1/cluster3/",
    "services/v1/cluster3/",
    "endpointslices/v1/cluster3/",
    "ip/v1/default/",
    "identities/v1/id/",
)
READ_OTHERWISE = {
    "text-cidr": "later releases of Cilium write networks as text; 1.20 refuses the node",
    "test/names": "a slice of names has no addresses: Cilium refuses it, ours has no row of it and says nothing",
    "10.3.1.6": "Cilium refuses the whole slice for one address, ours leaves out that address and names it",
}
"""What ours reads and Cilium's reader does not, and why."""


def short(key: str) -> str:
    """A key without its prefix."""
    return next((key.partition(prefix)[2] for prefix in PREFIXES if prefix in key), key)


def others(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows without those that are read otherwise."""
    named = tuple(READ_OTHERWISE)
    return {
        column: {key: row for key, row in found.items() if not any(name in key for name in named)}
        for column, found in rows.items()
    }


@pytest.mark.parametrize("slices", [False, True])
def test_equal_refusals_of_values_that_are_none(etcds: Etcds, slices: bool, tmp_path: Path, say: Say):
    etcd = etcds()
    with Publisher(etcd) as publisher:
        publisher.put(*(each for values in VALUES.values() for each in values))
        publisher.publish()
    with (
        CiliumReader(tmp_path, etcd, slices=slices) as reader,
        Rig(etcd.endpoint, prefer_endpoint_slices=slices) as rig,
    ):
        state = reader.wait_ready()
        snapshot = rig.synced()
        mine = ours(snapshot, slices=slices)
        rows = require_equal_rows(reader.rows(state), others(mine))
        assert "text-cidr" in mine["nodes"]
        assert any("10.3.1.6" in key for key in mine["backends"]) is slices
        objects = [row.key.object for row in snapshot[Rejected].values()]
        # With slices Cilium reads no services at all; ours reads them, for what slices do not say.
        rejected = {short(each) for each in objects if not (slices and "/services/" in each)}
        refused = set(map(short, reader.refused(state)))
    assert refused ^ rejected == {name for name in READ_OTHERWISE if name in refused and "10." not in name}
    say(f"odd values, {'slices' if slices else 'services'}: {rows} rows equal, {len(rejected)} values refused by both")


CONFIGS = [
    (3, 255, "services-and-endpointslices"),
    (0, 255, "services-and-endpointslices"),
    (1, 255, "services-and-endpointslices"),
    (255, 255, "services-and-endpointslices"),
    (256, 255, "services-and-endpointslices"),
    (300, 511, "services-and-endpointslices"),
    (511, 511, "endpointslices-only"),
    (512, 511, "services-and-endpointslices"),
    (3, 511, ""),
    (3, 255, "new-form"),
]
"""Id, clusters at most, and form of services that another cluster announces."""


@pytest.mark.parametrize("most", [255, 511])
def test_clusters_are_admitted_alike(etcds: Etcds, most: int, tmp_path: Path, say: Say):
    """But for one: a cluster of a larger mesh, of which Cilium takes in all but its identities. Ours refuses it."""
    admitted = 0
    with CiliumReader(tmp_path, etcds(), max_clusters=most) as reader:
        for number, announced, form in CONFIGS:
            capabilities = {"syncedCanaries": True, "maxConnectedClusters": announced, "endpointSlicesExportMode": form}
            config = json.dumps({"id": number, "capabilities": capabilities})
            theirs, mine = reader.why_not(config), why_not(config, most)
            if (most, announced) == (255, 511) and not theirs:
                assert "its mesh has at most 511" in mine
            else:
                assert bool(theirs) is bool(mine), (config, theirs, mine)
            admitted += not mine
    say(f"admission with at most {most} clusters: {len(CONFIGS)} configs judged, {admitted} admitted")


def why_not(config: str, most: int) -> str:
    """The same of our admission."""
    admission = Admission(Layout(cluster=CLUSTER, max_clusters=most), None, ClusterIds(LOCAL_ID))
    admission.raw = config.encode()
    try:
        admission.admit()
    except IncompatibleCluster as error:
        return str(error)
    return ""
