"""The actions: one module a verb, acting on plain values; none of them knows the grammar."""
