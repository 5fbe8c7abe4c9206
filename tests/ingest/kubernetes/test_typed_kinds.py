"""Rows with typed fields: each of their fields is one of the real API server's, and holds what it serves."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

import msgspec
import pytest

from ingest import InvalidOptions, KubernetesOptions, kubernetes
from ingest.kubernetes import ResourceOptions
from statedb import Database, Table, UniqueIndex
from statedb.catalog import Object, ObjectHead, ObjectKey, Rejected, kinds
from statedb.testing.kubernetes import ApiServer as SmallServer

from ...apiserver.server import ApiServer
from ...statedb.catalog.typed_rows import body_of, check_body, inner
from .informing import new_namespace, options, pod, running, state, until
from .one_of_each import OBJECTS, STATUSES, Json

CLUSTERWIDE = {"nodes", "namespaces", "persistentvolumes", "customresourcedefinitions"}


def root(kind: kinds.Kind) -> str:
    return f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"


def create(server: ApiServer, kind: kinds.Kind, namespace: str) -> tuple[ObjectKey, Json]:
    """Create the object of this kind, with its status. Its key, and the object as served."""
    rest, plural = server.rest(), kind.table.name
    scope, name = ("", f"one-{secrets.token_hex(4)}") if plural in CLUSTERWIDE else (f"/namespaces/{namespace}", "one")
    if plural == "customresourcedefinitions":
        name = "gadgets.typed.example.org"
    value = {**OBJECTS[plural]}
    metadata = {"name": name, "labels": {"app": "typed", **value.pop("labels", {})}, "annotations": {"a/b": "c"}}
    if plural == "events":
        value["involvedObject"] = {**value["involvedObject"], "namespace": namespace}
    path = f"{root(kind)}{scope}/{plural}"
    served = rest.create(path, {**value, "metadata": metadata})
    if plural in STATUSES:
        rest.replace(f"{path}/{name}/status", {**served, "status": STATUSES[plural]})
    return ObjectKey("default", "" if plural in CLUSTERWIDE else namespace, name), rest.get(f"{path}/{name}")


def test_a_row_of_each_kind_holds_what_the_api_server_serves(apiserver: ApiServer):
    namespace, db = new_namespace(apiserver), Database()
    created = {kind: create(apiserver, kind, namespace) for kind in kinds.KINDS}
    source = kubernetes.resources(db, *[kind.table for kind in kinds.KINDS], options=options(apiserver))
    assert source.tables == tuple([kind.table for kind in kinds.KINDS])
    with running(source):
        assert db.wait_initialized(*source.tables, timeout=60)
        for kind, (key, _) in created.items():
            row: ObjectHead = db.snapshot()[kind.table][key]
            path = f"/namespaces/{key.namespace}" if key.namespace else ""
            served = apiserver.rest().get(f"{root(kind)}{path}/{kind.table.name}/{key.name}")
            if row.version != served["metadata"]["resourceVersion"]:  # a controller of the server wrote it meanwhile
                until(db, lambda s, t=kind.table, k=key, v=served: s[t][k].version == v["metadata"]["resourceVersion"])
                row = db.snapshot()[kind.table][key]
            check_body(row, served)
            metadata = served["metadata"]
            assert (row.uid, row.created, dict(row.labels)) == (
                metadata["uid"],
                metadata["creationTimestamp"],
                metadata["labels"],
            )
            assert row in db.snapshot()[kind.table.by_label]["app=typed"]
        assert not list(db.snapshot()[Rejected].values())
        check_indexes_and_helpers(db, namespace)
    apiserver.rest().delete(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.typed.example.org"
    )  # its name is the same for every run


def check_indexes_and_helpers(db: Database, namespace: str) -> None:
    snapshot = db.snapshot()
    (web,) = [each for each in snapshot[kinds.Pods.by_node]["node-1"] if each.key.namespace == namespace]
    assert web.status.holds("Ready")
    assert not web.status.holds("Initialized")
    assert kinds.quantity(web.spec.containers[0].resources.requests["cpu"]) * 10 == 1
    assert [each.service for each in snapshot[kinds.EndpointSlices.by_service][(namespace, "web")]] == ["web"]
    (event,) = snapshot[kinds.Events.by_object][("Pod", namespace, "web")]
    assert event.involved_object.name == "web"
    (deployment,) = snapshot[kinds.Deployments.by_namespace][namespace]
    assert deployment.spec.selector.selects(deployment.spec.template.metadata.labels)
    assert not deployment.spec.selector.selects({"app": "web"})


# --- the schema of the server -----------------------------------------------------------------------------------------


def problems(kind: Any, schema: Json, schemas: Mapping[str, Json], at: str) -> Iterator[str]:
    """Where a type of a row is not what the server says of the field."""
    kind, schema = inner(kind), resolved(schema, schemas)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from problems_of_fields(msgspec.structs.fields(kind), schema, schemas, at)
    elif get_origin(kind) is tuple:
        if schema.get("type") != "array":
            yield f"{at}: {schema.get('type')} and not a list"
        else:
            yield from problems(get_args(kind)[0], schema["items"], schemas, f"{at}[]")
    elif kind == int | str:
        if schema.get("format") != "int-or-string":
            yield f"{at}: {schema} and not a number or a text"
    elif get_origin(kind) is not None and issubclass(get_origin(kind), Mapping):
        if resolved(schema.get("additionalProperties", {}), schemas).get("type", "string") != "string":
            yield f"{at}: {schema} and not texts by name"
    elif {str: "string", int: "integer", bool: "boolean"}[kind] != schema.get("type", "string"):
        yield f"{at}: {schema.get('type')} and not {kind.__name__}"


def problems_of_fields(
    fields: tuple[msgspec.structs.FieldInfo, ...], schema: Json, schemas: Mapping[str, Json], at: str
) -> Iterator[str]:
    known = schema.get("properties", {})
    for field in fields:
        if field.encode_name in known:
            yield from problems(field.type, known[field.encode_name], schemas, f"{at}.{field.encode_name}")
        elif not at.endswith("Ref") and not at.endswith(("resource", "secrets[]", "active[]", "involvedObject")):
            yield f"{at}.{field.encode_name}: there is no such field"  # references have some of a Reference's fields


def resolved(schema: Json, schemas: Mapping[str, Json]) -> Json:
    while "$ref" in schema or "allOf" in schema:
        schema = schema["allOf"][0] if "allOf" in schema else schemas[schema["$ref"].rpartition("/")[2]]
    return schema


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.resource)
def test_the_server_knows_every_field_of_a_row(apiserver: ApiServer, kind: kinds.Kind):
    schemas = apiserver.rest().get(f"/openapi/v3{root(kind)}")["components"]["schemas"]
    row = kind.table.row_type
    wanted = {"group": kind.group, "version": kind.version, "kind": row.__name__}
    (schema,) = [each for each in schemas.values() if wanted in each.get("x-kubernetes-group-version-kind", ())]
    assert list(problems_of_fields(body_of(row), schema, schemas, row.__name__)) == []


# --- naming them, and mistakes ----------------------------------------------------------------------------------------


def test_the_ways_to_name_them(apiserver: ApiServer):
    namespace = new_namespace(apiserver)
    apiserver.rest().create(f"/api/v1/namespaces/{namespace}/pods", pod("web-1", "node-1"))
    db, access = Database(), options(apiserver)
    mine = kinds.Pods.named("my-pods")
    chosen = ResourceOptions(resource="po", table="chosen", namespaces=(namespace,), typed=True)
    sources = (
        kubernetes.resource(db, "pods", mine, options=access, namespaces=[namespace]),
        kubernetes.resources(db, chosen, "pods", options=access),
    )
    (of_options, untyped) = sources[1].tables
    with running(*sources):
        assert db.wait_initialized(mine, of_options, timeout=40)
        key = ObjectKey("default", namespace, "web-1")
        row = db.snapshot()[mine][key]
        assert isinstance(row, kinds.Pod)
        assert row.spec.node_name == "node-1"
        assert db.snapshot()[of_options][key] == row
        until(db, lambda s: state(s, "pods").state == "synced")
        assert isinstance(db.snapshot()[untyped][key], Object)
        with kubernetes.writer("typed", access) as writer:  # a row stands for its object
            written = writer.patch("pods", row, {"metadata": {"labels": {"app": "web"}}})
            assert kubernetes.wait_seen(db, mine, written, timeout=40)
        assert db.snapshot()[mine.by_label]["app=web"]


class Own(Table[str, str], name="own"):
    primary = UniqueIndex[str, str](lambda text: text)


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (ResourceOptions(resource="widgets.example.org", typed=True), "widgets.example.org: has no typed rows"),
        (ResourceOptions(resource="pods", typed=True, keep=("spec",)), "leave the option keep out, or typed"),
        (ResourceOptions(resource="pods", typed=True, only="metadata"), "leave the option only out, or typed"),
        (Own, "'own' has rows of your own: name its resource and give a function"),
    ],
)
def test_mistakes_are_told(named: Any, problem: str):
    with pytest.raises(InvalidOptions) as caught:
        kubernetes.resources(Database(), named, options=KubernetesOptions(server="http://127.0.0.1:1"))
    assert problem in str(caught.value)


def test_a_table_of_your_own_needs_a_decoder():
    with pytest.raises(InvalidOptions, match="give a function that decodes it"):
        kubernetes.resource(Database(), "pods", Own)


def test_a_bad_object_costs_only_itself():
    """A server that checks no schema: the pod with a number as its node keeps its last good row."""
    with SmallServer() as server:
        access = KubernetesOptions(server=server.url, retry_min_s=0.02)
        db = Database()
        for name in ("good", "bad"):
            server.create(pod(name, "node-1"))
        with running(kubernetes.resource(db, "pods", kinds.Pods, options=access)):
            assert db.wait_initialized(kinds.Pods, timeout=30)
            with kubernetes.writer("test", access) as writer:
                bad = db.snapshot()[kinds.Pods][ObjectKey("default", "default", "bad")]
                writer.patch("pods", bad, {"spec": {"nodeName": {"no": "text"}}})
                writer.patch("pods", ObjectKey("", "default", "good"), {"spec": {"nodeName": "node-2"}})
            snapshot = until(db, lambda s: s[kinds.Pods.by_node]["node-2"] and len(s[Rejected]))
            assert snapshot[kinds.Pods][bad.key] == bad
            (rejected,) = snapshot[Rejected].values()
            assert "spec.nodeName" in rejected.error
