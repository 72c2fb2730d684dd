{{- define "guestflow.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "guestflow.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "guestflow.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "guestflow.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "guestflow.selector" -}}
app.kubernetes.io/name: {{ include "guestflow.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "guestflow.labels" -}}
{{ include "guestflow.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* A variable that names a file, and the file's place in the volume of secrets. */}}
{{- define "guestflow.files" -}}
apiToken: {variable: API_TOKEN_FILE, path: api-token}
occupancyToken: {variable: OCCUPANCY_TOKEN_FILE, path: occupancy-token}
privacyKey: {variable: PRIVACY_KEY_FILE, path: privacy-key}
natsNKey: {variable: NATS_NKEY, path: nats.nk}
natsCreds: {variable: NATS_CREDS, path: nats.creds}
natsPassword: {variable: NATS_PASSWORD_FILE, path: nats-password}
natsToken: {variable: NATS_TOKEN_FILE, path: nats-token}
natsCA: {variable: NATS_CA, path: nats-ca.crt}
{{- end -}}
