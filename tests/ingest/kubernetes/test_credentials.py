"""Credentials that are read without the package ``kubernetes`` are those that it reads, and it is not imported."""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings, strategies as st
from kubernetes.config import incluster_config

from ingest import KubernetesOptions
from ingest.kubernetes import credentials as ours, kubeconfig
from ingest.kubernetes.credentials import Credentials, PlainCredentials, package_credentials, plain_credentials
from ingest.kubernetes.errors import Unauthorized
from ingest.kubernetes.login import Login
from ingest.kubernetes.sockets import Sockets

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
TEXT = st.text("abcXYZ019-._~+/= äß", min_size=1, max_size=12)
DATA = st.binary(min_size=1, max_size=20).map(lambda data: base64.standard_b64encode(data).decode())
FILES = st.sampled_from(["one.pem", "sub/two.pem", "./one.pem"])
ODD = st.sampled_from([None, 7, [], {}, True, "", "not Base64", "missing.pem", "empty.pem"])
"""Values of which most are wrong at most places."""

USER = {
    "token": TEXT,
    "tokenFile": FILES,
    "client-certificate": FILES,
    "client-certificate-data": DATA,
    "client-key": FILES,
    "client-key-data": DATA,
    "username": TEXT,
    "password": TEXT,
    "auth-provider": st.just({"name": "other"}),
}
CLUSTER = {
    "server": st.sampled_from(["https://h:6443", "http://h/", "https://h/k8s/c//", "https://[::1]", "h"]),
    "certificate-authority": FILES,
    "certificate-authority-data": DATA,
    "insecure-skip-tls-verify": st.booleans(),
    "tls-server-name": TEXT,
    "extensions": st.just([{"name": "x"}]),
    "proxy-url": st.just("http://proxy:3128"),
}


def usual(user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
    return {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": "https://h"} | cluster}],
        "users": [{"name": "a", "user": user}],
    }


@st.composite
def parts(draw: st.DrawFn, kinds: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    """A few fields, one of them perhaps odd."""
    names = draw(st.lists(st.sampled_from(sorted(kinds)), unique=True, max_size=3))
    odd = draw(st.sampled_from([*names, *[""] * 5]))
    return {name: draw(ODD if name == odd else kinds[name]) for name in names}


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """A kubeconfig, perhaps with names that are missing or there twice."""
    config = usual(draw(parts(USER)), **draw(parts(CLUSTER)))
    for place in draw(st.lists(st.sampled_from(["clusters", "contexts", "users", "current-context"]), max_size=1)):
        if place == "current-context":
            config[place] = draw(ODD)
        else:
            config[place] = draw(st.sampled_from([[], None, config[place] * 2, [{**config[place][0], "name": "b"}]]))
    return config


USUAL = (
    usual({"token": "secret"}, **{"certificate-authority-data": "YQ=="}),
    usual({"client-certificate-data": "YQ==", "client-key-data": "Yg=="}, **{"certificate-authority": "one.pem"}),
    usual({"client-certificate": "one.pem", "client-key": "sub/two.pem"}, **{"tls-server-name": "other"}),
    usual({"tokenFile": "one.pem"}, **{"insecure-skip-tls-verify": True}),
    usual({"username": "u", "password": "p"}),
    usual({}),
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        (folder / "sub").mkdir()
        for file, text in (("one.pem", "one\n"), ("sub/two.pem", "two"), ("empty.pem", "")):
            (folder / file).write_text(text)
        for proxy in PROXIES:
            patch.delenv(proxy, raising=False)
        yield folder


def told(credentials: Credentials) -> dict[str, Any]:
    """Everything that a request depends on; files by what they hold."""
    pools = {name: value for name, value in credentials.pools.connection_pool_kw.items() if value is not None}
    for name in ("ca_certs", "cert_file", "key_file"):
        if name in pools:
            pools[name] = Path(pools[name]).read_bytes()
    headers = {name: value.replace("bearer ", "Bearer ") for name, value in credentials.headers().items()}
    files = {name: Path(path).read_bytes() for name, path in credentials.certificate_files.items()}
    return {"url": credentials.url, "headers": headers, "files": files, **pools}


def read(options: KubernetesOptions) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What we read without the package, and what it reads; None where there is nothing."""
    plain = plain_credentials(options)
    try:
        package = told(package_credentials(options)())
    except (Unauthorized, OSError, UnicodeError):
        package = None
    return None if plain is None else told(plain), package


@settings(max_examples=300)
@given(configs(), st.sampled_from([None, None, "a", "b"]))
@example(usual({"token": "", "tokenFile": "one.pem"}), None)
@example(usual({"token": "t", "auth-provider": {"name": "oidc"}}), None)
@example(usual({"token": "t", "username": "u", "password": "p"}), None)
@example(usual({"token": "t"}, **{"certificate-authority": "one.pem", "certificate-authority-data": "YQ=="}), None)
@example(usual({"token": "t"}, **{"certificate-authority": "missing.pem"}), None)
@example({**usual({}), "users": [*usual({"token": "first"})["users"], *usual({"token": "second"})["users"]]}, None)
def test_plain_credentials_are_those_of_the_package(folder: Path, config: dict[str, Any], context: str | None):
    (folder / "config").write_text(yaml.safe_dump(config))
    plain, package = read(KubernetesOptions(kubeconfig=str(folder / "config"), context=context))
    if plain is not None:
        assert plain == package


@pytest.mark.parametrize("config", USUAL)
def test_the_usual_credentials_need_no_package(folder: Path, config: dict[str, Any]):
    (folder / "config").write_text(yaml.safe_dump(config))
    plain, package = read(KubernetesOptions(kubeconfig=str(folder / "config")))
    assert plain is not None
    assert plain == package


@pytest.mark.parametrize(
    "config",
    [
        usual({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "give-token"}}),
        usual({"token": "t", "auth-provider": {"name": "oidc"}}),
        usual({"token": "t"}, **{"proxy-url": "http://proxy:3128"}),
        {},
        [],
        "nothing",
    ],
)
def test_the_rest_is_left_to_the_package(folder: Path, config: Any):
    (folder / "config").write_text(yaml.safe_dump(config))
    assert plain_credentials(KubernetesOptions(kubeconfig=str(folder / "config"))) is None


def test_several_kubeconfigs_and_proxies_are_left_to_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch):
    config = str(folder / "config")
    Path(config).write_text(yaml.safe_dump(USUAL[0]))
    monkeypatch.setenv("KUBECONFIG", f"{config}:{config}")
    assert plain_credentials(KubernetesOptions()) is None
    monkeypatch.setenv("KUBECONFIG", config)
    assert isinstance(plain_credentials(KubernetesOptions()), PlainCredentials)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert plain_credentials(KubernetesOptions()) is None
    server = plain_credentials(KubernetesOptions(server="https://h"))
    assert server is not None
    assert str(server.pools.connection_pool_kw["_proxy"]) == "http://proxy:3128"


def test_data_of_a_kubeconfig_that_somebody_removed_are_written_again(folder: Path):
    (folder / "config").write_text(yaml.safe_dump(USUAL[0]))
    options = KubernetesOptions(kubeconfig=str(folder / "config"))
    for _ in range(2):
        plain = plain_credentials(options)
        assert plain is not None
        path = Path(plain.certificate_files["ca"])
        assert path.read_bytes() == b"a"
        assert path.stat().st_mode & 0o077 == 0
        path.unlink()


@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1"])
def test_the_service_account_of_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(kubeconfig, "_SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    for proxy in PROXIES:
        monkeypatch.delenv(proxy, raising=False)
    assert read(KubernetesOptions()) == (None, None)
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "ca.crt").write_text("ca")
    plain, package = read(KubernetesOptions())
    assert plain is not None
    assert plain == package
    assert plain["headers"] == {"authorization": "Bearer secret"}


def test_a_source_with_a_token_does_not_import_the_package(folder: Path):
    (folder / "config").write_text(yaml.safe_dump(usual({"token": "secret"})))
    program = f"""
import sys
from ingest import kubernetes
from statedb import Database
kubernetes.resources(Database(), "pods", options=kubernetes.KubernetesOptions(kubeconfig={str(folder / "config")!r}))
assert "kubernetes" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize("with_package", [False, True])
@pytest.mark.parametrize(
    ("user", "cluster", "says"),
    [
        ({}, {"server": "10.0.0.1:6443", "certificate-authority": "one.pem"}, "server: must be a URL"),
        ({}, {"server": "HTTPS://10.0.0.1:6443"}, "server: must be a URL"),
        ({}, {"server": "ftp://10.0.0.1"}, "server: must be a URL"),
        ({}, {"server": "https://10.0.0.1:99999999"}, "server: must be a URL"),
        ({}, {"server": "https://10.0.0.1: "}, "server: must be a URL"),
        ({"token": "secret\nother: x"}, {}, "the token has characters"),
        ({"token": "secreté"}, {}, "the token has characters"),
        ({"as": "bob"}, {}, "impersonates another one"),
    ],
)
def test_a_kubeconfig_that_cannot_work_is_refused_before_the_first_request(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_package: bool,
    user: dict[str, Any],
    cluster: dict[str, Any],
    says: str,
):
    """A token went unencrypted to a server without a scheme; the others were errors of the connection, forever."""
    if with_package:
        monkeypatch.setenv("https_proxy", "http://proxy:3128")
    (folder / "config").write_text(yaml.safe_dump(usual({"token": "secret", **user}, **cluster)))
    with pytest.raises(Unauthorized, match=says) as error:
        Login(KubernetesOptions(kubeconfig=str(folder / "config")), Sockets())
    assert "secret" not in str(error.value)


def test_a_token_file_of_a_kubeconfig_is_read_again_as_that_of_a_pod(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """As client-go does. It was read again only when the server refused it."""
    monkeypatch.setattr(ours, "_TOKEN_AGE_S", -1.0)
    (folder / "token").write_text("first\n")
    (folder / "config").write_text(yaml.safe_dump(usual({"tokenFile": "token"})))
    plain = plain_credentials(KubernetesOptions(kubeconfig=str(folder / "config")))
    assert plain is not None
    assert plain.headers() == {"authorization": "Bearer first"}
    (folder / "token").write_text("second")
    assert plain.headers() == {"authorization": "Bearer second"}
