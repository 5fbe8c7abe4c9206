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
{{ include "statedb.probes" . }}
volumeMounts:
- {name: config, mountPath: /etc/statedb, readOnly: true}
{{- if .tls }}
- {name: tls, mountPath: /etc/statedb-tls, readOnly: true}
{{- end }}
{{- end -}}

{{/*
Probes ask inside the pod, since an agent listens on loopback only. `statedb health` would say more, but takes 0.3 s of
CPU to start; this takes a tenth of that.
*/}}
{{- define "statedb.ask" -}}
exec:
  command:
  - python3
  - -IS
  - -c
  - |
    import socket, sys
    with socket.create_connection(("127.0.0.1", 9974), 5) as agent:
        agent.sendall(b"GET {{ . }} HTTP/1.0\r\nHost: localhost\r\n\r\n")
        sys.exit(b" 200 " not in agent.recv(64))
{{- end -}}

{{- define "statedb.probes" -}}
startupProbe:
  {{- include "statedb.ask" "/livez" | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 30
livenessProbe:
  {{- include "statedb.ask" "/livez" | nindent 2 }}
  periodSeconds: 30
  timeoutSeconds: 10
  failureThreshold: 4
readinessProbe:
  {{- include "statedb.ask" "/readyz" | nindent 2 }}
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
