"""The benchmark of Cilium's CFP-44774, scaled to one machine: ``python -m benchmarks.cfp44774``.

    plan      how much of what: the numbers of the CFP times the scale
    load      makes and deletes namespaces, identities, endpoint slices, services on a real API server, at a rate
    watcher   an agent of the cluster, a process each: what it knows of a pod, and when it knew it
    probes    what processes and the API server take and do, second by second
    mode      one run of one mode: every agent on the API server, or publisher, etcd and agents
    page      figures as docs/scale.md

Real are the API server and its etcd, the publisher and its etcd, and the agents with their consumers. Nodes, kubelets
and pods are not there: the load writes what Cilium's operator would write of them.
"""
