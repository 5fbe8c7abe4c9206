"""The HTTP interface of an agent: the server, its resources, queries and change streams."""
