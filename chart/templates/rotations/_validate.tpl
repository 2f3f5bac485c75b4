{{/* Faults of keys and logins that rotate, as a YAML list of sentences. */}}
{{- define "slipway.rotationFaults" -}}
{{- $values := .Values -}}
{{- $faults := list -}}
{{- $ring := include "slipway.keyRing" . -}}
{{- $login := include "slipway.databaseLogin" . -}}
{{- if and $ring $values.signingKeys.existingSecret }}
{{- $faults = append $faults "Two sets of keys: signingKeys.existingSecret names one, and keyRing.enabled makes another. Keep one of the two; docs/keys-and-logins.md says how a KeyRing takes over a Secret." }}
{{- end }}
{{- if and $login $values.database.existingSecret }}
{{- $faults = append $faults "Two logins: database.existingSecret names one, and databaseLogin.enabled makes another. Keep one of the two." }}
{{- end }}
{{- if and $login (not (include "slipway.loginAdminSecret" .)) }}
{{- $faults = append $faults "databaseLogin.enabled needs databaseLogin.admin.existingSecret: a Secret with a login that has CREATEROLE, with keys as in database.existingSecret." }}
{{- end }}
{{- if and (or $login (and $ring (eq $values.keyRing.evidence "Endpoint"))) (not $values.ports.ops) }}
{{- $faults = append $faults "Keys and logins rotate by what pods tell on their ops port: set ports.ops, or keyRing.evidence=Time and databaseLogin.enabled=false." }}
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
{{- end }}
{{- toYaml $faults }}
{{- end -}}
