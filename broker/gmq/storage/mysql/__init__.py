"""Queues in a database, see docs/mysql.md."""

from gmq.storage.mysql.storage import MysqlStorage

__all__ = ["MysqlStorage"]
