"""End to end: API server -> publishers -> replicas of etcd -> agents -> consumers. All real, in processes."""
