"""A real kube-apiserver for the tests: the program (`binary`), the server (`server`), Cilium's CRDs (`crds/`)."""
