package main

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"time"

	"github.com/cilium/hive/cell"

	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/datapath/iptables/ipset"
	"github.com/cilium/cilium/pkg/datapath/tunnel"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/ipcache"
	"github.com/cilium/cilium/pkg/k8s/synced"
	"github.com/cilium/cilium/pkg/kvstore/store"
	"github.com/cilium/cilium/pkg/node"
	"github.com/cilium/cilium/pkg/node/manager"
	nodetypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/source"
	testidentity "github.com/cilium/cilium/pkg/testutils/identity"
)

// ipcacheQuestion: what does each address mean after these claims came in each of these orders?
type ipcacheQuestion struct {
	Cluster string  `json:"cluster"`
	Node    string  `json:"node"`
	Claims  []claim `json:"claims"`
	Orders  [][]int `json:"orders"`
}

// claim is an endpoint or a node as an etcd has it, and who observed it.
type claim struct {
	Key      string          `json:"key"`
	Endpoint json.RawMessage `json:"endpoint"`
	Node     json.RawMessage `json:"node"`
	Source   source.Source   `json:"source"`
}

// meaning is what the listeners of the cache, of which the kernel's map is one, know of a network.
type meaning struct {
	Identity uint32   `json:"identity"`
	Labels   []string `json:"labels"`
	HostIP   string   `json:"hostIP"`
	Key      uint8    `json:"key"`
}

func networks(raw json.RawMessage) (any, error) {
	var asked ipcacheQuestion
	if err := json.Unmarshal(raw, &asked); err != nil {
		return nil, err
	}
	option.Config.EnableNodeSelectorLabels = false // else nodes have identities of their own
	defer func() { option.Config.EnableNodeSelectorLabels = true }()
	option.Config.ClusterName = asked.Cluster
	nodetypes.SetName(asked.Node)
	answers := []map[string]meaning{}
	for _, order := range asked.Orders {
		found, err := play(asked.Claims, order)
		if err != nil {
			return nil, err
		}
		answers = append(answers, found)
	}
	return answers, nil
}

// play gives the claims to a new cache, each after the one before has had all its effects.
func play(claims []claim, order []int) (map[string]meaning, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ready := make(synced.CacheStatus)
	close(ready)
	allocator := testidentity.NewMockIdentityAllocator(nil)
	cache := ipcache.NewIPCache(&ipcache.Configuration{
		Context:           ctx,
		Logger:            quiet,
		IdentityAllocator: allocator,
		IdentityUpdater:   &testidentity.IdentityAllocatorOwnerMock{},
		CacheStatus:       ready,
	})
	defer cache.Shutdown()
	heard := listener{}
	cache.AddListener(heard)
	health, _ := cell.NewSimpleHealth()
	nodes, err := manager.New(quiet, &option.DaemonConfig{ClusterName: option.Config.ClusterName}, tunnel.Config{}, cache,
		noSets{}, nil, manager.NewNodeMetrics(), health, nil, nil, nil, noWireguard{}, node.NewTestLocalNodeStore(node.LocalNode{}))
	if err != nil {
		return nil, err
	}
	factory := store.NewFactory(quiet, store.MetricsProvider())
	for _, number := range order {
		each := claims[number]
		if each.Node != nil {
			of := nodetypes.Node{}
			if err := of.Unmarshal(each.Key, each.Node); err != nil {
				return nil, err
			}
			of.Source = each.Source
			nodes.NodeUpdated(of)
			if err := cache.WaitForRevision(ctx, cache.UpsertMetadataBatch()); err != nil {
				return nil, err
			}
			continue
		}
		of := identity.IPIdentityPair{}
		if err := of.Unmarshal(each.Key, each.Endpoint); err != nil {
			return nil, err
		}
		ipcache.NewIPIdentityWatcher(quiet, "any", cache, factory, each.Source).OnUpdate(&of)
	}
	for network, of := range heard {
		if id := allocator.LookupIdentityByID(ctx, identity.NumericIdentity(of.Identity)); id != nil {
			of.Labels = id.LabelArray.GetModel()
			heard[network] = of
		}
	}
	return heard, nil
}

type listener map[string]meaning

func (l listener) OnIPIdentityCacheChange(kind ipcache.CacheModification, network cmtypes.PrefixCluster, _, host net.IP,
	_ *ipcache.Identity, of ipcache.Identity, key uint8, _ *ipcache.K8sMetadata, _ uint8,
) {
	if kind == ipcache.Delete {
		delete(l, network.String())
		return
	}
	found := meaning{Identity: uint32(of.ID), Key: key}
	if host != nil {
		found.HostIP = host.String()
	}
	l[network.String()] = found
}

// noSets stands for the sets of iptables, which need a kernel.
type noSets struct{}

func (noSets) NewInitializer() ipset.Initializer              { return noSets{} }
func (noSets) InitDone()                                      {}
func (noSets) AddToIPSet(string, ipset.Family, ...netip.Addr) {}
func (noSets) RemoveFromIPSet(string, ...netip.Addr)          {}

type noWireguard struct{}

func (noWireguard) Enabled() bool { return false }
