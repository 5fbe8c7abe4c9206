package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/cilium/statedb"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cilium/cilium/pkg/clustermesh"
	"github.com/cilium/cilium/pkg/clustermesh/common"
	serviceStore "github.com/cilium/cilium/pkg/clustermesh/store"
	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/datapath/tables"
	"github.com/cilium/cilium/pkg/hive"
	"github.com/cilium/cilium/pkg/k8s"
	client "github.com/cilium/cilium/pkg/k8s/client/testutils"
	"github.com/cilium/cilium/pkg/k8s/resource"
	slim_corev1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/core/v1"
	slim_discovery_v1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/discovery/v1"
	k8sTables "github.com/cilium/cilium/pkg/k8s/tables"
	"github.com/cilium/cilium/pkg/kpr"
	"github.com/cilium/cilium/pkg/loadbalancer"
	"github.com/cilium/cilium/pkg/loadbalancer/reflectors"
	"github.com/cilium/cilium/pkg/loadbalancer/writer"
	"github.com/cilium/cilium/pkg/node"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/source"
)

// serviceQuestion: which backends does each frontend have?
type serviceQuestion struct {
	Services []json.RawMessage `json:"services"` // of this cluster, as Kubernetes has them
	Slices   []json.RawMessage `json:"slices"`
	Shared   []json.RawMessage `json:"shared"` // of other clusters, as an etcd has them, in the order in which they come
}

type frontendAnswer struct {
	Frontend string   `json:"frontend"`
	Backends []string `json:"backends"`
}

// balancer is Cilium's load balancing tables, filled by its reflector of Kubernetes objects and as its mesh does.
type balancer struct {
	services  chan resource.Event[*slim_corev1.Service]
	endpoints chan resource.Event[*k8s.Endpoints]
	db        *statedb.DB
	writer    *writer.Writer
	marks     int
}

// theBalancer is made with the first question about services.
var theBalancer = sync.OnceValue(newBalancer)

func newBalancer() *balancer {
	found := &balancer{
		services:  make(chan resource.Event[*slim_corev1.Service], 1),
		endpoints: make(chan resource.Event[*k8s.Endpoints], 1),
	}
	started := hive.New(
		client.FakeClientCell(),
		node.LocalNodeStoreTestCell,
		k8sTables.PodTableCell,
		writer.Cell,
		cell.Provide(
			func() cmtypes.ClusterInfo { return cmtypes.ClusterInfo{} },
			func() *option.DaemonConfig { return &option.DaemonConfig{EnableIPv4: true, EnableIPv6: true} },
			func() kpr.KPRConfig { return kpr.KPRConfig{} },
			func() loadbalancer.Config {
				return loadbalancer.Config{
					UserConfig:  loadbalancer.DefaultUserConfig,
					NodePortMin: loadbalancer.NodePortMinDefault,
					NodePortMax: loadbalancer.NodePortMaxDefault,
				}
			},
			func() loadbalancer.ExternalConfig {
				return loadbalancer.ExternalConfig{EnableIPv4: true, EnableIPv6: true}
			},
			func() *loadbalancer.TestConfig { return &loadbalancer.TestConfig{} },
			func() (<-chan resource.Event[*slim_corev1.Service], <-chan resource.Event[*k8s.Endpoints]) {
				return found.services, found.endpoints
			},
			reflectors.EventStreamForBenchmark,
			reflectors.NetnsCookieSupportFunc,
			tables.NewNodeAddressTable,
			statedb.RWTable[tables.NodeAddress].ToTable,
			source.NewSources,
		),
		cell.Invoke(reflectors.RegisterK8sReflector),
		cell.Invoke(func(db *statedb.DB, of *writer.Writer) { found.db, found.writer = db, of }),
	)
	if err := started.Start(quiet, context.Background()); err != nil {
		panic(err)
	}
	found.writer.SetSelectBackendsFunc(clustermesh.NewClusterMeshSelectBackends(found.writer, quiet).SelectBackends)
	return found
}

func services(raw json.RawMessage) (any, error) {
	var asked serviceQuestion
	if err := json.Unmarshal(raw, &asked); err != nil {
		return nil, err
	}
	b := theBalancer()
	local, err := readAll[slim_corev1.Service](asked.Services)
	if err != nil {
		return nil, err
	}
	listed, err := readAll[slim_discovery_v1.EndpointSlice](asked.Slices)
	if err != nil {
		return nil, err
	}
	for _, each := range local {
		b.services <- event(resource.Upsert, each.Namespace, each.Name, each)
	}
	for _, each := range listed {
		b.endpoints <- event(resource.Upsert, each.Namespace, each.Name, k8s.ParseEndpointSliceV1(quiet, each))
	}
	names, err := b.share(asked.Shared)
	if err != nil {
		return nil, err
	}
	b.wait()
	found := b.frontends()
	for _, each := range local {
		b.services <- event(resource.Delete, each.Namespace, each.Name, each)
	}
	for _, each := range listed {
		b.endpoints <- event(resource.Delete, each.Namespace, each.Name, k8s.ParseEndpointSliceV1(quiet, each))
	}
	b.unshare(names)
	b.wait()
	return found, b.mustBeEmpty()
}

func readAll[T any](raw []json.RawMessage) ([]*T, error) {
	found := []*T{}
	for _, each := range raw {
		of := new(T)
		if err := readObject(each, of); err != nil {
			return nil, err
		}
		found = append(found, of)
	}
	return found, nil
}

func event[T runtime.Object](kind resource.EventKind, namespace, name string, of T) (made resource.Event[T]) {
	made.Kind = kind
	made.Key = resource.Key{Namespace: namespace, Name: name}
	made.Object = of
	made.Done = func(error) {}
	return made
}

type sharedService struct {
	name      loadbalancer.ServiceName
	clusterID uint32
}

// share does with shared services what Cilium's mesh does (pkg/clustermesh: remote clusters, service merger).
func (b *balancer) share(raw []json.RawMessage) (merged []sharedService, err error) {
	merge := func(of *serviceStore.ClusterService) {
		name := loadbalancer.NewServiceName(of.Namespace, of.Name)
		txn := b.writer.WriteTxn()
		defer txn.Commit()
		params := clustermesh.ClusterServiceToBackendParams(of)
		if err := b.writer.SetBackendsOfCluster(txn, name, source.ClusterMesh, of.ClusterID, params...); err != nil {
			panic(err)
		}
		merged = append(merged, sharedService{name, of.ClusterID})
	}
	drop := func(of *serviceStore.ClusterService) {}
	observer := common.NewSharedServicesObserver(quiet, common.NewGlobalServiceCache(quiet), merge, drop)
	for _, each := range raw {
		key := serviceStore.KeyCreator()()
		var named struct{ Cluster, Namespace, Name string }
		if err := json.Unmarshal(each, &named); err != nil {
			return nil, err
		}
		if err := key.Unmarshal(fmt.Sprintf("%s/%s/%s", named.Cluster, named.Namespace, named.Name), each); err != nil {
			return nil, err
		}
		observer.OnUpdate(key)
	}
	return merged, nil
}

func (b *balancer) unshare(merged []sharedService) {
	for _, each := range merged {
		txn := b.writer.WriteTxn()
		b.writer.DeleteBackendsOfServiceFromCluster(txn, each.name, source.ClusterMesh, each.clusterID)
		txn.Commit()
	}
}

// wait returns when the reflector has written everything that was sent before: each of its two streams is in order, and a
// mark is the last in either.
func (b *balancer) wait() {
	b.marks++
	name := fmt.Sprintf("mark-%d", b.marks)
	service := &slim_corev1.Service{}
	service.Namespace, service.Name = "marks", name
	slice := &slim_discovery_v1.EndpointSlice{AddressType: slim_discovery_v1.AddressTypeIPv4}
	slice.Namespace, slice.Name = "marks", name
	slice.Labels = map[string]string{"kubernetes.io/service-name": name}
	slice.Endpoints = []slim_discovery_v1.Endpoint{{Addresses: []string{"192.0.2.1"}}}
	port, proto := int32(1), slim_corev1.ProtocolTCP
	slice.Ports = []slim_discovery_v1.EndpointPort{{Port: &port, Protocol: &proto}}
	b.services <- event(resource.Upsert, "marks", name, service)
	b.endpoints <- event(resource.Upsert, "marks", name, k8s.ParseEndpointSliceV1(quiet, slice))
	b.waitUntil(name, true)
	b.services <- event(resource.Delete, "marks", name, service)
	b.endpoints <- event(resource.Delete, "marks", name, k8s.ParseEndpointSliceV1(quiet, slice))
	b.waitUntil(name, false)
}

func (b *balancer) waitUntil(name string, there bool) {
	wanted := loadbalancer.NewServiceName("marks", name)
	for {
		txn := b.db.ReadTxn()
		_, _, watchService, hasService := b.writer.Services().GetWatch(txn, loadbalancer.ServiceByName(wanted))
		backends, watchBackends := b.writer.BackendsForService(txn, wanted)
		hasBackend := false
		for range backends {
			hasBackend = true
		}
		if hasService == there && hasBackend == there {
			return
		}
		select {
		case <-watchService:
		case <-watchBackends:
		case <-time.After(30 * time.Second):
			panic("the reflector does not write what it was sent")
		}
	}
}

// frontends tells the backends of the cluster addresses. New connections go to the active ones of those that are selected,
// and to the terminating ones where none is active (pkg/loadbalancer/reconciler).
func (b *balancer) frontends() []frontendAnswer {
	found := []frontendAnswer{}
	for each := range b.writer.Frontends().All(b.db.ReadTxn()) {
		if each.Type != loadbalancer.SVCTypeClusterIP {
			continue
		}
		byState := map[loadbalancer.BackendState][]string{}
		for of := range each.Backends {
			text := fmt.Sprintf("%s of %d", place(of.Address), of.ClusterID)
			byState[of.State] = append(byState[of.State], text)
		}
		used := byState[loadbalancer.BackendStateActive]
		if len(used) == 0 {
			used = byState[loadbalancer.BackendStateTerminating]
		}
		slices.Sort(used)
		found = append(found, frontendAnswer{each.ServiceName.Name() + " " + place(each.Address), append([]string{}, used...)})
	}
	return found
}

func place(of loadbalancer.L3n4Addr) string {
	return fmt.Sprintf("%s %d %s", of.Addr(), of.Port(), of.Protocol())
}

// mustBeEmpty tells that something of this question would be seen by the next one.
func (b *balancer) mustBeEmpty() error {
	txn := b.db.ReadTxn()
	if b.writer.Services().NumObjects(txn)+b.writer.Frontends().NumObjects(txn)+b.writer.Backends().NumObjects(txn) > 0 {
		return fmt.Errorf("objects are left: %d services, %d frontends, %d backends",
			b.writer.Services().NumObjects(txn), b.writer.Frontends().NumObjects(txn), b.writer.Backends().NumObjects(txn))
	}
	return nil
}
