"""The process that keeps a node's data and Julia between messages."""
