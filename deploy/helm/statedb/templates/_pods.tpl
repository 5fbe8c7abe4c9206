{{/* What all pods have in common: no root, no capability, nothing written to the image. */}}

{{- define "statedb.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "statedb.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The container that runs `statedb run`; mounts: those of its certificates. */}}
{{- define "statedb.container" -}}
name: statedb
image: {{ include "statedb.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: [run, -c, /etc/statedb/agent.yaml]
securityContext: {{- include "statedb.containerSecurity" . | nindent 2 }}
resources: {{- toYaml .resources | nindent 2 }}
ports:
- {name: probes, containerPort: 9975} # health and metrics, nothing of the tables
{{ include "statedb.probes" . }}
volumeMounts:
- {name: config, mountPath: /etc/statedb, readOnly: true}
{{- if .tls }}
- {name: tls, mountPath: /etc/statedb-tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "statedb.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: probes}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /livez, port: probes}
  periodSeconds: 30
  timeoutSeconds: 10
  failureThreshold: 4
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}

{{- define "statedb.scheduling" -}}
{{- with .part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}
