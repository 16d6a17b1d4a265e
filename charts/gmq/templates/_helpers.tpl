{{/*
The start of every name: the release's name, with the chart's where that is not in it. At most 40 characters, so that suffixes fit. A release may
have dots in its name and begin with a digit, and a Service may not.
*/}}
{{- define "gmq.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if not (contains $name $full) -}}
{{- $full = printf "%s-%s" $full $name -}}
{{- end -}}
{{- if regexMatch "^[0-9]" $full -}}
{{- $full = printf "%s-%s" $name $full -}}
{{- end -}}
{{- $full | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "gmq.operator" -}}
{{ include "gmq.fullname" . }}-operator
{{- end -}}

{{/* By which the operator's pod is found. Not what brokers have: a GmqServer may be named like the release. */}}
{{- define "gmq.selectorLabels" -}}
app.kubernetes.io/name: gmq-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "gmq.labels" -}}
{{ include "gmq.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: gmq
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "gmq.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gmq.operator" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name has to name a service account that exists, because serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "gmq.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* Annotations of what `helm test` uses: made for the test, in the order of the given weight, and deleted when it passed. */}}
{{- define "gmq.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
