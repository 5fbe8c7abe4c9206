"""The metrics of an agent, for Prometheus. All is read at the moment of a scrape, so nothing else pays for it."""
