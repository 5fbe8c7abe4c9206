"""The agent: configuration, wiring, command line, HTTP. The only place that knows everybody."""
