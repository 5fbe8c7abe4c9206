{{/* The configuration files of agent and publisher. `statedb check` accepts them (tests/deploy). */}}

{{- define "statedb.allTables" -}}
nodes identities endpoints services backends namespaces policies
{{- end -}}

{{- define "statedb.agentTables" -}}
{{- if include "statedb.offloaded" . }}policies namespaces{{ else }}{{ include "statedb.allTables" . }}{{ end -}}
{{- end -}}

{{- define "statedb.publisherTables" -}}
nodes identities endpoints services backends namespaces
{{- end -}}

{{- define "statedb.commonConfig" -}}
cluster: {name: {{ .Values.cluster.name }}, id: {{ .Values.cluster.id }}}
http: {listen: "127.0.0.1:9974", probes: "0.0.0.0:9975"}
log-format: {{ .Values.logFormat }}
log-level: {{ .Values.logLevel }}
{{- end -}}

{{- define "statedb.kubernetesSource" -}}
{{- $source := dict "tables" .tables -}}
{{- if and .root.Values.endpointSlices (has "endpoints" .tables) }}{{ $_ := set $source "endpoint-slices" true }}{{ end -}}
{{ toYaml $source }}
{{- end -}}

{{- define "statedb.tlsFiles" -}}
{ca-file: /etc/statedb-tls/ca.crt, cert-file: /etc/statedb-tls/tls.crt, key-file: /etc/statedb-tls/tls.key}
{{- end -}}

{{- define "statedb.agentConfig" -}}
{{ include "statedb.commonConfig" . }}
ingest:
  {{- if include "statedb.offloaded" . }}
  clustermesh:
    endpoints: ["https://{{ include "statedb.etcdHost" . }}:2379"]
    tls: {{ include "statedb.tlsFiles" . }}
  {{- end }}
  kubernetes: {{- include "statedb.kubernetesSource" (dict "root" . "tables" (splitList " " (include "statedb.agentTables" .))) | nindent 4 }}
{{- with .Values.agent.consumers }}
consumers: {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "statedb.publisherConfig" -}}
{{ include "statedb.commonConfig" . }}
ingest:
  kubernetes: {{- include "statedb.kubernetesSource" (dict "root" . "tables" (splitList " " (include "statedb.publisherTables" .))) | nindent 4 }}
consumers:
- publisher: {{- toYaml (mergeOverwrite (include "statedb.publisherOptions" . | fromYaml) .Values.publisher.config) | nindent 4 }}
{{- end -}}

{{- define "statedb.publisherOptions" -}}
etcd:
  endpoints: ["https://127.0.0.1:2379"]
  tls: {{ include "statedb.tlsFiles" . }}
users: {remotes: [agent]} # agents may read what the publisher writes, and nothing else
{{- end -}}
