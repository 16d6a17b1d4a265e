"""The operator and its brokers on a real Kubernetes cluster: whichever KUBECONFIG names."""
