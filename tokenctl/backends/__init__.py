"""Token authorities: they issue, introspect and revoke."""
