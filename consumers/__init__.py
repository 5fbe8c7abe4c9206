"""Tables into effect. Consumers see tables, and nothing of where the rows come from."""
