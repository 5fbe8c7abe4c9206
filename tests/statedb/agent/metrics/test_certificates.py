"""Until when certificates are valid, as metrics: of the HTTP server, of sources and of consumers."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from cryptography import x509
from hypothesis import given, settings, strategies as st

from statedb import Database
from statedb.agent.metrics.certificates import CertificateCollector
from statedb.agent.metrics.exposition import Metrics
from statedb.agent.metrics.sources import REMOTE_CLUSTERS_MAX
from statedb.agent.pem import Validity, validity, validity_in
from statedb.agent.process.agent import Agent
from statedb.agent.process.certificates import certificate_files
from statedb.agent.process.config import parse_config
from statedb.agent.readiness import Readiness
from statedb.catalog import TABLES

from ..certificates import Authority
from .test_exposition import OPENMETRICS, scrape, value

SOON = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)


@settings(max_examples=25)
@given(
    st.datetimes(datetime(1951, 1, 1), datetime(2120, 1, 1)),
    st.timedeltas(timedelta(seconds=1), timedelta(days=40_000)),
    st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=200),
)
def test_the_dates_are_those_that_another_reader_finds(begin: datetime, lasts: timedelta, name: str):
    begin = begin.replace(microsecond=0, tzinfo=UTC)
    issued = AUTHORITY.issue_cert("a.example", organization_name=name[:64], not_before=begin, not_after=begin + lasts)
    pem = issued.cert_chain_pems[0].bytes()
    found = x509.load_pem_x509_certificate(pem)
    expected = Validity(found.not_valid_after_utc.timestamp(), found.not_valid_before_utc.timestamp())
    assert validity(b"a comment\n" + pem + issued.private_key_pem.bytes()) == expected


@given(st.binary(max_size=200))
def test_what_is_no_certificate_has_no_dates(data: bytes):
    framed = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n"
    assert validity(data) is None
    assert validity(framed) is None


def test_of_a_chain_the_first_end_counts():
    long, short = (AUTHORITY.issue_cert("a.example", not_after=SOON + timedelta(days)) for days in (9, 0))
    chain = b"".join(each.cert_chain_pems[0].bytes() for each in (long, short, long))
    found = validity(chain)
    assert found is not None
    assert found.not_after == SOON.timestamp()


def test_a_renewed_file_is_read_again(tmp_path: Path):
    authority = Authority(tmp_path)
    cert, _ = authority.issue("server", until=SOON)
    assert validity_in(str(cert)) == validity(cert.read_bytes())
    authority.issue("server", until=SOON + timedelta(1))
    found = validity_in(str(cert))
    assert found is not None
    assert found.not_after == (SOON + timedelta(1)).timestamp()
    cert.unlink()
    assert validity_in(str(cert)) is None


def test_an_agent_tells_of_its_server_and_of_whose_clients_it_trusts(tmp_path: Path, manifests: Path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("server", until=SOON)
    tls = f"tls: {{cert-file: {cert}, key-file: {key}, client-ca-file: {authority.file}}}"
    ingest = f"ingest: {{manifests: {{directory: {manifests}}}}}"
    with Agent(parse_config(f"{ingest}\nhttp: {{listen: '127.0.0.1:0', probes: '127.0.0.1:0', {tls}}}\n")) as agent:
        text = scrape(SimpleNamespace(address=agent.probes_address))[1]  # type: ignore[arg-type]
    name = "statedb_certificate_not_after_timestamp_seconds"
    assert value(text, name, used_by="http", file="tls.cert-file") == SOON.timestamp()
    assert value(text, name, used_by="http", file="tls.client-ca-file") > SOON.timestamp()
    before = "statedb_certificate_not_before_timestamp_seconds"
    assert value(text, before, used_by="http", file="tls.cert-file") == datetime(2000, 1, 1, tzinfo=UTC).timestamp()


def exposed(readiness: Readiness, files: dict[tuple[str, str], str]) -> str:
    metrics = Metrics(Database(*TABLES), readiness)
    metrics.register(CertificateCollector(readiness, files))
    return metrics.expose(OPENMETRICS)[0].decode()


BACKENDS = {
    "kvstore": "endpoints: ['https://127.0.0.1:1'], tls: {ca-file: CA, cert-file: CERT, key-file: KEY}",
    "clustermesh": "endpoints: ['https://127.0.0.1:1'], tls: {ca-file: CA, cert-file: CERT, key-file: KEY}",
    "etcd": "tables: [nodes, identities, endpoints, services, backends], endpoints: ['https://127.0.0.1:1'], "
    "tls: {ca-file: CA, cert-file: CERT, key-file: KEY}",
    "kubernetes": "kubeconfig: KUBECONFIG",
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_sources_and_consumers_tell_of_their_client_certificates(backend: str, tmp_path: Path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("client", until=SOON)
    encoded = {path: base64.b64encode(path.read_bytes()).decode() for path in (authority.file, cert, key)}
    (tmp_path / "kubeconfig").write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
        f"clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1', "
        f"certificate-authority-data: {encoded[authority.file]}}}}}]\n"
        f"users: [{{name: u, user: {{client-certificate-data: {encoded[cert]}, client-key-data: {encoded[key]}}}}}]\n"
    )
    tls = f"{{ca-file: {authority.file}, cert-file: {cert}, key-file: {key}}}"
    options = BACKENDS[backend]
    for word, path in (
        ("KUBECONFIG", tmp_path / "kubeconfig"),
        ("CA", authority.file),
        ("CERT", cert),
        ("KEY", key),
    ):
        options = options.replace(f": {word}", f": {path}")
    beside = "" if backend == "kubernetes" else f", manifests: {{directory: '{tmp_path}', tables: [namespaces]}}"
    config = parse_config(
        f"cluster: {{name: c1, id: 1}}\ningest: {{{backend}: {{{options}}}{beside}}}\nhttp: {{listen: '127.0.0.1:0'}}\n"
        f"consumers: [publisher: {{etcd: {{endpoints: ['https://127.0.0.1:1'], tls: {tls}}}}}]\n"
    )
    agent = Agent(config)
    text = exposed(Readiness(agent.db, agent.sources), certificate_files(config))
    agent.stop()
    name = "statedb_certificate_not_after_timestamp_seconds"
    file = "client-certificate" if backend == "kubernetes" else "tls.cert-file"
    assert value(text, name, used_by=f"{backend}/c1", file=file) == SOON.timestamp()
    assert value(text, name, used_by="publisher", file="etcd.tls.cert-file") == SOON.timestamp()
    assert value(text, name, used_by="publisher", file="etcd.tls.ca-file") > SOON.timestamp()


def test_a_mesh_of_many_clusters_shares_a_series(tmp_path: Path):
    authority = Authority(tmp_path)
    (early, _), (late, _) = (authority.issue(name, until=SOON + timedelta(n)) for n, name in enumerate("ab"))

    def source(number: int) -> Any:
        path = str(early if number == REMOTE_CLUSTERS_MAX + 3 else late)
        return SimpleNamespace(
            cluster=f"c{number:03}", backend="clustermesh", failure=None, certificate_files={"cert-file": path}
        )

    remotes = SimpleNamespace(clusters=[source(number) for number in range(REMOTE_CLUSTERS_MAX + 9)], failure=None)
    text = exposed(Readiness(Database(*TABLES), (), (), remotes), {})
    found = [line for line in text.splitlines() if line.startswith("statedb_certificate_not_after_timestamp_seconds{")]
    assert len(found) == REMOTE_CLUSTERS_MAX + 1
    assert (
        value(text, "statedb_certificate_not_after_timestamp_seconds", used_by="clustermesh/others", file="cert-file")
        == SOON.timestamp()
    )
