"""The life of an agent: its configuration, its sources and consumers by name, start and stop."""
