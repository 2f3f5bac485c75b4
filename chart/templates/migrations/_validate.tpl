{{/* Faults of a migration by the operator, as a YAML list of sentences. */}}
{{- define "slipway.migrationFaults" -}}
{{- $values := .Values -}}
{{- $migrations := $values.migrations -}}
{{- $faults := list -}}
{{- $own := or $migrations.config $migrations.runner -}}
{{- if and $own (ne $migrations.mode "operator") }}
{{- $faults = append $faults "migrations.config and migrations.runner tell the operator how to migrate: set migrations.mode=operator, or leave them empty." }}
{{- end }}
{{- if eq $migrations.mode "operator" }}
{{- if and $migrations.config $migrations.runner }}
{{- $faults = append $faults "migrations.config is for plain Alembic, and migrations.runner for an image with commands of its own: keep one of the two." }}
{{- end }}
{{- if and (eq $values.application "other") (not $own) }}
{{- $faults = append $faults "The operator must be told how application=other migrates: set migrations.config to the path of its alembic.ini, or migrations.runner, or else migrations.mode to job or off." }}
{{- end }}
{{- $lock := include "slipway.seconds" $migrations.lockTimeout | int }}
{{- $statement := include "slipway.seconds" $migrations.statementTimeout | int }}
{{- if gt $statement (int $migrations.budgetSeconds) }}
{{- $faults = append $faults (printf "migrations.statementTimeout=%s is longer than migrations.budgetSeconds=%d, which ends the whole run: write a shorter one, or a larger budget." $migrations.statementTimeout (int $migrations.budgetSeconds)) }}
{{- end }}
{{- if or (lt $lock 1) (gt $lock 600) (ge $lock $statement) }}
{{- $faults = append $faults (printf "migrations.lockTimeout=%s must be between 1s and 10m, and shorter than migrations.statementTimeout=%s." $migrations.lockTimeout $migrations.statementTimeout) }}
{{- end }}
{{- end }}
{{- $operator := $values.operator -}}
{{- if and (eq $operator.scope "namespaces") (not $operator.namespaces) }}
{{- $faults = append $faults "operator.scope=namespaces needs operator.namespaces: those that it looks after beside the release's; or set operator.scope=namespaced." }}
{{- end }}
{{- if and $operator.namespaces (ne $operator.scope "namespaces") }}
{{- $faults = append $faults (printf "operator.namespaces is for operator.scope=namespaces, and operator.scope is %s: change the one or empty the other." $operator.scope) }}
{{- end }}
{{- if and $operator.services (not (include "slipway.operator" .)) }}
{{- $faults = append $faults "operator.services gives rights to the release's own operator, which isn't there: set operator.enabled=true, or give them where that operator is installed." }}
{{- end }}
{{- $served := include "slipway.operatorNamespaces" . | fromYamlArray -}}
{{- range $operator.services }}
{{- if not (or (eq $operator.scope "cluster") (has (.namespace | default $.Release.Namespace) $served)) }}
{{- $faults = append $faults (printf "operator.services names the namespace %s, which the operator doesn't look after: add it to operator.namespaces, with operator.scope=namespaces." .namespace) }}
{{- end }}
{{- if and (or .secrets .reads) (eq $operator.scope "cluster") }}
{{- $faults = append $faults "operator.services gives rights to Secrets by name, and operator.scope=cluster has them to all: leave secrets and reads out." }}
{{- end }}
{{- end }}
{{- toYaml $faults -}}
{{- end -}}
