"""The two dashboards of Grafana, in its own builders; `make observability` writes them into the chart."""
