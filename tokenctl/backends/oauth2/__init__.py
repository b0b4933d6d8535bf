"""Any OAuth 2.0 authorization server: discovery, client authentication, tokens, introspection, revocation."""
