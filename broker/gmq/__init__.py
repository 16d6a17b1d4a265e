"""GMQ, a message queue: the broker and its clients."""

__version__ = "0.1.0"
