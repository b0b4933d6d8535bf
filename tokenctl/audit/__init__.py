"""The audit log: records, the tree over them, the anchor outside the store, and what can be asked."""
