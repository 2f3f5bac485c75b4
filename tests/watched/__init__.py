"""Scenes that a Prometheus watches: real processes under load, on calm and on bad days."""
