"""Consumers that write an etcd: the publisher and the cache of a mesh."""
