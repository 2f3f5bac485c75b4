"""KeyRing: a set of signing keys with overlapping lives, rotated while everything that uses them runs on."""
