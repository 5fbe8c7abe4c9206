"""The metrics of an agent, for Prometheus. They are read at each scrape and cost nothing otherwise."""
