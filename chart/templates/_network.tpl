{{/*
Egress rules, from (list $ places): keys of `networkPolicy`. What isn't in use is left out, or has no ports (a rule
without ports would open them all), and the try-out's own servers are known.
*/}}
{{- define "slipway.egress" -}}
{{- $root := index . 0 -}}
{{- $values := $root.Values -}}
{{- $bundled := dict "database" "postgresql" "redis" "redis" -}}
{{- $used := dict "redis" $values.redis.existingSecret "collector" $values.tracing.endpoint "smtp" $values.smtp.existingSecret -}}
{{- range $place := index . 1 }}
{{- $component := index $bundled $place | default "" }}
{{- if and $component (not (include "slipway.bundled" (list $root $component))) }}{{ $component = "" }}{{ end }}
{{- $ports := empty $component | ternary (index $values.networkPolicy $place).ports (list (eq $place "redis" | ternary 6379 5432)) }}
{{- if and $ports (or $component (not (hasKey $used $place)) (index $used $place)) }}
- ports:
    {{- range $ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- if eq $place "dns" }}
    - {port: {{ . }}, protocol: UDP}
    {{- end }}
    {{- end }}
  {{- if $component }}
  to:
    - podSelector:
        matchLabels: {{- include "slipway.selector" (list $root $component) | nindent 10 }}
  {{- else if (index $values.networkPolicy $place).to }}
  to: {{- toYaml (index $values.networkPolicy $place).to | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Ingress rule of the ops port: Prometheus, our operator and our test. */}}
{{- define "slipway.opsIngress" -}}
- ports:
    - {port: ops, protocol: TCP}
  from:
    {{- with .Values.networkPolicy.opsFrom }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- range $component := list "operator" "test" }}
    - podSelector:
        matchLabels: {{- include "slipway.selector" (list $ $component) | nindent 10 }}
    {{- end }}
{{- end -}}
