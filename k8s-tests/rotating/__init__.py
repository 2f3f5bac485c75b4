"""Keys and logins that change while requests are served: what makes them change, and what checks the tokens."""
