"""Programs that use the tables of another process: requests, a replica, a comparison of two sources."""
