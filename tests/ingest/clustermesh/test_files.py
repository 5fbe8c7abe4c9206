"""The etcd configuration of a remote cluster, as Cilium writes it: what is read, and the line for each mistake."""

import pytest

from ingest.clustermesh.files import BadFile, is_config, servers
from ingest.etcd import Endpoint

from .publisher import options

GOOD = b"""\
endpoints:
- https://cluster2.mesh.cilium.io:32379
trusted-ca-file: /var/lib/cilium/clustermesh/common-etcd-client-ca.crt
key-file: /var/lib/cilium/clustermesh/common-etcd-client.key
cert-file: common-etcd-client.crt
dial-timeout: 5000000000
cilium-host-aliases:
- hostname: cluster2.mesh.cilium.io
  ips:
  - 172.18.255.201
  - FD00::1
"""


def test_what_cilium_writes():
    found = servers(GOOD, "/etc/mesh", options())
    assert found.endpoints == (
        Endpoint("cluster2.mesh.cilium.io", 32379, True, "172.18.255.201"),
        Endpoint("cluster2.mesh.cilium.io", 32379, True, "fd00::1"),
    )
    assert found.pems is not None
    assert found.pems.ca_file == "/var/lib/cilium/clustermesh/common-etcd-client-ca.crt"
    assert found.pems.cert_file == "/etc/mesh/common-etcd-client.crt"
    assert found.locked
    assert is_config(GOOD)
    assert not is_config(b"-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("endpoints: ['http://a:1']", Endpoint("a", 1, False)),
        ("endpoints: ['a:1']", Endpoint("a", 1, True)),
        ("endpoints: ['a:1']\ninsecure-transport: true", Endpoint("a", 1, False)),
    ],
)
def test_plain_and_secure_endpoints(text: str, endpoint: Endpoint):
    assert servers(text.encode(), "d", options()).endpoints == (endpoint,)


def test_a_login_does_not_show_its_password():
    found = servers(b"endpoints: ['http://a:1']\nusername: u\npassword: secret", "d", options())
    assert found.login is not None
    assert found.login.password == "secret"
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("endpoints: [", "is not YAML: line"),
        ("endpoints: ['http://a:1']\n---\nendpoints: []", "is not one mapping with endpoints"),
        ("- endpoints:", "is not one mapping with endpoints"),
        ("x: 1", "Object missing required field endpoints"),
        ("endpoints: http://a:1", "Expected array, got str - at endpoints"),
        ("endpoints: []", "endpoints: the list is empty; name at least one"),
        ("endpoints: ['ftp://a:1']", "endpoints[0]: 'ftp://a:1' is not an address"),
        ("endpoints: ['https://u:secret@a:1']", "endpoints[0]: an address must not contain a user"),
        ("endpoints: ['https://a:1']\ninsecure-transport: true", "endpoints[0]: https://a:1 is https, but insecure"),
        ("endpoints: ['https://a:1']\ninsecure-skip-tls-verify: true", "insecure-skip-tls-verify is not supported"),
        ("endpoints: ['https://a:1']\nca-file: x", "ca-file is not read any more: call it trusted-ca-file"),
        ("endpoints: ['https://a:1']\nusername: x", "username and password belong together"),
        (
            "endpoints: ['https://a:1']\ncilium-host-aliases: [{ips: [10.0.0.1]}]",
            "cilium-host-aliases[0].hostname: is empty",
        ),
        (
            "endpoints: ['https://a:1']\ncilium-host-aliases: [{hostname: a, ips: []}]",
            "cilium-host-aliases[0].ips: the list is empty",
        ),
        (
            "endpoints: ['https://a:1']\ncilium-host-aliases: [{hostname: a, ips: [x]}]",
            "cilium-host-aliases[0].ips: 'x' is not an IP address",
        ),
        (
            "endpoints: ['https://a:1']\n"
            "cilium-host-aliases: [{hostname: a, ips: [10.0.0.1]}, {hostname: a, ips: [10.0.0.2]}]",
            "cilium-host-aliases[1].hostname: a is there twice",
        ),
    ],
)
def test_each_mistake_is_told(text: str, told: str):
    with pytest.raises(BadFile) as caught:
        servers(text.encode(), "d", options())
    assert str(caught.value).startswith(told)
    assert "secret" not in str(caught.value)
