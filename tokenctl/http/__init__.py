"""The only owner of httpx: documents that anyone may fetch, and services that are spoken to with a credential."""
