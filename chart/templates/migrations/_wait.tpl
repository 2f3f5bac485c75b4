{{/* What plans, runs and waits, without its subcommand, as a YAML list; empty for an image that has no such thing. */}}
{{- define "slipway.runner" -}}
{{- $runner := .Values.migrations.runner | default (eq .Values.application "slipway" | ternary (list "slipway" "db") list) -}}
{{- with .Values.migrations.config }}
{{- $runner = list "python" "/var/run/slipway/plain_alembic.py" (printf "--config=%s" .) }}
{{- end -}}
{{- toYaml $runner -}}
{{- end -}}

{{/* What pods wait by in their init container, as a YAML list; nothing where they don't. */}}
{{- define "slipway.waitCommand" -}}
{{- $migrations := .Values.migrations -}}
{{- $command := append (include "slipway.runner" . | fromYamlArray | default (list "slipway" "db")) "wait" -}}
{{- if not (kindIs "invalid" $migrations.waitCommand) }}{{ $command = $migrations.waitCommand }}{{ end -}}
{{- if and $command (ne $migrations.mode "off") }}{{ toYaml $command }}{{ end -}}
{{- end -}}

{{/*
The init container that waits for the schema, from (list $ command folders shutdown-seconds). With plain Alembic it runs
the operator's script, out of a ConfigMap that the operator makes: until then the pod waits for that.
*/}}
{{- define "slipway.wait" -}}
{{- $root := index . 0 -}}
{{- $folders := index . 2 -}}
name: wait
image: {{ include "slipway.serviceImage" $root }}
{{ include "slipway.container" $root }}
command: {{- index . 1 | nindent 2 }}
env: {{- include "slipway.env" (list $root $folders (index . 3)) | trim | nindent 2 }}
resources: {{- toYaml $root.Values.migrations.resources | nindent 2 }}
volumeMounts: {{- include "slipway.mounts" (list $root $folders) | nindent 2 }}
  {{- if include "slipway.migrationScript" $root }}
  - {name: migration-script, mountPath: /var/run/slipway, readOnly: true}
  {{- end }}
{{- end -}}

{{/* Name of the ConfigMap with the operator's script for plain Alembic; nothing where none is used. */}}
{{- define "slipway.migrationScript" -}}
{{- if and (eq .Values.migrations.mode "operator") .Values.migrations.config -}}
{{- include "slipway.name" (list . "") }}-script
{{- end -}}
{{- end -}}

{{/* What the pods of the operator's Jobs are found by: its own labels, never those that select the service's pods. */}}
{{- define "slipway.migrationSelector" -}}
slipway.dev/schemamigration: {{ include "slipway.name" (list . "") }}
{{- end -}}

{{/* Seconds of a duration such as 1h30m. */}}
{{- define "slipway.seconds" -}}
{{- $parts := dict "h" 3600 "m" 60 "s" 1 -}}
{{- $sum := 0 -}}
{{- range $unit, $seconds := $parts -}}
{{- $sum = add $sum (mul $seconds (regexFind (printf "[0-9]+%s" $unit) (toString $) | trimSuffix $unit | int)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}
