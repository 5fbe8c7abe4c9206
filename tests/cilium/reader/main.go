// Reads other clusters' etcds with Cilium's own remote-cluster code and validators, as an agent does.
//
//	reader DIRECTORY NAME ID MAX-CLUSTERS SERVICE-MODE
//
// DIRECTORY names the other clusters. For each empty line on its input it writes what it holds now as one line of JSON;
// for each cluster config, why a cluster that says this of itself is refused.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/cilium/statedb"

	"github.com/cilium/cilium/pkg/clustermesh"
	"github.com/cilium/cilium/pkg/clustermesh/common"
	"github.com/cilium/cilium/pkg/clustermesh/observer"
	servicestore "github.com/cilium/cilium/pkg/clustermesh/store"
	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/clustermesh/types/endpointslice"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/cache"
	"github.com/cilium/cilium/pkg/ipcache"
	"github.com/cilium/cilium/pkg/kvstore"
	"github.com/cilium/cilium/pkg/kvstore/store"
	"github.com/cilium/cilium/pkg/metrics"
	nodetypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/source"
)

type address struct {
	Host, Namespace, Pod string
	Key                  uint8
	Identity             uint32
	Ports                map[string]string
}

// held is what an agent would hold: everything that Cilium's code told of, and not of its end.
type held struct {
	mutex    sync.Mutex
	Nodes    map[string]nodetypes.Node
	Services map[string]*servicestore.ClusterService
	Slices   map[string]*endpointslice.ClusterEndpointSlice
	IPs      map[string]address
	Refused  []map[string]string
}

func (h *held) NodeUpdated(node nodetypes.Node) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.Nodes[node.Fullname()] = node
}

func (h *held) NodeDeleted(node nodetypes.Node) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.Nodes, node.Fullname())
}

func (h *held) MergeExternalServiceUpdate(service *servicestore.ClusterService) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.Services[service.String()] = service
}

func (h *held) MergeExternalServiceDelete(service *servicestore.ClusterService) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.Services, service.String())
}

func (h *held) Upsert(ip string, host net.IP, key uint8, meta *ipcache.K8sMetadata, id ipcache.Identity) (bool, error) {
	found := address{Key: key, Identity: uint32(id.ID)}
	if len(host) > 0 {
		found.Host = host.String()
	}
	if meta != nil {
		found.Namespace, found.Pod, found.Ports = meta.Namespace, meta.PodName, map[string]string{}
		for name, port := range meta.NamedPorts {
			found.Ports[name] = fmt.Sprintf("%d/%d", port.Port, port.Proto)
		}
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.IPs[ip] = found
	return false, nil
}

func (h *held) Delete(ip string, _ source.Source) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.IPs, ip)
	return false
}

func (h *held) OnUpdate(key store.Key) {
	slice := &key.(*endpointslice.ValidatingClusterEndpointSlice).ClusterEndpointSlice
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.Slices[slice.String()] = slice
}

func (h *held) OnDelete(key store.NamedKey) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.Slices, key.(*endpointslice.ValidatingClusterEndpointSlice).String())
}

// The allocator asks for somebody who is told of identities; what it holds is asked for at the end.
func (h *held) UpdateIdentities(_, _ identity.IdentityMap) <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (h *held) GetNodeSuffix() string { return "reader" }

// Handle keeps warnings with a key: what was refused, and why.
func (h *held) Handle(_ context.Context, record slog.Record) error {
	found := map[string]string{"message": record.Message}
	record.Attrs(func(attr slog.Attr) bool {
		found[attr.Key] = attr.Value.String()
		return true
	})
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.Refused = append(h.Refused, found)
	return nil
}

func (h *held) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (h *held) WithAttrs(attrs []slog.Attr) slog.Handler         { return h }
func (h *held) WithGroup(string) slog.Handler                    { return h }

// slices watches endpoint slices as Cilium's observer does, whose own keeps only their number.
type slices struct {
	cluster string
	id      uint32
	mode    cmtypes.ServiceModeV2
	store   store.WatchStore
	synced  func()
	enabled bool
}

func (s *slices) Name() observer.Name { return "endpointslices" }
func (s *slices) Drain()              { s.store.Drain() }
func (s *slices) Revoke()             { s.store.Drain() }

func (s *slices) Status() observer.Status {
	return observer.Status{Enabled: s.enabled, Synced: s.store.Synced(), Entries: s.store.NumEntries()}
}

func (s *slices) Register(mgr store.WatchStoreManager, backend kvstore.BackendOperations, cfg cmtypes.CiliumClusterConfig) {
	s.id = cfg.ID
	prefix := endpointslice.EndpointSliceStorePrefix
	if cfg.Capabilities.Cached {
		prefix = kvstore.StateToCachePrefix(prefix)
	}
	s.enabled = s.mode.ShouldWatchEndpointSlices() &&
		cfg.Capabilities.EndpointSlicesExportMode != cmtypes.EndpointSlicesExportModeServicesOnly
	if s.enabled {
		mgr.Register(prefix, func(ctx context.Context) {
			s.store.Watch(ctx, backend, kvstore.JoinKey(prefix, s.cluster))
		})
		return
	}
	s.store.Drain()
	s.synced()
}

type noMetrics struct{}

func (noMetrics) AddClusterMeshConfig(string, string) {}
func (noMetrics) DelClusterMeshConfig(string, string) {}

func watching(h *held, factory store.Factory, mode cmtypes.ServiceModeV2) observer.Factory {
	return func(cluster string, synced func()) observer.Observer {
		found := &slices{cluster: cluster, mode: mode, synced: synced}
		found.store = factory.NewWatchStore(cluster, endpointslice.KeyCreator(
			endpointslice.ClusterNameValidator(cluster),
			endpointslice.NamespacedNameValidator(),
			endpointslice.ClusterIDValidator(&found.id),
		), h, store.RWSWithOnSyncCallback(func(context.Context) { synced() }))
		return found
	}
}

func number(text string) uint32 {
	found, err := strconv.ParseUint(text, 10, 32)
	must(err)
	return uint32(found)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	directory, name, mode := os.Args[1], os.Args[2], cmtypes.ServiceModeV2(os.Args[5])
	info := cmtypes.ClusterInfo{ID: number(os.Args[3]), Name: name, MaxConnectedClusters: number(os.Args[4])}
	must(info.InitClusterIDMax())
	option.Config.IdentityAllocationMode = option.IdentityAllocationModeKVstore
	option.Config.ClusterID, option.Config.ClusterName = info.ID, info.Name

	h := &held{
		Nodes:    map[string]nodetypes.Node{},
		Services: map[string]*servicestore.ClusterService{},
		Slices:   map[string]*endpointslice.ClusterEndpointSlice{},
		IPs:      map[string]address{},
	}
	logger := slog.New(h)
	ctx := context.Background()
	identities := cache.NewCachingIdentityAllocator(logger, h, cache.NewTestAllocatorConfig())
	<-identities.InitIdentityAllocator(nil, kvstore.NewInMemoryClient(statedb.New(), "local"))
	factory := store.NewFactory(logger, store.MetricsProvider())
	lifecycle := cell.NewDefaultLifecycle(nil, 0, 0)
	mesh := clustermesh.NewClusterMesh(lifecycle, clustermesh.Configuration{
		Config:              common.Config{ClusterMeshConfig: directory},
		ServiceModeV2Config: cmtypes.ServiceModeV2Config{ServiceModeV2: mode},
		ClusterInfo:         info,
		RemoteClientFactory: common.DefaultRemoteClientFactory(kvstore.Config{
			KVStoreLeaseTTL: 15 * time.Minute, KVstoreMaxConsecutiveQuorumErrors: 2,
		}),
		ServiceMerger:                h,
		NodeObserver:                 h,
		RemoteIdentityWatcher:        identities,
		IPCache:                      h,
		ClusterSizeDependantInterval: func(time.Duration) time.Duration { return time.Second },
		ClusterIDsManager:            clustermesh.NewClusterMeshUsedIDs(info.ID),
		ObserverFactories:            []observer.Factory{watching(h, factory, mode)},
		Metrics:                      clustermesh.NewMetrics(),
		CommonMetrics:                common.MetricsProvider(metrics.SubsystemClusterMesh)(),
		StoreFactory:                 factory,
		FeatureMetrics:               noMetrics{},
		Logger:                       logger,
	})
	must(lifecycle.Start(logger, ctx))

	input := bufio.NewScanner(os.Stdin)
	output := json.NewEncoder(os.Stdout)
	for input.Scan() {
		if config := input.Bytes(); len(config) > 0 {
			must(output.Encode(judged(info, config)))
		} else {
			must(output.Encode(state(h, mesh, identities)))
		}
	}
}

// judged says why an agent refuses a cluster that says this of itself; empty where it takes it in.
func judged(info cmtypes.ClusterInfo, text []byte) string {
	var config cmtypes.CiliumClusterConfig
	err := json.Unmarshal(text, &config)
	if err == nil {
		err = info.ValidateRemoteConfig(config)
	}
	if err == nil {
		err = clustermesh.NewClusterMeshUsedIDs(info.ID).ReserveClusterID(config.ID)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

func state(h *held, mesh *clustermesh.ClusterMesh, identities *cache.CachingIdentityAllocator) map[string]any {
	numbers := map[string][]string{}
	for id, labels := range identities.GetIdentityCache() {
		if id >= identity.MinimalNumericIdentity {
			texts := []string{}
			for _, label := range labels {
				texts = append(texts, label.Source+":"+label.Key+"="+label.Value)
			}
			sort.Strings(texts)
			numbers[id.String()] = texts
		}
	}
	ready := map[string]bool{}
	for _, cluster := range mesh.Status().Clusters {
		ready[cluster.Name] = cluster.Ready
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	found, err := json.Marshal(map[string]any{
		"nodes": h.Nodes, "services": h.Services, "slices": h.Slices, "ips": h.IPs,
		"identities": numbers, "refused": h.Refused, "ready": ready,
	})
	must(err)
	copied := map[string]any{}
	must(json.Unmarshal(found, &copied))
	return copied
}
