{{/* The etcd beside each publisher: in memory, for holders of a certificate only. */}}
{{- define "statedb.etcd" -}}
{{- $etcd := .Values.publisher.etcd -}}
name: etcd
image: {{ printf "%s:%s" $etcd.image.repository $etcd.image.tag | quote }}
imagePullPolicy: {{ $etcd.image.pullPolicy }}
command: [etcd]
args:
- --name=publisher
- --data-dir=/var/run/etcd/data
- --listen-client-urls=https://0.0.0.0:2379
- --advertise-client-urls=https://{{ include "statedb.etcdHost" . }}:2379
- --listen-peer-urls=http://127.0.0.1:2380
- --initial-advertise-peer-urls=http://127.0.0.1:2380
- --initial-cluster=publisher=http://127.0.0.1:2380
- --initial-cluster-token=$(POD_UID) # replicas are told apart by it
- --listen-metrics-urls=http://0.0.0.0:2381
- --cert-file=/etc/etcd-tls/tls.crt
- --key-file=/etc/etcd-tls/tls.key
- --trusted-ca-file=/etc/etcd-tls/ca.crt
- --client-cert-auth
- --auto-compaction-retention=5m
- --quota-backend-bytes={{ int $etcd.quotaBytes }}
- --unsafe-no-fsync # the data is in memory
env:
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
ports:
- {name: etcd, containerPort: 2379}
- {name: etcd-metrics, containerPort: 2381}
securityContext: {{- include "statedb.containerSecurity" . | nindent 2 }}
resources: {{- toYaml $etcd.resources | nindent 2 }}
livenessProbe:
  httpGet: {path: /livez, port: etcd-metrics}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: etcd-metrics}
  periodSeconds: 5
  timeoutSeconds: 5
volumeMounts:
- {name: etcd-data, mountPath: /var/run/etcd}
- {name: etcd-tls, mountPath: /etc/etcd-tls, readOnly: true}
{{- end -}}
