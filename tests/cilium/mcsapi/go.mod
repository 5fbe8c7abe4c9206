// Cilium uses one constant of this module, whose zip the module proxy refuses: see go.mod above.
module sigs.k8s.io/mcs-api/controllers

go 1.26.0
