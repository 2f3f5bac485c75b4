{{/* The pod of a migration that the operator doesn't run, from (list $ service-account-name command). */}}
{{- define "slipway.migration" -}}
{{- $root := index . 0 -}}
{{- $migrations := $root.Values.migrations -}}
{{- $tls := $root.Values.database.tls -}}
{{- $demo := include "slipway.bundled" (list $root "postgresql") -}}
{{- $env := dict
  "SLIPWAY_DATABASE_CREDENTIALS_DIR" "/var/run/secrets/slipway/database"
  "SLIPWAY_DATABASE_TLS" ($tls.mode | default (empty $demo | ternary "verify-full" "disable"))
  "SLIPWAY_MIGRATION_BUDGET" $migrations.budgetSeconds -}}
{{- if $tls.existingSecret }}
{{- $_ := set $env "SLIPWAY_DATABASE_CA_FILE" "/var/run/secrets/slipway/database-ca/ca.crt" }}
{{- end }}
{{- with $root.Values.database.address }}
{{- $_ := set $env "SLIPWAY_DATABASE_URL" . }}
{{- end }}
{{- with include "slipway.grantTo" $root }}
{{- $_ := set $env "SLIPWAY_DATABASE_GRANT_TO" . }}
{{- end -}}
{{- include "slipway.pod" (list $root (index . 1)) }}
{{- with include "slipway.pullSecrets" $root }}
{{ . }}
{{- end }}
# A failed try's pod stays, with its log.
restartPolicy: Never
containers:
  - name: migrate
    image: {{ include "slipway.serviceImage" $root }}
    {{- include "slipway.container" $root | nindent 4 }}
    command: {{- toYaml (index . 2) | nindent 6 }}
    # Few settings, so that another number of pods, or another issuer, is no new migration.
    env: {{- include "slipway.envEntries" (list $root $env) | trim | nindent 6 }}
    resources: {{- toYaml $migrations.resources | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: database, mountPath: /var/run/secrets/slipway/database, readOnly: true}
      {{- if $tls.existingSecret }}
      - {name: database-ca, mountPath: /var/run/secrets/slipway/database-ca, readOnly: true}
      {{- end }}
      {{- if include "slipway.migrationScript" $root }}
      - {name: migration-script, mountPath: /var/run/slipway, readOnly: true}
      {{- end }}
      {{- with $root.Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
  - name: database
    secret:
      secretName: {{ include "slipway.ownerSecret" $root | quote }}
      defaultMode: {{ include "slipway.fileMode" $root }}
  {{- if $tls.existingSecret }}
  - name: database-ca
    secret:
      secretName: {{ $tls.existingSecret | quote }}
      defaultMode: {{ include "slipway.fileMode" $root }}
      items: [{key: {{ $tls.key | quote }}, path: ca.crt}]
  {{- end }}
  {{- with include "slipway.migrationScript" $root }}
  - name: migration-script
    configMap: {name: {{ . }}, defaultMode: 0444}
  {{- end }}
  {{- with $root.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* A Job's spec around such a pod, from (list $ pod pod-metadata tries). */}}
{{- define "slipway.migrationJob" -}}
backoffLimit: {{ int64 (index . 3) }}
ttlSecondsAfterFinished: {{ int64 (index . 0).Values.migrations.ttlSecondsAfterFinished }}
template:
  metadata: {{- index . 2 | nindent 4 }}
  spec: {{- index . 1 | nindent 4 }}
{{- end -}}
