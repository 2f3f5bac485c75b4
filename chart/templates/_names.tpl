{{/*
An object's name, from (list $ suffix): the release's name and what the object is. Too long, it is cut, and a hash of
the whole keeps it from meeting another that was cut alike; so does one for dots, which a Service's name can't have.
A StatefulSet's controller needs eleven characters more.
*/}}
{{- define "slipway.name" -}}
{{- $root := index . 0 -}}
{{- $suffix := ternary (printf "-%s" (index . 1)) "" (ne (index . 1) "") -}}
{{- $max := has (index . 1) (list "postgresql" "redis") | ternary 52 63 -}}
{{- $chart := $root.Values.nameOverride | default $root.Chart.Name -}}
{{- $full := ternary $root.Release.Name (printf "%s-%s" $root.Release.Name $chart) (contains $chart $root.Release.Name) -}}
{{- $full = $root.Values.fullnameOverride | default $full -}}
{{- if or (contains "." $full) (gt (len (print $full $suffix)) $max) -}}
{{- $kept := $full | replace "." "-" | trunc (int (sub (sub $max 9) (len $suffix))) | trimSuffix "-" -}}
{{- $full = printf "%s-%s" $kept (sha256sum $full | trunc 8) -}}
{{- end -}}
{{- print $full $suffix -}}
{{- end -}}

{{/* What selects a component's pods, from (list $ component): name, instance and component, nothing that changes. */}}
{{- define "slipway.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Values.nameOverride | default $root.Chart.Name | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* An object's metadata, from (list $ suffix component annotations); the annotations may be left out. */}}
{{- define "slipway.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/part-of" "slipway" -}}
{{- $selector := include "slipway.selector" (list $root (index . 2)) | fromYaml -}}
{{- $annotations := $root.Values.commonAnnotations | default dict -}}
{{- if gt (len .) 3 }}{{ $annotations = merge dict (index . 3 | default dict) $annotations }}{{ end -}}
name: {{ include "slipway.name" (list $root (index . 1)) }}
namespace: {{ $root.Release.Namespace | quote }}
labels: {{- merge $selector $labels ($root.Values.commonLabels | default dict) | toYaml | nindent 2 }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Metadata of an object of the operator that is in no namespace, from (list $ name); the name carries the release's. */}}
{{- define "slipway.clusterMetadata" -}}
{{- $metadata := include "slipway.metadata" (list (index . 0) "operator" "operator") | fromYaml -}}
{{- merge (dict "name" (index . 1)) (omit $metadata "namespace") | toYaml -}}
{{- end -}}

{{/*
A pod's metadata, from (list $ component annotations); the annotations may be left out. No chart version: a new chart with
the same image replaces no pod.
*/}}
{{- define "slipway.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $selector := include "slipway.selector" . | fromYaml -}}
{{- $annotations := $root.Values.podAnnotations | default dict -}}
{{- if gt (len .) 2 }}{{ $annotations = merge dict (index . 2 | default dict) $annotations }}{{ end -}}
labels: {{- merge $selector ($root.Values.podLabels | default dict) ($root.Values.commonLabels | default dict) | toYaml | nindent 2 }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A text; nothing for `<no value>`, which skaffold writes for what it doesn't know: `render --digest-source=none`. */}}
{{- define "slipway.given" -}}
{{- if ne (. | default "") "<no value>" }}{{ . | default "" }}{{ end -}}
{{- end -}}

{{/*
An image's reference, from (list $ image repository tag), which are for an image without. With tag and digest where both are
given: so skaffold names what it built, and it looks for that very name.
*/}}
{{- define "slipway.image" -}}
{{- $root := index . 0 -}}
{{- $image := dict -}}
{{- range $key, $text := index . 1 }}{{ $_ := set $image $key (include "slipway.given" $text) }}{{ end -}}
{{- with include "slipway.given" $root.Values.global.imageRegistry | default $image.registry }}{{ . }}/{{ end -}}
{{- $image.repository | default (index . 2) -}}
{{- with $image.tag | default (empty $image.digest | ternary (index . 3) "") }}:{{ . }}{{ end -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* The image of API, worker and migration. */}}
{{- define "slipway.serviceImage" -}}
{{- include "slipway.image" (list . .Values.image "slipway" .Chart.AppVersion) -}}
{{- end -}}

{{/* The image of the chart's own scripts. */}}
{{- define "slipway.scriptImage" -}}
{{- include "slipway.given" .Values.scriptImage | default (include "slipway.serviceImage" .) -}}
{{- end -}}

{{/* "true" when the try-out's own server runs, from (list $ "postgresql" or "redis"); else nothing. */}}
{{- define "slipway.bundled" -}}
{{- $root := index . 0 -}}
{{- $wanted := (index $root.Values (index . 1)).enabled -}}
{{- $given := (eq (index . 1) "redis" | ternary $root.Values.redis $root.Values.database).existingSecret -}}
{{- if kindIs "bool" $wanted | ternary $wanted (and $root.Values.demo (empty $given)) }}true{{ end -}}
{{- end -}}

{{/* "true" when the release brings an operator; else nothing. */}}
{{- define "slipway.operator" -}}
{{- $wanted := .Values.operator.enabled -}}
{{- if kindIs "bool" $wanted | ternary $wanted (eq .Values.migrations.mode "operator") }}true{{ end -}}
{{- end -}}

{{/* Namespaces that the release's operator looks after, as a YAML list, unless it does so everywhere. */}}
{{- define "slipway.operatorNamespaces" -}}
{{- $more := eq .Values.operator.scope "namespaces" | ternary .Values.operator.namespaces list -}}
{{- prepend ($more | default list) .Release.Namespace | uniq | toYaml -}}
{{- end -}}

{{/* "true" when an operator looks after the namespace: ours, or one from elsewhere. While ours is away, nothing moves. */}}
{{- define "slipway.lookedAfter" -}}
{{- if or (eq .Values.migrations.mode "operator") (include "slipway.operator" .) }}true{{ end -}}
{{- end -}}

{{/* "true" when the release has a KeyRing; else nothing. */}}
{{- define "slipway.keyRing" -}}
{{- $wanted := .Values.keyRing.enabled -}}
{{- $usual := and .Values.demo (eq .Values.application "slipway") (include "slipway.lookedAfter" .) (not .Values.signingKeys.existingSecret) -}}
{{- if kindIs "bool" $wanted | ternary $wanted (not (empty $usual)) }}true{{ end -}}
{{- end -}}

{{/* "true" when the release has a DatabaseLogin; else nothing. */}}
{{- define "slipway.databaseLogin" -}}
{{- $wanted := .Values.databaseLogin.enabled -}}
{{- $usual := and (eq .Values.application "slipway") (include "slipway.lookedAfter" .) (include "slipway.bundled" (list . "postgresql")) (not .Values.database.existingSecret) -}}
{{- if kindIs "bool" $wanted | ternary $wanted (not (empty $usual)) }}true{{ end -}}
{{- end -}}

{{/* Secret with the login that a DatabaseLogin makes roles with. */}}
{{- define "slipway.loginAdminSecret" -}}
{{- $demo := empty (include "slipway.bundled" (list . "postgresql")) | ternary "" (include "slipway.name" (list . "database-owner")) -}}
{{- .Values.databaseLogin.admin.existingSecret | default $demo -}}
{{- end -}}

{{/* Role that both roles of a DatabaseLogin act as. */}}
{{- define "slipway.memberOf" -}}
{{- .Values.databaseLogin.memberOf | default (include "slipway.grantTo" .) -}}
{{- end -}}

{{/* What selects the pods that use keys and login: those of API and worker. */}}
{{- define "slipway.consumers" -}}
selector:
  matchLabels: {{- omit (include "slipway.selector" (list . "api") | fromYaml) "app.kubernetes.io/component" | toYaml | nindent 4 }}
  matchExpressions:
    - {key: app.kubernetes.io/component, operator: In, values: [api, worker]}
port: {{ .Values.ports.ops }}
{{- end -}}

{{/* Secret with the login of the schema's owner. */}}
{{- define "slipway.ownerSecret" -}}
{{- $demo := empty (include "slipway.bundled" (list . "postgresql")) | ternary "" (include "slipway.name" (list . "database-owner")) -}}
{{- .Values.migrations.existingSecret | default $demo -}}
{{- end -}}

{{/* Role that a migration gives the service's rights. */}}
{{- define "slipway.grantTo" -}}
{{- .Values.migrations.grantTo | default (empty (include "slipway.bundled" (list . "postgresql")) | ternary "" "slipway_app") -}}
{{- end -}}

{{/* ServiceAccount of the operator. */}}
{{- define "slipway.operatorAccount" -}}
{{- $account := .Values.operator.serviceAccount -}}
{{- $account.name | default ($account.create | ternary (include "slipway.name" (list . "operator")) "default") -}}
{{- end -}}

{{/* ServiceAccount of API and worker. */}}
{{- define "slipway.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "slipway.name" (list . "")) "default") -}}
{{- end -}}
