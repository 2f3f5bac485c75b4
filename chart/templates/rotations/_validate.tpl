{{/* Faults of keys and logins that rotate, as a YAML list of sentences. */}}
{{- define "slipway.rotationFaults" -}}
{{- $values := .Values -}}
{{- $faults := list -}}
{{- $ring := include "slipway.keyRing" . -}}
{{- $login := include "slipway.databaseLogin" . -}}
{{- /* Whoever says `operator.enabled: false` has another one. */ -}}
{{- if and (or $ring $login) (not (include "slipway.operator" .)) (kindIs "invalid" $values.operator.enabled) }}
{{- $faults = append $faults (printf "Keys and logins are rotated by the operator, which migrations.mode=%s leaves out: set operator.enabled=true, or false where another one looks after this namespace; or keyRing.enabled=false and databaseLogin.enabled=false." $values.migrations.mode) }}
{{- end }}
{{- if and $ring $values.signingKeys.existingSecret }}
{{- $faults = append $faults "Two sets of keys: signingKeys.existingSecret names one, and keyRing makes another. Keep one of the two; docs/keys-and-logins.md says how a KeyRing takes over keys." }}
{{- end }}
{{- if and $login $values.database.existingSecret }}
{{- $faults = append $faults "Two logins: database.existingSecret names one, and databaseLogin makes another. Keep one of the two." }}
{{- end }}
{{- if and $login (not (include "slipway.loginAdminSecret" .)) }}
{{- $faults = append $faults "databaseLogin.enabled needs databaseLogin.admin.existingSecret: a Secret with a login that has CREATEROLE, with keys as in database.existingSecret." }}
{{- end }}
{{- if and (or $login (and $ring (eq $values.keyRing.evidence "Endpoint"))) (not $values.ports.ops) }}
{{- $faults = append $faults "Keys and logins rotate by what pods report on their ops port: set ports.ops, or keyRing.evidence=Time and databaseLogin.enabled=false." }}
{{- end }}
{{- if $ring }}
{{- $propagation := include "slipway.seconds" $values.keyRing.propagation | int }}
{{- $cache := include "slipway.seconds" $values.keyRing.validatorCache | int }}
{{- $lifetime := include "slipway.seconds" $values.keyRing.tokenLifetime | int }}
{{- $leeway := include "slipway.seconds" $values.keyRing.leeway | int }}
{{- $every := include "slipway.seconds" $values.keyRing.rotateEvery | int }}
{{- $least := add $propagation $cache $propagation $lifetime $leeway | int }}
{{- if le $every $least }}
{{- $faults = append $faults (printf "keyRing.rotateEvery=%s is not longer than one rotation takes: propagation %d + validatorCache %d + propagation %d + tokenLifetime %d + leeway %d = %d seconds. Write a longer one." $values.keyRing.rotateEvery $propagation $cache $propagation $lifetime $leeway $least) }}
{{- end }}
{{- if or (lt $lifetime 1) (gt $leeway 600) }}
{{- $faults = append $faults (printf "keyRing.tokenLifetime=%s must be at least 1s, and keyRing.leeway=%s at most 10m, because validators accept expired tokens for that long." $values.keyRing.tokenLifetime $values.keyRing.leeway) }}
{{- end }}
{{- end }}
{{- if $login }}
{{- $memberOf := include "slipway.memberOf" . }}
{{- $roles := $values.databaseLogin.roles }}
{{- if not $memberOf }}
{{- $faults = append $faults "databaseLogin.enabled needs the role with the service's rights: set migrations.grantTo, or databaseLogin.memberOf where somebody else gives it its rights." }}
{{- end }}
{{- if or (has $memberOf $roles) (eq (first $roles) (last $roles)) }}
{{- $faults = append $faults (printf "databaseLogin.roles=%s must be two different names, and neither that of databaseLogin.memberOf, which both are members of." (join "," $roles)) }}
{{- end }}
{{- if lt (include "slipway.seconds" $values.databaseLogin.rotateEvery | int) 300 }}
{{- $faults = append $faults (printf "databaseLogin.rotateEvery=%s must be at least 5m: pods may take two to load a login, and old sessions must end in between." $values.databaseLogin.rotateEvery) }}
{{- end }}
{{- end }}
{{- toYaml $faults }}
{{- end -}}
