// Writes into an etcd as Cilium's agents do in kvstore mode: identity allocator, IP synchronizer, node registrar.
//
//	kvwriter ETCD-CONFIG NAME ID LEASE-TIME
//
// Each line of its input is an order as JSON; it answers each with one line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/cache"
	ipamoption "github.com/cilium/cilium/pkg/ipam/option"
	"github.com/cilium/cilium/pkg/ipcache"
	"github.com/cilium/cilium/pkg/kvstore"
	"github.com/cilium/cilium/pkg/labels"
	nodestore "github.com/cilium/cilium/pkg/node/store"
	nodetypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/types"
	"github.com/cilium/cilium/pkg/u8proto"
)

type client struct{ kvstore.BackendOperations }

func (client) IsEnabled() bool { return true }

type owner struct{}

func (owner) UpdateIdentities(_, _ identity.IdentityMap) <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (owner) GetNodeSuffix() string      { return "172.18.0.2" }
func (owner) NodeUpdated(nodetypes.Node) {}
func (owner) NodeDeleted(nodetypes.Node) {}
func (owner) NodeSync()                  {}

type ip struct {
	IP, Host, Namespace, Pod, Account string
	Identity                          uint32
	Key                               uint8
	Ports                             map[string]uint16
}

// order is one of these.
type order struct {
	Node   *nodetypes.Node
	Labels []string
	IP     *ip
	Delete string
	Beat   string
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	id, err := strconv.ParseUint(os.Args[3], 10, 32)
	must(err)
	lease, err := time.ParseDuration(os.Args[4])
	must(err)
	option.Config.ClusterName, option.Config.ClusterID = os.Args[2], uint32(id)
	option.Config.IdentityAllocationMode = option.IdentityAllocationModeKVstore
	option.Config.IPAM = ipamoption.IPAMClusterPool

	backend, failed := kvstore.NewClient(ctx, logger, kvstore.EtcdBackendName,
		map[string]string{kvstore.EtcdOptionConfig: os.Args[1]},
		kvstore.ExtraOptions{LeaseTTL: lease, NoLockQuorumCheck: true, NoEndpointStatusChecks: true})
	must(<-failed)
	etcd := client{backend}
	identities := cache.NewCachingIdentityAllocator(logger, owner{}, cache.NewTestAllocatorConfig())
	<-identities.InitIdentityAllocator(nil, etcd)
	ips := ipcache.NewIPIdentitySynchronizer(logger, etcd)
	registrars := map[string]*nodestore.NodeRegistrar{}

	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		var next order
		must(json.Unmarshal(input.Bytes(), &next))
		answer := uint32(0)
		switch {
		case next.Node != nil:
			registrar, known := registrars[next.Node.Name]
			if known {
				must(registrar.UpdateLocalKeySync(ctx, next.Node))
			} else {
				registrar = &nodestore.NodeRegistrar{}
				must(registrar.RegisterNode(ctx, logger, etcd, next.Node, owner{}))
				registrars[next.Node.Name] = registrar
			}
		case next.Labels != nil:
			found, _, err := identities.AllocateIdentity(ctx, labels.NewLabelsFromModel(next.Labels), false, identity.InvalidIdentity)
			must(err)
			answer = uint32(found.ID)
		case next.IP != nil:
			must(ips.Upsert(ctx, params(next.IP)))
		case next.Delete != "":
			must(ips.Delete(ctx, next.Delete))
		case next.Beat != "":
			must(etcd.Update(ctx, kvstore.HeartbeatPath, []byte(next.Beat), true))
		}
		fmt.Println(answer)
	}
}

func params(of *ip) *ipcache.UpsertParams {
	ports := types.NamedPortMap{}
	for name, port := range of.Ports {
		ports[name] = types.PortProto{Port: port, Proto: u8proto.TCP}
	}
	host, _ := netip.ParseAddr(of.Host)
	return &ipcache.UpsertParams{
		IP: netip.MustParseAddr(of.IP), HostIP: host, ID: identity.NumericIdentity(of.Identity), Key: of.Key,
		K8sNamespace: of.Namespace, K8sPodName: of.Pod, K8sServiceAccount: of.Account, NPM: ports,
	}
}
