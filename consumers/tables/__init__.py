"""Tables that are derived from those of the catalog: ipcache, routes, load balancer, selectors, conflicts."""
