"""The broker beside its peers: the same work, in the same run, on the same cores."""
