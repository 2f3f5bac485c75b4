"""What the tests of schema migrations share: a release that goes through its life, and looks at what becomes of it."""
