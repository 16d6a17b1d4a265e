"""The operator: turns a GmqServer into a running broker."""
