{{/*
Settings of API and worker, from (list $ folders shutdown-seconds). An image that isn't Slipway's may ignore them.
No secret is here: those are files.
*/}}
{{- define "slipway.env" -}}
{{- $root := index . 0 -}}
{{- $folders := index . 1 -}}
{{- $values := $root.Values -}}
{{- $secrets := "/var/run/secrets/slipway" -}}
{{- /* Ours takes it for both families; others that read it, such as uvicorn by itself, for IPv6 alone. */ -}}
{{- $everywhere := eq $values.application "slipway" | ternary "::" "0.0.0.0" -}}
{{- $env := dict
  "SLIPWAY_ENVIRONMENT" ($values.demo | ternary "development" $values.environment)
  "SLIPWAY_HOST" $everywhere
  "SLIPWAY_PORT" $values.ports.http
  "SLIPWAY_LOG_LEVEL" $values.logLevel
  "SLIPWAY_DATABASE_POOL_SIZE" $values.database.poolSize
  "SLIPWAY_DATABASE_MAX_OVERFLOW" $values.database.maxOverflow
  "SLIPWAY_DATABASE_TLS" ($values.database.tls.mode | default (empty (include "slipway.bundled" (list $root "postgresql")) | ternary "verify-full" "disable"))
  "SLIPWAY_DRAIN" $values.rollout.drainSeconds
  "SLIPWAY_SHUTDOWN_TIMEOUT" (index . 2) -}}
{{- /* Without Redis each pod enforces its share of a limit. Shares for the most pods there may be: with fewer, a user
       gets less than the limit, never more. */ -}}
{{- $_ := set $env "SLIPWAY_RATE_LIMIT_REPLICAS"
  ($values.autoscaling.enabled | ternary $values.autoscaling.maxReplicas (max 1 (int $values.replicas))) -}}
{{- /* The operator's Jobs take their environment from here. */ -}}
{{- if eq $values.migrations.mode "operator" }}
{{- with include "slipway.grantTo" $root }}
{{- $_ := set $env "SLIPWAY_DATABASE_GRANT_TO" . }}
{{- end }}
{{- end }}
{{- with $values.database.address }}
{{- $_ := set $env "SLIPWAY_DATABASE_URL" . }}
{{- end }}
{{- with $values.ports.ops }}
{{- $_ := set $env "SLIPWAY_OPS_HOST" $everywhere }}
{{- $_ := set $env "SLIPWAY_OPS_PORT" . }}
{{- end }}
{{- with $values.issuer | default ($values.demo | ternary (printf "http://%s.%s" (include "slipway.name" (list $root "")) $root.Release.Namespace) "") }}
{{- $_ := set $env "SLIPWAY_ISSUER" . }}
{{- end }}
{{- with $values.passwordResetUrl }}
{{- $_ := set $env "SLIPWAY_PASSWORD_RESET_URL" . }}
{{- end }}
{{- with $values.emailChangeUrl }}
{{- $_ := set $env "SLIPWAY_EMAIL_CHANGE_URL" . }}
{{- end }}
{{- with $values.trustedProxies }}
{{- $_ := set $env "SLIPWAY_TRUSTED_PROXIES" (join "," .) }}
{{- end }}
{{- with $values.passwordWorkers }}
{{- $_ := set $env "SLIPWAY_PASSWORD_WORKERS" . }}
{{- end }}
{{- with $values.tracing.endpoint }}
{{- $_ := set $env "SLIPWAY_OTLP_ENDPOINT" . }}
{{- $_ := set $env "SLIPWAY_TRACE_SAMPLE_RATIO" $values.tracing.sampleRatio }}
{{- end }}
{{- with $values.smtp.from }}
{{- $_ := set $env "SLIPWAY_MAIL_FROM" . }}
{{- end }}
{{- range $folder, $name := dict
  "database" "SLIPWAY_DATABASE_CREDENTIALS_DIR"
  "signing-keys" "SLIPWAY_SIGNING_KEYS_DIR"
  "admin" "SLIPWAY_ADMIN_CREDENTIALS_DIR"
  "settings" "SLIPWAY_SECRETS_DIR" }}
{{- if hasKey $folders $folder }}
{{- $_ := set $env $name (printf "%s/%s" $secrets $folder) }}
{{- end }}
{{- end }}
{{- if hasKey $folders "database-ca" }}
{{- $_ := set $env "SLIPWAY_DATABASE_CA_FILE" (printf "%s/database-ca/ca.crt" $secrets) }}
{{- end }}
{{- include "slipway.envEntries" (list $root $env) -}}
{{- end -}}

{{/*
Entries of a container's `env`, from (list $ map): the map's, but for those that `extraEnv` says otherwise. Numbers as
JSON writes them: those of a values file are floats, which else would read 1e+06.
*/}}
{{- define "slipway.envEntries" -}}
{{- $extra := (index . 0).Values.extraEnv | default list -}}
{{- $env := index . 1 -}}
{{- range $extra }}{{ $env = omit $env .name }}{{ end -}}
{{- range $name, $value := $env -}}
- name: {{ $name }}
  value: {{ kindIs "string" $value | ternary $value ($value | toJson) | quote }}
{{ end }}
{{- with $extra }}
{{- toYaml . }}
{{- end }}
{{- end -}}
