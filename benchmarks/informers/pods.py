"""A pod as a web service has it: two containers with their probes, variables, volumes and statuses; 5 KB as served."""

from __future__ import annotations

from typing import Any

PODS_OF_A_NODE = 30

Object = dict[str, Any]
"""JSON."""


def pod(number: int, change: int = 0) -> Object:
    """One of thirty on its node. ``change`` makes its status another."""
    app = f"app-{number % 100}"
    metadata = {
        "name": f"pod-{number}",
        "labels": {"app": app, "pod-template-hash": f"{number % 100:08x}", "tier": "front"},
        "annotations": {"checksum/config": f"{number:064x}", "prometheus.io/port": "9090"},
        "ownerReferences": [_owner(app)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": _spec(number, app),
        "status": _status(number, change),
    }


def _owner(app: str) -> Object:
    uid = "3b5f1f5e-7f0a-4b0e-9a55-6f0d0c1b2a3d"
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-5d", "uid": uid, "controller": True}


def _spec(number: int, app: str) -> Object:
    return {
        "nodeName": f"node-{number // PODS_OF_A_NODE}",
        "containers": [_container("main", app, 8080), _container("proxy", "proxy", 9090)],
        "volumes": [{"name": "config", "configMap": {"name": f"{app}-config"}}, {"name": "cache", "emptyDir": {}}],
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        "terminationGracePeriodSeconds": 30,
    }


def _container(name: str, image: str, port: int) -> Object:
    return {
        "name": name,
        "image": f"registry.example.org/shop/{image}:1.27.3",
        "ports": [{"name": "http", "containerPort": port}],
        "env": [{"name": f"SETTING_{each}", "value": f"value-{each}"} for each in ("A", "B", "C")],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": port}, "periodSeconds": 10},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/app", "readOnly": True}],
    }


def _status(number: int, change: int) -> Object:
    address, since = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", "2026-11-01T10:00:00Z"
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "message": f"change {change}",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "hostIP": "172.18.0.2",
        "startTime": since,
        "conditions": [{"type": each, "status": "True", "lastTransitionTime": since} for each in kinds],
        "containerStatuses": [_container_status(each, since) for each in ("main", "proxy")],
    }


def _container_status(name: str, since: str) -> Object:
    image = "registry.example.org/shop/app"
    return {
        "name": name,
        "ready": True,
        "started": True,
        "restartCount": 0,
        "image": f"{image}:1.27.3",
        "imageID": f"{image}@sha256:{'ab' * 32}",
        "containerID": f"containerd://{'cd' * 32}",
        "state": {"running": {"startedAt": since}},
    }
