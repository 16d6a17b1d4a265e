{{/*
What the operator may do, in each namespace that it looks after. Children are applied server-side, which asks for patch, and for create where
the object is new. Before one is created it is looked at by get: another one of its name may be somebody else's.
*/}}
{{- define "gmq.rules" -}}
# GmqServers: to see what is wanted. The operator never changes one; what it found is in the status.
- apiGroups: [gmq.io]
  resources: [gmqservers]
  verbs: [list, watch]
- apiGroups: [gmq.io]
  resources: [gmqservers/status]
  verbs: [patch]
# A broker's configuration, the Services that clients and scrapers reach it by, and the volume that its messages are on. Kubernetes deletes
# them with their GmqServer, so the operator need not.
- apiGroups: [""]
  resources: [configmaps, services, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# The broker itself. The same is true of it.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
# That a drained node takes one of several brokers at a time. Deleted when only one is wanted.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Where a GmqServer asks to be scraped. Deleted when it no longer does.
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, watch, create, patch, delete]
# What a broker's pods are stuck on, for the conditions.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Why they are stuck, as Events tell; and to tell what the operator did.
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
# The generated user of a broker. Created once, and never read, changed or deleted.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end -}}
