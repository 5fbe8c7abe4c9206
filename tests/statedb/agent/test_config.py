"""The configuration: what is taken, and the exact line for each mistake."""

# ruff: noqa: E501 - the lines are quoted as they are printed

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from ingest import BACKENDS
from statedb.agent.address import Address, parse_listen, parse_server
from statedb.agent.errors import ConfigError
from statedb.agent.process.config import load_config, parse_config
from statedb.agent.process.consumers import CONSUMER_KINDS
from statedb.agent.process.strict import Problems, to_struct

GOOD = """\
cluster: {name: cluster1, id: 1}
ingest:
  manifests: {directory: examples/cluster}
http: {listen: "127.0.0.1:9974"}
log-level: debug
"""
MANIFESTS = "ingest: {manifests: {directory: d}}\n"


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "/etc/statedb")
    return caught.value.problems


def test_a_whole_configuration_is_taken():
    config = parse_config(GOOD, "/etc/statedb")
    assert (config.cluster.name, config.cluster.id, config.log_level) == ("cluster1", 1, "debug")
    assert config.listen == Address("127.0.0.1", 9974)
    (ingest,) = config.ingest
    assert ingest.backend == "manifests"
    assert ingest.options.directory == "/etc/statedb/examples/cluster"
    assert ingest.tables == ("nodes", "identities", "endpoints", "services", "backends", "namespaces", "policies")


def test_all_but_the_backend_has_a_default():
    config = parse_config(MANIFESTS)
    assert (config.cluster.name, config.cluster.id, config.log_level) == ("default", 0, "info")
    assert str(config.listen) == "http://127.0.0.1:9974"


def test_every_path_is_relative_to_the_file():
    config = parse_config(
        "ingest: {kvstore: {endpoints: ['https://e:1'], username: u, password-file: p,"
        " tls: {ca-file: ca.pem, cert-file: /abs/c.pem, key-file: k.pem}}}\nhttp: {listen: 'unix:run/s.sock'}",
        "/base",
    )
    options = config.ingest[0].options
    assert options.password_file == "/base/p"
    assert (options.tls.ca_file, options.tls.cert_file, options.tls.key_file) == (
        "/base/ca.pem",
        "/abs/c.pem",
        "/base/k.pem",
    )
    assert str(config.listen) == "unix:/base/run/s.sock"


def test_two_backends_may_share_the_tables_out():
    config = parse_config(
        "ingest: {manifests: {directory: d, tables: [nodes, policies]},"
        " kvstore: {endpoints: ['http://e:1'], tables: [identities]}}"
    )
    assert [each.tables for each in config.ingest] == [("nodes", "policies"), ("identities",)]


def test_kubernetes_needs_no_options_and_may_bring_what_a_kvstore_does_not_carry():
    assert parse_config("ingest: {kubernetes: {}}").ingest[0].tables == BACKENDS["kubernetes"].tables
    config = parse_config("ingest: {kvstore: {endpoints: ['http://e:1']}, kubernetes: {tables: [policies]}}")
    assert [each.tables for each in config.ingest] == [BACKENDS["kvstore"].tables, ("policies",)]
    assert problems("ingest: {kvstore: {endpoints: ['http://e:1']}, kubernetes: {}}") == (
        "ingest: backends 'kvstore' and 'kubernetes' both claim tables nodes, identities, endpoints, services, backends; "
        "a table has one source: share them out with the option 'tables' of each",
    )


def test_a_kubeconfig_is_beside_the_configuration_or_at_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    for written, meant in (("k", "/base/k"), ("/abs/k", "/abs/k"), ("~/.kube/config", "/home/me/.kube/config")):
        config = parse_config(f"ingest: {{kubernetes: {{kubeconfig: {written}}}}}", "/base")
        assert config.ingest[0].options.kubeconfig == meant


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ingest: {kubernetes: {server: 'https://u:p@h'}}", "ingest.kubernetes.server: an address must not contain a user; use token-file"),
        ("ingress: {}\n" + MANIFESTS, "ingress: unknown field; did you mean 'ingest'? known are cluster, ingest, remote-clusters, consumers, warm-start, http, log-level, log-format"),
        ("cluster: {nmae: a}\n" + MANIFESTS, "cluster.nmae: unknown field; did you mean 'name'? known are name, id"),
        ("cluster: {id: '1', name: a}\n" + MANIFESTS, "cluster.id: must be a whole number, not text; write it without quotes, in digits"),
        ("cluster: {name: 7}\n" + MANIFESTS, "cluster.name: must be text, not a whole number; put it in quotes"),
        ("cluster: [a]\n" + MANIFESTS, "cluster: must be a mapping of name, id, not a list"),
        ("cluster: {name: Upper, id: 1}\n" + MANIFESTS, "cluster.name: must be 1 to 32 lower-case letters, digits and dashes, no dash at either end; write it like cluster1"),
        (f"cluster: {{name: {'a' * 33}}}\n" + MANIFESTS, "cluster.name: must be 1 to 32 lower-case letters, digits and dashes, no dash at either end; write it like cluster1"),
        ("cluster: {name: a, id: 512}\n" + MANIFESTS, "cluster.id: must be 0 to 511, and differ from those of other clusters"),
        ("cluster: {name: a, id: -1}\n" + MANIFESTS, "cluster.id: must be 0 to 511, and differ from those of other clusters"),
        ("cluster: {name: default, id: 2}\n" + MANIFESTS, "cluster.name: 'default' is only for a cluster with id 0; give the cluster a name of its own"),
        ("log-level: loud\n" + MANIFESTS, "log-level: must be one of debug, info, warning, error"),
        ("log-level: [info]\n" + MANIFESTS, "log-level: must be one of debug, info, warning, error"),
        ("cluster: {name: a}", "ingest: is missing: no table would be filled; add a backend below it, one of manifests, kubernetes, kvstore, clustermesh, etcd"),
        ("ingest: {}", "ingest: names no backend: no table would be filled; add one of manifests, kubernetes, kvstore, clustermesh, etcd"),
        ("ingest: manifests", "ingest: must be a mapping with a backend, one of manifests, kubernetes, kvstore, clustermesh, etcd"),
        ("ingest: {kvstoer: {}}", "ingest.kvstoer: unknown backend; did you mean 'kvstore'? known are manifests, kubernetes, kvstore, clustermesh, etcd"),
        ("ingest: {manifests: {}}", "ingest.manifests.directory: is missing; add it"),
        ("ingest: {manifests: }", "ingest.manifests: must be a mapping of directory, tables, rescan-s, settle-s, file-bytes-max, aliases-max, not nothing"),
        ("ingest: {manifests: {directory: ''}}", "ingest.manifests.directory: the text is empty; write something, or leave the field out"),
        ("ingest: {manifests: {directory: d, rescan-s: 0}}", "ingest.manifests.rescan-s: must be a number >= 0.01; write such a number"),
        ("ingest: {manifests: {directory: d, rescan-s: soon}}", "ingest.manifests.rescan-s: must be a number, not text; write it without quotes, in digits"),
        ("ingest: {manifests: {directory: d, tables: []}}", "ingest.manifests.tables: the list is empty; name at least one, or leave the option out to fill all"),
        ("ingest: {kvstore: {endpoints: ['http://e:1'], tables: [nodes, node]}}", "ingest.kvstore.tables[1]: kvstore carries no such table; did you mean 'nodes'? known are nodes, identities, endpoints, services, backends"),
        ("ingest: {kvstore: {endpoints: []}}", "ingest.kvstore.endpoints: the list is empty; name at least one"),
        ("ingest: {kvstore: {endpoints: 'http://e:1'}}", "ingest.kvstore.endpoints: must be a list, not text; write it as [value]"),
        ("ingest: {kvstore: {endpoints: ['http://e:1', 2]}}", "ingest.kvstore.endpoints[1]: must be text, not a whole number; put it in quotes"),
        ("ingest: {kvstore: {endpoints: ['http://e:1'], tls: {ca: x}}}", "ingest.kvstore.tls.ca: unknown field; known are ca-file, cert-file, key-file"),
        (MANIFESTS + "http: {listen: 9974}", "http.listen: must be text, not a whole number; put it in quotes"),
        (MANIFESTS + "http: {listen: '127.0.0.1'}", "http.listen: '127.0.0.1' is not an address; write host:port like 127.0.0.1:9974, or unix:/path"),
        (MANIFESTS + "http: {listen: '127.0.0.1:99999'}", "http.listen: '127.0.0.1:99999' is not an address; write host:port like 127.0.0.1:9974, or unix:/path"),
        (MANIFESTS + "http: {listen: '0.0.0.0:80'}", "http.listen: '0.0.0.0:80' can be reached from other machines, which needs http.tls and a token file or http.tls.client-ca-file; use loopback like 127.0.0.1:9974, or unix:/path"),
        (MANIFESTS + "http: {listen: 'unix:'}", "http.listen: 'unix:' names no socket; write unix:/path/of/the.sock"),
        ("", "is empty; 'statedb init' writes one to start from"),
        ("- a", "must be a mapping of cluster, ingest, remote-clusters, consumers, warm-start, http, log-level, log-format"),
        ("a: [", "is not YAML: line 2: did not find expected node content"),
        (MANIFESTS * 2, "is not YAML: line 2: a key stands twice in one mapping"),
        ("a: 1\n---\nb: 1\n", "has several documents; keep one, without '---'"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_that_names_the_field_and_the_remedy(text: str, line: str):
    assert problems(text) == (line,)


def test_an_unknown_field_names_the_close_one_and_all_others():
    (missing, unknown) = sorted(problems("ingest: {kvstore: {endpoint: ['http://e:1']}}"), reverse=True)
    assert unknown.startswith("ingest.kvstore.endpoint: unknown field; did you mean 'endpoints'? known are endpoints, ")
    assert missing == "ingest.kvstore.endpoints: is missing; add it"


def test_remote_clusters_are_named_by_a_directory():
    config = parse_config(
        "cluster: {name: c, id: 1}\n" + MANIFESTS + "remote-clusters: {directory: mesh, max-connected-clusters: 511}",
        "/etc",
    )
    assert config.remote_clusters is not None
    assert config.remote_clusters.directory == "/etc/mesh"
    assert config.remote_clusters.max_connected_clusters == 511
    assert parse_config(MANIFESTS).remote_clusters is None


def test_the_options_of_a_local_clustermesh():
    config = parse_config(
        "cluster: {name: c, id: 1}\ningest: {clustermesh: {endpoints: ['https://e:1'], tls: {ca-file: ca.pem}},"
        " manifests: {directory: d, tables: [policies]}}",
        "/etc",
    )
    assert config.ingest[0].tables == ("nodes", "identities", "endpoints", "services", "backends")
    assert config.ingest[0].options.tls.ca_file == "/etc/ca.pem"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("remote-clusters: {}", "remote-clusters.directory: is missing; add it"),
        ("remote-clusters: {directory: d}\ncluster: {}", "cluster.id: is 0, but there are remote-clusters: a cluster of a mesh needs an id of its own"),
    ],
)  # fmt: skip
def test_mistakes_about_remote_clusters(text: str, line: str):
    assert line in problems(MANIFESTS + text)


def test_two_backends_that_claim_one_table_are_both_named():
    assert problems("ingest: {manifests: {directory: d}, kvstore: {endpoints: ['http://e:1'], tables: [nodes]}}") == (
        "ingest: backends 'manifests' and 'kvstore' both claim table nodes; "
        "a table has one source: share them out with the option 'tables' of each",
    )


def test_all_mistakes_that_can_be_found_are_reported_at_once():
    found = problems(
        "cluster: {id: x, nam: y}\ningest: {manifests: {directory: 1, rescan-s: x}}\nhttp: {lisen: a}\nlog-level: 1"
    )
    assert [line.split(":")[0] for line in found] == [
        "cluster.nam",
        "cluster.id",
        "ingest.manifests.directory",
        "ingest.manifests.rescan-s",
        "http.lisen",
        "log-level",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "ingest: {kvstore: {endpoints: ['http://root:hunter2@e:1']}}",
        "ingest: {kvstore: {endpoints: ['root:hunter2@e:1']}}",
        "ingest: {kvstore: {endpoints: ['http://e:1'], password: hunter2}}",
        "ingest: {kvstore: {endpoints: ['http://e:1'], password-file: [hunter2]}}",
        "ingest: {kvstore: {endpoints: ['http://e:1'], page-limit: hunter2}}",
        "ingest: {kvstore: {password-file: 'hunter2}}",
    ],
)
def test_no_error_repeats_a_secret(text: str):
    assert "hunter2" not in "\n".join(problems(text))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path):
    for path, reason in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert caught.value.problems == (f"{path}: cannot be read: {reason}",)


def test_each_problem_of_a_file_begins_with_its_name(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.problems == (f"{path}: is not UTF-8 text; write it as YAML",)


def test_addresses_of_servers_are_read_as_people_write_them():
    assert parse_server("127.0.0.1:80") == parse_server("http://127.0.0.1:80/") == Address("127.0.0.1", 80)
    assert parse_server("http://localhost") == Address("localhost", 9974)
    assert parse_server("http://[::1]:80") == parse_listen("[::1]:80") == Address("::1", 80)
    assert parse_server("unix:///run/s") == parse_server("unix:/run/s") == Address(path="/run/s")
    for wrong in ("ftp://a:1", "http://a:1/path", "http://a:b", "unix:", "http://"):
        with pytest.raises(ValueError, match=r"is not a server|names no socket"):
            parse_server(wrong)
    with pytest.raises(ValueError, match="must not contain a user") as caught:
        parse_server("http://u:hunter2@a:1")
    assert "hunter2" not in str(caught.value)


ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["agent.yaml", "agent-kvstore.yaml"])
def test_the_examples_are_good(name: str):
    assert load_config(ROOT / "examples" / name).cluster.name == "cluster1"


def test_every_option_is_in_the_documentation():
    text = (ROOT / "docs" / "agent.md").read_text()
    for backend in BACKENDS.values():
        for field in msgspec.structs.fields(backend.options):
            assert f"`{field.encode_name}`" in text, f"{backend.name}: {field.encode_name}"


def numbers_of(kind: Any, path: str) -> Iterator[tuple[Any, str, str]]:
    """The number options of a struct: the struct, the path of the option, and its name."""
    for field in msgspec.structs.fields(kind):
        types = (field.type, *get_args(field.type), *[part for each in get_args(field.type) for part in get_args(each)])
        if int in types or float in types:
            yield kind, f"{path}.{field.encode_name}", field.encode_name


ALL_NUMBERS = [
    *[each for backend in BACKENDS.values() for each in numbers_of(backend.options, f"ingest.{backend.name}")],
    *[each for kind in CONSUMER_KINDS.values() for each in numbers_of(kind.options, kind.name)],
]


@pytest.mark.parametrize(("kind", "path", "name"), ALL_NUMBERS, ids=[path for _, path, _ in ALL_NUMBERS])
def test_no_number_and_no_time_is_endless(kind: Any, path: str, name: str):
    for value in [math.inf, math.nan, *([1e300] if name.endswith("-s") else [])]:
        found = Problems()
        to_struct(kind, {name: value}, "", found)
        assert len([line for line in found if line.startswith(f"{name}: must be ")]) == 1, (path, value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            "retry-min-s: 5, retry-max-s: 1",
            "ingest.kvstore.retry-min-s: is 5, more than retry-max-s (1); change one of them",
        ),
        (
            "retry-max-s: 0.01",
            "ingest.kvstore.retry-min-s: is 0.05, more than retry-max-s (0.01); change one of them",
        ),
        ('username: "a\\0b"', "ingest.kvstore.username: must not contain a NUL character; remove it"),
        (
            'host-aliases: {"a\\0b": [10.0.0.1]}',
            "ingest.kvstore.host-aliases: must not contain a NUL character; remove it",
        ),
    ],
)
def test_options_that_make_no_sense_together_or_at_all(options: str, line: str):
    assert problems(f"ingest: {{kvstore: {{endpoints: ['http://e:1'], {options}}}}}") == (line,)


def test_the_home_of_the_user_is_known_in_every_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = parse_config(
        "ingest: {manifests: {directory: ~/d}}\nwarm-start: ~/w\nhttp: {listen: 'unix:~/s', read-token-file: ~/t}",
        "/etc",
    )
    assert config.ingest[0].options.directory == "/home/me/d"
    assert str(config.warm_start) == "/home/me/w"
    assert str(config.listen) == "unix:/home/me/s"
