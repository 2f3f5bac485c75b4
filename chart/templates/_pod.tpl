{{/* What the pods of API, worker and migration have in common, from (list $ service-account-name). */}}
{{- define "slipway.pod" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ index . 1 | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- include "slipway.podSecurity" $root | nindent 2 }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Pull secrets of any pod; nothing where there are none. */}}
{{- define "slipway.pullSecrets" -}}
{{- $names := list -}}
{{- range concat (.Values.global.imagePullSecrets | default list) (.Values.imagePullSecrets | default list) -}}
{{- if kindIs "map" . }}{{ $names = append $names .name }}{{ else }}{{ $names = append $names . }}{{ end -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What the containers of API, worker and migration have in common, beside the image. */}}
{{- define "slipway.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- include "slipway.containerSecurity" . | nindent 2 }}
{{- with .Values.extraEnvFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Security of a pod: without any id where the cluster chooses them. */}}
{{- define "slipway.podSecurity" -}}
{{- $context := .Values.podSecurityContext | default dict -}}
{{- range $id := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- if or (not $.Values.fixedIds) (kindIs "invalid" (index $context $id)) }}{{ $context = omit $context $id }}{{ end }}
{{- end }}
{{- toYaml $context -}}
{{- end -}}

{{- define "slipway.containerSecurity" -}}
{{- $context := .Values.securityContext | default dict -}}
{{- toYaml (.Values.fixedIds | ternary $context (omit $context "runAsUser" "runAsGroup")) -}}
{{- end -}}

{{/*
Security of a pod that runs another image than the service's, from (list $ id): the same, but never as root, and by that id,
the image's own, where the service's pods have the chart's 10001.
*/}}
{{- define "slipway.restrictedPod" -}}
{{- $context := include "slipway.podSecurity" (index . 0) | fromYaml -}}
{{- range $id := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- $given := index $context $id | default 0 | int }}
{{- if and (hasKey $context $id) (or (eq $given 10001) (and (eq $id "runAsUser") (eq $given 0))) }}
{{- $_ := set $context $id (index $ 1) }}
{{- end }}
{{- end }}
{{- /* Without what only large volumes of the service's pods want: the try-out's databases aren't restarted by an upgrade. */}}
{{- toYaml (merge (dict "runAsNonRoot" true) (omit $context "fsGroupChangePolicy")) -}}
{{- end -}}

{{/* Mode of mounted files: for the pod's group, or for all where it has none, as its user isn't known then. */}}
{{- define "slipway.fileMode" -}}
{{- hasKey (include "slipway.podSecurity" . | fromYaml) "fsGroup" | ternary "0440" "0444" -}}
{{- end -}}

{{- define "slipway.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
