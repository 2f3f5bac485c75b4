{{/*
What the schema can't see: values that don't go together. All faults at once, each a sentence that says what to write.
*/}}
{{- define "slipway.faults" -}}
{{- $values := .Values -}}
{{- $faults := list -}}
{{- $postgresql := include "slipway.bundled" (list . "postgresql") -}}
{{- $redis := include "slipway.bundled" (list . "redis") -}}
{{- $production := and (eq $values.environment "production") (not $values.demo) -}}
{{- $slipway := eq $values.application "slipway" -}}

{{- if and $slipway (not $postgresql) (not $values.database.existingSecret) (not (include "slipway.databaseLogin" .)) }}
{{- $faults = append $faults "No database: set database.existingSecret to a Secret with host, port, database, username and password (or uri), or databaseLogin.enabled=true to have that login made, or demo=true to try it out." }}
{{- end }}
{{- if and $postgresql $values.database.existingSecret }}
{{- $faults = append $faults "Two databases: database.existingSecret names one, and the try-out's runs too. Set postgresql.enabled=false, or leave database.existingSecret empty." }}
{{- end }}
{{- if and $redis $values.redis.existingSecret }}
{{- $faults = append $faults "Two Redis: redis.existingSecret names one, and the try-out's runs too. Set redis.enabled=false, or leave redis.existingSecret empty." }}
{{- end }}
{{- range $name, $bundled := dict "postgresql" $postgresql "redis" $redis }}
{{- if and $bundled $production $slipway }}
{{- $faults = append $faults (printf "%s.enabled is for trying out: everyone knows its password, and the service refuses it in production. Name a Secret of your own in %s.existingSecret, or set environment=development." $name (eq $name "redis" | ternary "redis" "database")) }}
{{- end }}
{{- end }}
{{- if and $slipway (not $values.demo) (not $values.signingKeys.existingSecret) (not (include "slipway.keyRing" .)) }}
{{- $faults = append $faults "No signing keys: set signingKeys.existingSecret to a Secret with jwks.json and signing, as `slipway keys generate` makes them, or keyRing.enabled=true to have them made. (For an image that isn't Slipway: application=other.)" }}
{{- end }}
{{- if and $slipway $production }}
{{- if not (hasPrefix "https://" $values.issuer) }}
{{- $faults = append $faults "In production issuer must be the public https:// address of the API, such as issuer=https://api.example.com." }}
{{- end }}
{{- if not (and (hasPrefix "https://" $values.passwordResetUrl) (contains "{token}" $values.passwordResetUrl)) }}
{{- $faults = append $faults "In production passwordResetUrl must be the https:// address of your page with {token} in it, such as passwordResetUrl=https://www.example.com/reset?token={token}." }}
{{- end }}
{{- if and $values.emailChangeUrl (not (and (hasPrefix "https://" $values.emailChangeUrl) (contains "{token}" $values.emailChangeUrl))) }}
{{- $faults = append $faults "In production emailChangeUrl must be the https:// address of your page with {token} in it, such as emailChangeUrl=https://www.example.com/confirm?token={token}, or empty." }}
{{- end }}
{{- end }}

{{- if and $values.metrics.dashboards.enabled (not $values.metrics.prometheusRule.enabled) (not $values.metrics.rulesConfigMap.enabled) }}
{{- $faults = append $faults "metrics.dashboards.enabled without rules shows nothing: set metrics.prometheusRule.enabled=true, or metrics.rulesConfigMap.enabled=true for a Prometheus without operator." }}
{{- end }}

{{- $mode := $values.migrations.mode }}
{{- if ne $mode "off" }}
{{- if not (or $postgresql $values.migrations.existingSecret) }}
{{- $faults = append $faults (printf "migrations.mode=%s needs migrations.existingSecret: a Secret with the login of the schema's owner. Where the service's own login owns the schema, name its Secret here too; where somebody else runs migrations, set migrations.mode=off." $mode) }}
{{- end }}
{{- if and $values.migrations.existingSecret (eq $values.migrations.existingSecret $values.database.existingSecret) $values.migrations.grantTo }}
{{- $faults = append $faults "migrations.grantTo gives rights to another role than the schema's owner, but the service logs in as the owner: leave migrations.grantTo empty, or give the service a login of its own." }}
{{- end }}
{{- end }}
{{- $faults = concat $faults (include "slipway.migrationFaults" . | fromYamlArray) }}
{{- $faults = concat $faults (include "slipway.rotationFaults" . | fromYamlArray) }}

{{- $rollout := $values.rollout }}
{{- $least := add $rollout.preStopSeconds $rollout.drainSeconds $rollout.shutdownSeconds 5 | int }}
{{- if and $rollout.terminationGracePeriodSeconds (lt (int $rollout.terminationGracePeriodSeconds) $least) }}
{{- $faults = append $faults (printf "rollout.terminationGracePeriodSeconds=%d is less than preStop %d + drain %d + shutdown %d + 5 = %d seconds: pods would be killed while they serve. Write %d or more, or null to have it computed." (int $rollout.terminationGracePeriodSeconds) (int $rollout.preStopSeconds) (int $rollout.drainSeconds) (int $rollout.shutdownSeconds) $least $least) }}
{{- end }}
{{- if and $slipway $production }}
{{- $deadline := 10.0 }}
{{- range $values.extraEnv }}
{{- if eq .name "SLIPWAY_REQUEST_DEADLINE" }}{{ $deadline = .value | default 0 | float64 }}{{ end }}
{{- end }}
{{- range $name, $seconds := dict "rollout" $rollout.shutdownSeconds "worker" ($values.worker.enabled | ternary $values.worker.shutdownSeconds $deadline) }}
{{- if lt (float64 $seconds) $deadline }}
{{- $faults = append $faults (printf "%s.shutdownSeconds=%v is less than a request may take (SLIPWAY_REQUEST_DEADLINE, %v seconds), which the service refuses in production. Write %v or more, or a shorter deadline in extraEnv." $name $seconds $deadline $deadline) }}
{{- end }}
{{- end }}
{{- end }}
{{- $budget := int $values.migrations.budgetSeconds }}
{{- if and $rollout.progressDeadlineSeconds (ne $mode "off") (le (int $rollout.progressDeadlineSeconds) $budget) }}
{{- $faults = append $faults (printf "rollout.progressDeadlineSeconds=%d is not more than migrations.budgetSeconds=%d: a rollout that waits for its migration would count as failed. Write more than %d, or null to have it computed." (int $rollout.progressDeadlineSeconds) $budget $budget) }}
{{- end }}
{{- if and $rollout.progressDeadlineSeconds (le (int $rollout.progressDeadlineSeconds) (int $rollout.minReadySeconds)) }}
{{- $faults = append $faults (printf "rollout.progressDeadlineSeconds=%d must be more than rollout.minReadySeconds=%d." (int $rollout.progressDeadlineSeconds) (int $rollout.minReadySeconds)) }}
{{- end }}

{{- $autoscaling := $values.autoscaling }}
{{- $pods := $autoscaling.enabled | ternary $autoscaling.maxReplicas $values.replicas | int }}
{{- $workers := $values.worker.enabled | ternary (add1 $values.worker.replicas) 0 | int }}
{{- $login := include "slipway.databaseLogin" . }}
{{- /* A pod tries a new login beside its pool, in which the old one's busy connections still are. */}}
{{- $each := add $values.database.poolSize $values.database.maxOverflow (empty $login | ternary 0 1) | int }}
{{- $runner := ne $mode "off" | ternary 2 0 }}
{{- $operator := empty $login | ternary 0 1 }}
{{- $reserved := int $values.database.reservedConnections }}
{{- $held := mul (add $pods 1 $workers) $each | int }}
{{- $needed := add $held $runner $operator $reserved | int }}
{{- $sum := printf "(%d API pods + 1 in a rollout + %d of the worker) * (pool %d + overflow %d%s)" $pods $workers (int $values.database.poolSize) (int $values.database.maxOverflow) (empty $login | ternary "" " + 1 while the login changes") }}
{{- if and $slipway (gt $needed (int $values.database.maxConnections)) }}
{{- $faults = append $faults (printf "The database would run out of connections: %s + %d of the migration%s + %d in database.reservedConnections = %d, but database.maxConnections=%d. Write fewer pods, or less in database.poolSize and database.maxOverflow, or raise the server's limit and say so." $sum $runner (empty $login | ternary "" " + 1 of the operator") $reserved $needed (int $values.database.maxConnections)) }}
{{- end }}
{{- $limit := $values.databaseLogin.connectionLimit }}
{{- if and $slipway $login $limit (lt (int $limit) $held) }}
{{- $faults = append $faults (printf "databaseLogin.connectionLimit=%d is less than what pods may hold by one role: %s = %d. Write that or more, or null." (int $limit) $sum $held) }}
{{- end }}
{{- if $autoscaling.enabled }}
{{- if gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas) }}
{{- $faults = append $faults (printf "autoscaling.minReplicas=%d is more than autoscaling.maxReplicas=%d." (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas)) }}
{{- end }}
{{- range $resource, $target := dict "cpu" $autoscaling.targetCPUUtilizationPercentage "memory" $autoscaling.targetMemoryUtilizationPercentage }}
{{- if and $target (not (dig "requests" $resource "" ($values.resources | default dict))) }}
{{- $faults = append $faults (printf "The autoscaler compares %s with what is requested, but resources.requests.%s is missing: set it." $resource $resource) }}
{{- end }}
{{- end }}
{{- if not (or $autoscaling.targetCPUUtilizationPercentage $autoscaling.targetMemoryUtilizationPercentage) }}
{{- $faults = append $faults "autoscaling.enabled needs a target: set autoscaling.targetCPUUtilizationPercentage or autoscaling.targetMemoryUtilizationPercentage." }}
{{- end }}
{{- end }}

{{- $limit := dig "limits" "memory" "" ($values.resources | default dict) | toString }}
{{- $mebibytes := 0 }}
{{- if hasSuffix "Mi" $limit }}{{ $mebibytes = trimSuffix "Mi" $limit | int }}{{ end }}
{{- if hasSuffix "Gi" $limit }}{{ $mebibytes = trimSuffix "Gi" $limit | float64 | mulf 1024 | int }}{{ end }}
{{- $wanted := add 192 (mul 64 $values.passwordWorkers) | int }}
{{- if and $slipway $mebibytes $values.passwordWorkers (lt $mebibytes $wanted) }}
{{- $faults = append $faults (printf "resources.limits.memory=%s is too little: 192 Mi of the process + 64 Mi * %d passwords hashed at once = %d Mi. Write %dMi or more, or fewer passwordWorkers." $limit (int $values.passwordWorkers) $wanted $wanted) }}
{{- end }}

{{- if and $values.ingress.enabled (not $values.ingress.hosts) }}
{{- $faults = append $faults "ingress.enabled needs ingress.hosts, such as ingress.hosts={api.example.com}." }}
{{- end }}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) }}
{{- $faults = append $faults "httpRoute.enabled needs httpRoute.parentRefs: the Gateway, such as [{name: public, namespace: gateways}]." }}
{{- end }}
{{- with $values.tls.certManager }}
{{- if .enabled }}
{{- if $values.tls.existingSecret }}
{{- $faults = append $faults "Two certificates: tls.existingSecret names one, and tls.certManager.enabled asks for another. Keep one of the two." }}
{{- end }}
{{- if not .issuerRef.name }}
{{- $faults = append $faults "tls.certManager.enabled needs tls.certManager.issuerRef.name." }}
{{- end }}
{{- if not (or (and $values.ingress.enabled $values.ingress.hosts) (and $values.httpRoute.enabled $values.httpRoute.hostnames)) }}
{{- $faults = append $faults "tls.certManager.enabled needs host names: ingress.enabled with ingress.hosts, or httpRoute.enabled with httpRoute.hostnames." }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $values.tls.existingSecret (not $values.ingress.enabled) }}
{{- $faults = append $faults "tls.existingSecret is for the Ingress: set ingress.enabled. With an HTTPRoute the Gateway holds the certificate." }}
{{- end }}
{{- if and $values.service.nodePort (eq $values.service.type "ClusterIP") }}
{{- $faults = append $faults "service.nodePort needs service.type NodePort or LoadBalancer." }}
{{- end }}
{{- if not $values.ports.ops }}
{{- range $where, $pod := dict "probes" $values "worker.probes" ($values.worker.enabled | ternary $values.worker dict) }}
{{- range $kind, $probe := $pod.probes }}
{{- if eq "ops" (dig "httpGet" "port" "" ($probe | default dict) | toString) }}
{{- $faults = append $faults (printf "%s.%s asks port ops, which ports.ops=null takes away: set its httpGet.port, or null for no probe." $where $kind) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (not $values.ports.ops) (or $values.metrics.prometheusRule.enabled $values.metrics.rulesConfigMap.enabled (and $values.metrics.serviceMonitor.enabled (not (include "slipway.operator" .)))) }}
{{- $faults = append $faults "metrics need the ops port: set ports.ops, or switch metrics.serviceMonitor, metrics.prometheusRule and metrics.rulesConfigMap off." }}
{{- end }}
{{- $folders := include "slipway.secrets" . | fromYaml }}
{{- range $values.extraVolumes }}
{{- if or (has .name (list "tmp" "migration-script")) (hasKey $folders .name) }}
{{- $faults = append $faults (printf "extraVolumes has a volume %s, and so has the chart: give yours another name." .name) }}
{{- end }}
{{- end }}
{{- range $values.extraVolumeMounts }}
{{- if or (has .mountPath (list "/tmp" "/var/run/slipway")) (hasPrefix "/var/run/secrets/slipway/" .mountPath) }}
{{- $faults = append $faults (printf "extraVolumeMounts has %s, and so has the chart: mount yours elsewhere." .mountPath) }}
{{- end }}
{{- end }}
{{- $name := include "slipway.name" (list . "") }}
{{- if not (regexMatch "^[a-z]" $name) }}
{{- $faults = append $faults (printf "%s can't name a Service: it must begin with a letter. Choose another release name, or set fullnameOverride." $name) }}
{{- end }}
{{- range $faults }}
- {{ . }}
{{- end }}
{{- end -}}
