{{/* Names and labels that all objects share. */}}

{{- define "statedb.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "statedb.labels" -}}
app.kubernetes.io/name: statedb
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "statedb.selector" -}}
app.kubernetes.io/name: statedb
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "statedb.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* The host name of the publisher's etcd; its certificate is for this name. */}}
{{- define "statedb.etcdHost" -}}
{{ include "statedb.name" . }}-etcd.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "statedb.offloaded" -}}
{{- if eq .Values.mode "offloaded" }}true{{ end -}}
{{- end -}}
