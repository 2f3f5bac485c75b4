{{/*
The groups of rules, for PrometheusRule and ConfigMap alike: rules/ and alerts/, filled in. Namespace and release are labels
of every rule, so two releases never mix. `component: operator` or `worker`: only where there is one.
*/}}
{{- define "slipway.ruleGroups" -}}
{{- $settings := .Values.metrics.prometheusRule -}}
{{- $name := include "slipway.name" (list . "") -}}
{{- $labels := dict "namespace" .Release.Namespace "release" .Release.Name -}}
{{- $namespace := printf "namespace=%q" .Release.Namespace -}}
{{- $api := include "slipway.name" (list . "metrics") -}}
{{- $worker := include "slipway.name" (list . "worker-metrics") -}}
{{- $operator := include "slipway.name" (list . "operator-metrics") -}}
{{- /* `value` and the like are Prometheus' own templates. */}}
{{- $given := dict
  "namespace" $namespace
  "release" (printf "%s, release=%q" $namespace .Release.Name)
  "api" (printf "%s, service=%q" $namespace $api)
  "worker" (printf "%s, service=%q" $namespace $worker)
  "operator" (printf "%s, service=%q" $namespace $operator)
  "pods" (printf "%s, service=~\"%s|%s\"" $namespace $api $worker)
  "all" (printf "%s, service=~\"%s|%s|%s\"" $namespace $api $worker $operator)
  "names" (dict "api" $api "worker" $worker "operator" $operator)
  "leastFailures" $settings.leastFailures
  "value" "{{ $value | humanize }}"
  "duration" "{{ $value | humanizeDuration }}"
  "percentage" "{{ $value | humanizePercentage }}"
  "labels" (dict) -}}
{{- range list "dependency" "exported_namespace" "instance" "kind" "lease" "name" "service" "set" "slo_class" }}
{{- $_ := set $given.labels . (printf "{{ $labels.%s }}" .) }}
{{- end }}
{{- $rules := list }}
{{- range $path, $_ := .Files.Glob "rules/*.yaml" }}
{{- range tpl ($.Files.Get $path) $given | fromYamlArray }}
{{- $rules = append $rules (mustMergeOverwrite . (dict "labels" (merge (dict) $labels (.labels | default dict)))) }}
{{- end }}
{{- end }}
{{- range $path, $_ := .Files.Glob "alerts/*.yaml" }}
{{- $alert := base $path | trimSuffix ".yaml" }}
{{- $set := index $settings.alerts $alert | default (dict "enabled" false) }}
{{- if $set.enabled }}
{{- range tpl ($.Files.Get $path) (merge (dict "threshold" $set.threshold "for" $set.for) $given) | fromYamlArray }}
{{- if or (not .component) (and (eq .component "operator") (include "slipway.operator" $)) (and (eq .component "worker") $.Values.worker.enabled) }}
{{- $url := printf "%s/%s.md" (trimSuffix "/" $settings.runbookBaseUrl) $alert }}
{{- $rules = append $rules (merge (omit . "component" "labels") (dict
  "for" $set.for
  "labels" (merge (dict "severity" $set.severity) $labels (.labels | default dict) ($settings.alertLabels | default dict))
  "annotations" (dict "runbook_url" $url))) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
groups:
  - name: {{ printf "%s/%s" .Release.Namespace $name }}
    rules: {{- toYaml $rules | nindent 6 }}
{{- end -}}
