"""`piza serve`: the page and the HTTP interface. Needs the extra `piza[serve]`; see docs/serve.md and SECURITY.md."""
