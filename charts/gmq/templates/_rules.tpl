{{/*
What the operator may do, in each namespace that it looks after. Children are applied server-side, which asks for patch, and for create where
the object is new.
*/}}
{{- define "gmq.rules" -}}
# GmqServers: to see what is wanted. The operator never changes one; what it found is in the status.
- apiGroups: [gmq.io]
  resources: [gmqservers]
  verbs: [get, list, watch]
- apiGroups: [gmq.io]
  resources: [gmqservers/status]
  verbs: [patch]
# A broker's configuration, and the Services that clients and scrapers reach it by.
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [list, watch, create, patch, delete]
# The volume of a broker with filesystem storage. Never deleted by the operator: the messages are on it.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, create, patch]
# The broker itself.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch, delete]
# Where a broker has several pods, that a drained node takes one of them at a time. Deleted when only one is wanted.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch, delete]
# Where a GmqServer asks to be scraped. Deleted when it no longer does.
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [list, watch, create, patch, delete]
# What a broker's pods are stuck on, for the conditions.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Why they are stuck, as told by events; and to tell what the operator did.
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch]
# The generated user of a broker. Created once and never read, changed or deleted.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end -}}
