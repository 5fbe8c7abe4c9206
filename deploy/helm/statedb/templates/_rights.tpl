{{/*
The rules of a ClusterRole for somebody who fills these tables from the API server: list and watch, and nothing else.
tests/deploy takes each right away and looks at what breaks.
*/}}
{{- define "statedb.rules" -}}
{{- $cilium := list -}}
{{- if has "nodes" .tables }}{{ $cilium = append $cilium "ciliumnodes" }}{{ end -}}
{{- if has "identities" .tables }}{{ $cilium = append $cilium "ciliumidentities" }}{{ end -}}
{{- if has "endpoints" .tables }}{{ $cilium = append $cilium (ternary "ciliumendpointslices" "ciliumendpoints" .root.Values.endpointSlices) }}{{ end -}}
{{- if has "policies" .tables }}{{ $cilium = concat $cilium (list "ciliumnetworkpolicies" "ciliumclusterwidenetworkpolicies") }}{{ end -}}
{{- $core := list -}}
{{- if or (has "services" .tables) (has "backends" .tables) }}{{ $core = append $core "services" }}{{ end -}}
{{- if has "namespaces" .tables }}{{ $core = append $core "namespaces" }}{{ end -}}
{{- with $cilium }}
- apiGroups: [cilium.io]
  resources: {{ toJson . }}
  verbs: [list, watch]
{{- end }}
{{- with $core }}
- apiGroups: [""]
  resources: {{ toJson . }}
  verbs: [list, watch]
{{- end }}
{{- if or (has "services" .tables) (has "backends" .tables) }}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end }}
# The UID of this namespace tells a cluster from another one that was put in its place.
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [kube-system]
  verbs: [get]
{{- end -}}

{{/* ServiceAccount, ClusterRole and binding of one part. */}}
{{- define "statedb.account" -}}
{{- $name := printf "%s-%s" (include "statedb.name" .root) .part -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "statedb.labels" . | nindent 4 }}
automountServiceAccountToken: false # the pods that need the token say so
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .root.Release.Namespace }}-{{ $name }}
  labels: {{- include "statedb.labels" . | nindent 4 }}
rules: {{- include "statedb.rules" . }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .root.Release.Namespace }}-{{ $name }}
  labels: {{- include "statedb.labels" . | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ .root.Release.Namespace }}-{{ $name }}}
subjects:
- {kind: ServiceAccount, name: {{ $name }}, namespace: {{ .root.Release.Namespace }}}
{{- end -}}
