{{/*
The folders of secret files that API and worker see under /var/run/secrets/slipway, each with the projected sources
that it is made of. Files, so that a change reaches the process without a restart; those in `settings` are named like
the setting. Keys and logins that rotate are made by the operator: until then the pod's containers wait for their volumes.
*/}}
{{- define "slipway.secrets" -}}
{{- $folders := dict -}}
{{- $demo := dict -}}
{{- range $name, $made := dict
  "database" (include "slipway.bundled" (list . "postgresql"))
  "redis" (include "slipway.bundled" (list . "redis"))
  "signing-keys" .Values.demo
  "admin" .Values.demo }}
{{- $_ := set $demo $name (empty $made | ternary "" (include "slipway.name" (list $ $name))) }}
{{- end }}
{{- if include "slipway.keyRing" . }}
{{- $_ := set $demo "signing-keys" (include "slipway.name" (list . "keyring")) }}
{{- end }}
{{- if include "slipway.databaseLogin" . }}
{{- $_ := set $demo "database" (include "slipway.name" (list . "login")) }}
{{- end }}
{{- range $name, $secret := dict
  "database" (.Values.database.existingSecret | default $demo.database)
  "signing-keys" (.Values.signingKeys.existingSecret | default (index $demo "signing-keys"))
  "admin" (.Values.admin.existingSecret | default $demo.admin) }}
{{- if $secret }}
{{- $_ := set $folders $name (list (dict "secret" (dict "name" $secret))) }}
{{- end }}
{{- end }}
{{- with .Values.database.tls }}
{{- if .existingSecret }}
{{- $item := dict "key" .key "path" "ca.crt" }}
{{- $_ := set $folders "database-ca" (list (dict "secret" (dict "name" .existingSecret "items" (list $item)))) }}
{{- end }}
{{- end }}
{{- $settings := list }}
{{- with .Values.redis.existingSecret | default $demo.redis }}
{{- $item := dict "key" $.Values.redis.key "path" "slipway_redis_url" }}
{{- $settings = append $settings (dict "secret" (dict "name" . "items" (list $item))) }}
{{- end }}
{{- with .Values.smtp.existingSecret }}
{{- $item := dict "key" $.Values.smtp.key "path" "slipway_smtp_url" }}
{{- $settings = append $settings (dict "secret" (dict "name" . "items" (list $item))) }}
{{- end }}
{{- with $settings }}
{{- $_ := set $folders "settings" . }}
{{- end }}
{{- toYaml $folders }}
{{- end -}}

{{/* Mounts of those folders, from (list $ folders). */}}
{{- define "slipway.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- range $name, $_ := index . 1 }}
- {name: {{ $name }}, mountPath: /var/run/secrets/slipway/{{ $name }}, readOnly: true}
{{- end }}
{{- with (index . 0).Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Volumes of those folders, from (list $ folders). */}}
{{- define "slipway.volumes" -}}
{{- $root := index . 0 -}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- range $name, $sources := index . 1 }}
- name: {{ $name }}
  projected:
    defaultMode: {{ include "slipway.fileMode" $root }}
    sources: {{- toYaml $sources | nindent 6 }}
{{- end }}
{{- with include "slipway.migrationScript" $root }}
- name: migration-script
  configMap: {name: {{ . }}, defaultMode: 0444}
{{- end }}
{{- with $root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
