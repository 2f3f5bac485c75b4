"""Who is asking: accounts, tokens, keys, principals, permissions."""
