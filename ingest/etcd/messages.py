"""The messages of etcd's API that we use, as classes of the protobuf runtime, and the methods that take them.

Declared here by field number from etcd's documented API (etcd-io/etcd api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto),
in a descriptor pool of our own: generated modules of other packages in the same process share the global pool and
refuse a second definition, and are tied to one major version of the runtime besides. Fields that we never read are
left out, which protobuf allows. So are reads in a transaction, because they can crash a server: see `Client.get_many`.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "statedb.etcd"

_MESSAGES: dict[str, str] = {
    "KeyValue": "1 key bytes, 2 create_revision int64, 3 mod_revision int64, 4 version int64, 5 value bytes, "
    "6 lease int64",
    "Event": "1 type int32, 2 kv KeyValue, 3 prev_kv KeyValue",
    "ResponseHeader": "1 cluster_id uint64, 2 member_id uint64, 3 revision int64, 4 raft_term uint64",
    "RangeRequest": "1 key bytes, 2 range_end bytes, 3 limit int64, 4 revision int64, 7 serializable bool, "
    "8 keys_only bool, 9 count_only bool",
    "RangeResponse": "1 header ResponseHeader, 2 kvs KeyValue*, 3 more bool, 4 count int64",
    "PutRequest": "1 key bytes, 2 value bytes, 3 lease int64, 4 prev_kv bool",
    "PutResponse": "1 header ResponseHeader, 2 prev_kv KeyValue",
    "DeleteRangeRequest": "1 key bytes, 2 range_end bytes, 3 prev_kv bool",
    "DeleteRangeResponse": "1 header ResponseHeader, 2 deleted int64, 3 prev_kvs KeyValue*",
    "RequestOp": "2 request_put PutRequest|, 3 request_delete_range DeleteRangeRequest|",
    "Compare": "1 result int32, 2 target int32, 3 key bytes, 4 version int64|, 5 create_revision int64|, "
    "6 mod_revision int64|, 7 value bytes|, 8 lease int64|",
    "TxnRequest": "1 compare Compare*, 2 success RequestOp*, 3 failure RequestOp*",
    "TxnResponse": "1 header ResponseHeader, 2 succeeded bool",
    "CompactionRequest": "1 revision int64, 2 physical bool",
    "CompactionResponse": "1 header ResponseHeader",
    "WatchCreateRequest": "1 key bytes, 2 range_end bytes, 3 start_revision int64, 4 progress_notify bool, "
    "6 prev_kv bool, 7 watch_id int64, 8 fragment bool",
    "WatchRequest": "1 create_request WatchCreateRequest|",
    "WatchResponse": "1 header ResponseHeader, 2 watch_id int64, 3 created bool, 4 canceled bool, "
    "5 compact_revision int64, 6 cancel_reason string, 7 fragment bool, 11 events Event*",
    "LeaseGrantRequest": "1 TTL int64, 2 ID int64",
    "LeaseGrantResponse": "1 header ResponseHeader, 2 ID int64, 3 TTL int64, 4 error string",
    "LeaseRevokeRequest": "1 ID int64",
    "LeaseRevokeResponse": "1 header ResponseHeader",
    "LeaseTimeToLiveRequest": "1 ID int64",
    "LeaseTimeToLiveResponse": "1 header ResponseHeader, 2 ID int64, 3 TTL int64, 4 grantedTTL int64",
    "LeaseKeepAliveRequest": "1 ID int64",
    "LeaseKeepAliveResponse": "1 header ResponseHeader, 2 ID int64, 3 TTL int64",
    "AuthenticateRequest": "1 name string, 2 password string",
    "AuthenticateResponse": "1 header ResponseHeader, 2 token string",
    "AuthEnableRequest": "",
    "AuthEnableResponse": "1 header ResponseHeader",
    "UserAddOptions": "1 no_password bool",
    "AuthUserAddRequest": "1 name string, 2 password string, 3 options UserAddOptions",
    "AuthUserAddResponse": "1 header ResponseHeader",
    "AuthUserGetRequest": "1 name string",
    "AuthUserGetResponse": "1 header ResponseHeader, 2 roles string*",
    "AuthUserListRequest": "",
    "AuthUserListResponse": "1 header ResponseHeader, 2 users string*",
    "AuthUserDeleteRequest": "1 name string",
    "AuthUserDeleteResponse": "1 header ResponseHeader",
    "AuthUserGrantRoleRequest": "1 user string, 2 role string",
    "AuthUserGrantRoleResponse": "1 header ResponseHeader",
    "AuthUserRevokeRoleRequest": "1 name string, 2 role string",
    "AuthUserRevokeRoleResponse": "1 header ResponseHeader",
    "Permission": "1 permType int32, 2 key bytes, 3 range_end bytes",
    "AuthRoleAddRequest": "1 name string",
    "AuthRoleAddResponse": "1 header ResponseHeader",
    "AuthRoleGetRequest": "1 role string",
    "AuthRoleGetResponse": "1 header ResponseHeader, 2 perm Permission*",
    "AuthRoleListRequest": "",
    "AuthRoleListResponse": "1 header ResponseHeader, 2 roles string*",
    "AuthRoleGrantPermissionRequest": "1 name string, 2 perm Permission",
    "AuthRoleGrantPermissionResponse": "1 header ResponseHeader",
    "AuthRoleRevokePermissionRequest": "1 role string, 2 key bytes, 3 range_end bytes",
    "AuthRoleRevokePermissionResponse": "1 header ResponseHeader",
    "StatusRequest": "",
    "StatusResponse": "1 header ResponseHeader, 2 version string, 3 dbSize int64, 4 leader uint64",
}
"""message -> its fields: number, name, type; ``*`` repeated, ``|`` of the message's one oneof. Enums are int32."""

_SCALARS = {
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
}


def _add_field(message: Any, text: str) -> None:
    number, name, kind = text.split()
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
    if kind.endswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="one")
        field.oneof_index = 0
    kind = kind.rstrip("*|")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="statedb/etcd.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            _add_field(message, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


CLASSES: dict[str, Any] = _classes()
"""The classes by name (Any: made at run time; what leaves the client is typed by the protocols of ``types``)."""

METHODS = {
    "Range": "KV",
    "Put": "KV",
    "DeleteRange": "KV",
    "Txn": "KV",
    "Compact": "KV",
    "LeaseGrant": "Lease",
    "LeaseRevoke": "Lease",
    "LeaseTimeToLive": "Lease",
    "Authenticate": "Auth",
    "AuthEnable": "Auth",
    "UserAdd": "Auth",
    "UserGet": "Auth",
    "UserList": "Auth",
    "UserDelete": "Auth",
    "UserGrantRole": "Auth",
    "UserRevokeRole": "Auth",
    "RoleAdd": "Auth",
    "RoleGet": "Auth",
    "RoleList": "Auth",
    "RoleGrantPermission": "Auth",
    "RoleRevokePermission": "Auth",
    "Status": "Maintenance",
}
"""The unary methods that we call, and their services."""


def name_of_message(method: str) -> str:
    """How the messages of a unary method begin."""
    if method.startswith(("User", "Role")):
        return f"Auth{method}"
    return "Compaction" if method == "Compact" else method
