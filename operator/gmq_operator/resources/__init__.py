"""The children of a GmqServer: a module and a pure builder for each."""
