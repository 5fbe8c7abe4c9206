// Package controllers stands for the module of that name, of which Cilium uses this one constant.
package controllers

// DerivedServiceAnnotation names, on a ServiceImport, the service that was made of it.
const DerivedServiceAnnotation = "multicluster.kubernetes.io/derived-service"
