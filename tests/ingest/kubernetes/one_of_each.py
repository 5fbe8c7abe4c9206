"""An object of each resource with typed rows, with most of their fields: what to create, and its status."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_NOW = "2026-01-02T03:04:05Z"
_MICRO = "2026-01-02T03:04:05.000006Z"
_SELECTOR = {
    "matchLabels": {"app": "web"},
    "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "Exists"}],
}
_LABELS = {"app": "web", "tier": "a", "x": ""}
_CONDITIONS = [{"type": "Ready", "status": "True", "reason": "Because", "message": "m", "lastTransitionTime": _NOW}]
_RESOURCES = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1"}}
_CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "1Gi"}},
    "storageClassName": "fast",
    "volumeName": "",
}
_POD: Json = {
    "nodeSelector": {"disk": "ssd"},
    "hostname": "web",
    "subdomain": "sub",
    "containers": [
        {
            "name": "main",
            "image": "web:1",
            "command": ["run"],
            "args": ["-v", "é"],
            "ports": [{"name": "http", "containerPort": 80}],
            "env": [
                {"name": "A", "value": "b"},
                {"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ],
            "resources": _RESOURCES,
            "volumeMounts": [{"name": "config", "mountPath": "/etc/web", "subPath": "a", "readOnly": True}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 3},
            "livenessProbe": {"httpGet": {"path": "/live", "port": 80}},
        }
    ],
    "initContainers": [{"name": "first", "image": "init:1"}],
    "volumes": [
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "secret", "secret": {"secretName": "keys"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
        {"name": "host", "hostPath": {"path": "/var", "type": ""}},
        {"name": "else", "emptyDir": {}},
    ],
    "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
    "imagePullSecrets": [{"name": "pull"}],
}
_TEMPLATE = {"metadata": {"labels": _LABELS, "annotations": {"a/b": "c"}}, "spec": _POD}
_JOB_TEMPLATE = {"metadata": {"labels": _LABELS}, "spec": {**_POD, "restartPolicy": "Never"}}
_JOB = {"parallelism": 2, "completions": 3, "completionMode": "Indexed", "backoffLimit": 1, "template": _JOB_TEMPLATE}
_STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}}
_STATE = {"terminated": {"exitCode": 1, "signal": 9, "reason": "Error", "startedAt": _NOW, "finishedAt": _NOW}}
_POD_STATUS = {
    "phase": "Running",
    "podIP": "10.0.0.1",
    "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
    "hostIP": "172.18.0.2",
    "hostIPs": [{"ip": "172.18.0.2"}],
    "qosClass": "Burstable",
    "startTime": _NOW,
    "conditions": _CONDITIONS,
    "containerStatuses": [
        {
            "name": "main",
            "image": "web:1",
            "imageID": "sha256:1",
            "containerID": "containerd://1",
            "ready": True,
            "started": True,
            "restartCount": 3,
            "state": {"running": {"startedAt": _NOW}},
            "lastState": _STATE,
        },
    ],
    "initContainerStatuses": [
        {
            "name": "first",
            "image": "i",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"waiting": {"reason": "r"}},
        }
    ],
}
_BACKEND = {"service": {"name": "web", "port": {"name": "http"}}}
_PEERS = [
    {"podSelector": _SELECTOR, "namespaceSelector": {}},
    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
]

OBJECTS: dict[str, Json] = {
    "pods": {"spec": {**_POD, "nodeName": "node-1"}},
    "services": {
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "web"},
            "ports": [
                {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"},
                {"name": "admin", "port": 81, "targetPort": 8081},
            ],
            "externalIPs": ["192.0.2.1"],
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
            "loadBalancerClass": "example.org/lb",
        }
    },
    "endpointslices": {
        "labels": {"kubernetes.io/service-name": "web"},
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.0.0.1"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "hostname": "web",
                "nodeName": "node-1",
                "zone": "z",
                "targetRef": {"kind": "Pod", "name": "web", "namespace": "default"},
            },
            {"addresses": ["10.0.0.2"]},
        ],
        "ports": [{"name": "http", "port": 80, "appProtocol": "http"}],
    },
    "nodes": {
        "spec": {
            "providerID": "kind://1",
            "podCIDR": "10.0.0.0/24",
            "podCIDRs": ["10.0.0.0/24", "fd00::/64"],
            "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}],
            "unschedulable": True,
        }
    },
    "namespaces": {},
    "configmaps": {"data": {"a": "1", "b": "é\u2028"}, "binaryData": {"c": "AAE="}, "immutable": True},
    "secrets": {"type": "Opaque", "data": {"key": "AAE="}, "immutable": True},
    "serviceaccounts": {
        "secrets": [{"name": "token"}],
        "imagePullSecrets": [{"name": "pull"}],
        "automountServiceAccountToken": False,
    },
    "persistentvolumeclaims": {"spec": _CLAIM},
    "persistentvolumes": {
        "spec": {
            "capacity": {"storage": "1.5Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "fast",
            "claimRef": {"namespace": "default", "name": "data"},
            "csi": {"driver": "example.org", "volumeHandle": "1"},
        }
    },
    "events": {
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web", "uid": "u", "apiVersion": "v1"},
        "type": "Warning",
        "reason": "Failed",
        "message": "m",
        "source": {"component": "kubelet", "host": "node-1"},
        "count": 3,
        "firstTimestamp": _NOW,
        "lastTimestamp": _NOW,
        "eventTime": None,
    },
    "deployments": {
        "spec": {"replicas": 0, "selector": _SELECTOR, "template": _TEMPLATE, "strategy": _STRATEGY, "paused": True}
    },
    "replicasets": {"spec": {"replicas": 2, "selector": _SELECTOR, "template": _TEMPLATE, "minReadySeconds": 1}},
    "statefulsets": {
        "spec": {
            "serviceName": "web",
            "selector": _SELECTOR,
            "template": _TEMPLATE,
            "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": {"a": "b"}}, "spec": _CLAIM}],
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
        }
    },
    "daemonsets": {"spec": {"selector": _SELECTOR, "template": _TEMPLATE, "updateStrategy": _STRATEGY}},
    "jobs": {"spec": {**_JOB, "suspend": True, "ttlSecondsAfterFinished": 0, "activeDeadlineSeconds": 9}},
    "cronjobs": {
        "spec": {
            "schedule": "* * * * *",
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 7,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": _JOB},
        }
    },
    "ingresses": {
        "spec": {
            "ingressClassName": "nginx",
            "defaultBackend": {"resource": {"apiGroup": "example.org", "kind": "Bucket", "name": "b"}},
            "rules": [
                {"host": "a.example.org", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": _BACKEND}]}}
            ],
            "tls": [{"hosts": ["a.example.org"], "secretName": "cert"}],
        }
    },
    "networkpolicies": {
        "spec": {
            "podSelector": _SELECTOR,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": _PEERS, "ports": [{"protocol": "TCP", "port": "http"}]}, {}],
            "egress": [{"to": _PEERS, "ports": [{"protocol": "UDP", "port": 53, "endPort": 54}]}],
        }
    },
    "leases": {
        "spec": {
            "holderIdentity": "me",
            "leaseDurationSeconds": 15,
            "acquireTime": _MICRO,
            "renewTime": _MICRO,
            "leaseTransitions": 2,
        }
    },
    "horizontalpodautoscalers": {
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 4,
        }
    },
    "customresourcedefinitions": {
        "spec": {
            "group": "typed.example.org",
            "scope": "Namespaced",
            "names": {
                "plural": "gadgets",
                "singular": "gadget",
                "kind": "Gadget",
                "shortNames": ["ga"],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "deprecated": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        }
    },
}
"""By the name of the resource: the object without its metadata; the labels, if there are any, belong there."""

STATUSES: dict[str, Json] = {
    "pods": _POD_STATUS,
    "services": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.org"}]}},
    "nodes": {
        "addresses": [{"type": "InternalIP", "address": "172.18.0.2"}, {"type": "Hostname", "address": "node-1"}],
        "capacity": {"cpu": "8", "memory": "1000Ki"},
        "allocatable": {"cpu": "7500m"},
        "conditions": _CONDITIONS,
    },
    "persistentvolumeclaims": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}},
    "persistentvolumes": {"phase": "Bound", "message": "m"},
    "deployments": {"observedGeneration": 1, "conditions": _CONDITIONS, "replicas": 2, "readyReplicas": 1},
    "replicasets": {"observedGeneration": 1, "replicas": 2, "readyReplicas": 1, "conditions": _CONDITIONS},
    "statefulsets": {
        "replicas": 1,
        "currentRevision": "a",
        "updateRevision": "b",
        "readyReplicas": 1,
        "availableReplicas": 1,
    },
    "daemonsets": {
        "currentNumberScheduled": 1,
        "desiredNumberScheduled": 2,
        "numberReady": 1,
        "numberMisscheduled": 0,
        "conditions": _CONDITIONS,
    },
    "jobs": {"active": 1, "ready": 0, "failed": 1},
    "cronjobs": {
        "active": [{"kind": "Job", "name": "j", "namespace": "default", "uid": "u"}],
        "lastScheduleTime": _NOW,
    },
    "ingresses": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    "horizontalpodautoscalers": {
        "currentReplicas": 1,
        "desiredReplicas": 2,
        "lastScaleTime": _NOW,
        "currentMetrics": None,
    },
}
"""By the name of the resource: a status to write."""
