"""Users and roles: those of Cilium's etcdinit and users management, and ours, right by right."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from consumers.etcd.publisher.options import UsersOptions
from consumers.etcd.publisher.users import Users
from ingest.etcd.local import find_binary

from ..ingest.clustermesh.guarded import Guarded
from . import binary
from .conftest import Say
from .peers import CLUSTER


def rights(guarded: Guarded) -> dict[str, Any]:
    """Every user with its roles, every role with its rights (Any: JSON)."""
    users = _ask(guarded, "user", "list")["users"]
    roles = _ask(guarded, "role", "list")["roles"]
    return {
        "users": {name: sorted(_ask(guarded, "user", "get", name).get("roles", [])) for name in users},
        "roles": {name: sorted(map(json.dumps, _ask(guarded, "role", "get", name).get("perm", []))) for name in roles},
    }


def _ask(guarded: Guarded, *arguments: str) -> Any:
    tool = Path(find_binary()).with_name("etcdctl")
    tool.chmod(0o755)
    files = {"cacert": "ca.pem", "cert": "root.pem", "key": "root-key.pem"}
    options = [f"--{option}={guarded.directory / name}" for option, name in files.items()]
    command = [str(tool), f"--endpoints={guarded.etcd.endpoint}", "--write-out=json", *options, *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


def test_the_users_and_roles_are_those_of_etcdinit(tmp_path: Path, say: Say):
    found = []
    for whose in ("real", "ours"):
        directory = tmp_path / whose
        directory.mkdir()
        guarded = Guarded(directory)
        with guarded.etcd as etcd:
            etcd.start(guarded.root)
            if whose == "real":
                program = binary.find(binary.own("accounts"))
                files = [str(directory / name) for name in ("ca.pem", "root.pem", "root-key.pem")]
                subprocess.run([str(program), etcd.endpoint, *files, CLUSTER], check=True, timeout=120)
            else:
                access = Users(CLUSTER, UsersOptions()).access()
                with guarded.client("root") as client:
                    client.ensure_users(access.roles, access.users)
            found.append(rights(guarded))
    assert found[0] == found[1]
    say(f"users and roles: {len(found[0]['users'])} users, {sum(map(len, found[0]['roles'].values()))} rights compared")
