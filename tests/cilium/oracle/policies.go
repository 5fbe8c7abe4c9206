package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/endpoint/regeneration"
	"github.com/cilium/cilium/pkg/identity"
	ipcachetypes "github.com/cilium/cilium/pkg/ipcache/types"
	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	k8sutils "github.com/cilium/cilium/pkg/k8s/utils"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
	"github.com/cilium/cilium/pkg/policy/types"
	"github.com/cilium/cilium/pkg/policy/utils"
	"github.com/cilium/cilium/pkg/u8proto"
)

// policyQuestion: which identities does each selector of these policies select?
type policyQuestion struct {
	Cluster       string            `json:"cluster"`
	PeersAreLocal bool              `json:"peersAreLocal"`
	Identities    map[uint32]string `json:"identities"` // labels as in an etcd
	Later         map[uint32]string `json:"later"`      // the same for those that come after the selectors
	Policies      []json.RawMessage `json:"policies"`
}

// policyAnswer holds the places of selectors in the policy with the numbers that they select, or why Cilium refuses it.
type policyAnswer struct {
	Refused string              `json:"refused,omitempty"`
	Places  map[string][]uint32 `json:"places,omitempty"`
}

func configurePolicies() {
	option.Config.EnableNodeSelectorLabels = true
	option.Config.EnableHostFirewall = true
	option.Config.EnableICMPRules = true
	option.Config.EnableL7Proxy = true
	option.Config.EnableNonDefaultDenyPolicies = true
	option.Config.EnableIPv4 = true
	option.Config.EnableIPv6 = true
	policy.SetPolicyEnabled(option.DefaultEnforcement)
}

func policies(raw json.RawMessage) (any, error) {
	var asked policyQuestion
	if err := json.Unmarshal(raw, &asked); err != nil {
		return nil, err
	}
	api.InitEntities(asked.Cluster)
	found := []policyAnswer{}
	for _, each := range asked.Policies {
		rules, err := parsePolicy(each, asked)
		if err != nil {
			found = append(found, policyAnswer{Refused: err.Error()})
			continue
		}
		world := newSelections(asked)
		for _, rule := range rules {
			world.addRule(rule)
		}
		found = append(found, policyAnswer{Places: world.answer()})
	}
	return found, nil
}

type placedRule struct {
	path      string
	namespace string
	*api.Rule
}

// parsePolicy is what the watcher of policies does with an object (pkg/policy/k8s).
func parsePolicy(raw json.RawMessage, asked policyQuestion) ([]placedRule, error) {
	of := v2.CiliumNetworkPolicy{}
	if err := readObject(raw, &of); err != nil {
		return nil, err
	}
	cluster := asked.Cluster
	if !asked.PeersAreLocal {
		cluster = cmtypes.PolicyAnyCluster
	}
	rules, err := of.Parse(quiet, cluster)
	if err != nil {
		return nil, err
	}
	namespace := k8sutils.ExtractNamespace(&of.ObjectMeta)
	placed := []placedRule{}
	for number, rule := range rules {
		path := "spec"
		if of.Spec == nil {
			path = fmt.Sprintf("specs[%d]", number)
		} else if number > 0 {
			path = fmt.Sprintf("specs[%d]", number-1)
		}
		placed = append(placed, placedRule{path, namespace, rule})
	}
	return placed, nil
}

// selections holds one policy's selectors in a cache of Cilium's, and the rules' subjects in a repository.
type selections struct {
	repository *policy.Repository
	first      identity.IdentityMap
	later      identity.IdentityMap
	places     map[string][]policy.CachedSelector
	subjects   map[string]placedRule
}

func newSelections(asked policyQuestion) *selections {
	first := identityMap(asked.Identities)
	return &selections{
		repository: policy.NewPolicyRepository(quiet, first, nil, nil, nil, nil),
		first:      first,
		later:      identityMap(asked.Later),
		places:     map[string][]policy.CachedSelector{},
		subjects:   map[string]placedRule{},
	}
}

func identityMap(texts map[uint32]string) identity.IdentityMap {
	found := identity.IdentityMap{}
	for number, text := range texts {
		found[identity.NumericIdentity(number)] = labels.NewLabelArrayFromSortedList(text)
	}
	return found
}

func (s *selections) addRule(rule placedRule) {
	path := rule.path
	if rule.NodeSelector.LabelSelector != nil {
		s.subjects[path+".nodeSelector"] = rule
	} else {
		s.subjects[path+".endpointSelector"] = rule
	}
	for i, each := range rule.Ingress {
		s.addIngress(fmt.Sprintf("%s.ingress[%d]", path, i), each.IngressCommonRule)
	}
	for i, each := range rule.IngressDeny {
		s.addIngress(fmt.Sprintf("%s.ingressDeny[%d]", path, i), each.IngressCommonRule)
	}
	for i, each := range rule.Egress {
		s.addEgress(fmt.Sprintf("%s.egress[%d]", path, i), each.EgressCommonRule)
	}
	for i, each := range rule.EgressDeny {
		s.addEgress(fmt.Sprintf("%s.egressDeny[%d]", path, i), each.EgressCommonRule)
	}
}

func (s *selections) addIngress(path string, of api.IngressCommonRule) {
	s.addPeers(path+".fromEndpoints", of.FromEndpoints)
	s.addPeers(path+".fromNodes", of.FromNodes)
	s.addEntities(path+".fromEntities", of.FromEntities)
}

func (s *selections) addEgress(path string, of api.EgressCommonRule) {
	s.addPeers(path+".toEndpoints", of.ToEndpoints)
	s.addPeers(path+".toNodes", of.ToNodes)
	s.addEntities(path+".toEntities", of.ToEntities)
}

func (s *selections) addPeers(path string, peers api.EndpointSelectorSlice) {
	for i, peer := range peers {
		s.addSelectors(fmt.Sprintf("%s[%d]", path, i), types.ToSelectors(peer))
	}
}

func (s *selections) addEntities(path string, entities api.EntitySlice) {
	for i, entity := range entities {
		selectors := types.ToSelectors(api.EntitySlice{entity}.GetAsEndpointSelectors()...)
		s.addSelectors(fmt.Sprintf("%s[%d]", path, i), selectors)
	}
}

func (s *selections) addSelectors(place string, selectors types.Selectors) {
	cached, _ := s.repository.GetSelectorCache().AddSelectors(user(place), selectors...)
	s.places[place] = append(s.places[place], cached...)
}

func (s *selections) answer() map[string][]uint32 {
	waiting := sync.WaitGroup{}
	s.repository.GetSelectorCache().UpdateIdentities(maps.Clone(s.later), nil, &waiting)
	waiting.Wait()
	found := map[string][]uint32{}
	for place, cached := range s.places {
		numbers := map[identity.NumericIdentity]bool{}
		for _, each := range cached {
			for _, number := range each.GetSelections() {
				numbers[number] = true
			}
		}
		found[place] = sorted(numbers)
	}
	for place, rule := range s.subjects {
		found[place] = s.subjectsOf(rule.namespace, rule.Rule)
	}
	return found
}

// subjectsOf asks the repository whether the rule applies to each identity: whether that has a policy because of it. A pod
// that is being started always has one: of those the selector alone says it.
func (s *selections) subjectsOf(namespace string, rule *api.Rule) []uint32 {
	resource := ipcachetypes.NewResourceID(ipcachetypes.ResourceKindCNP, namespace, "asked")
	s.repository.UpdateIdentities(maps.Clone(s.first), nil)
	s.repository.ReplaceByResource(utils.RulesToPolicyEntries(api.Rules{rule}), resource)
	s.repository.UpdateIdentities(maps.Clone(s.later), nil)
	numbers := map[identity.NumericIdentity]bool{}
	for _, part := range []identity.IdentityMap{s.first, s.later} {
		for number, of := range part {
			if s.hasPolicy(number, of) {
				numbers[number] = true
			}
		}
	}
	selected, _, _ := s.repository.ReplaceByResource(nil, resource)
	for number := range numbers {
		if !selected.Has(number) {
			delete(numbers, number)
		}
	}
	s.repository.UpdateIdentities(nil, maps.Clone(s.first))
	s.repository.UpdateIdentities(nil, maps.Clone(s.later))
	return sorted(numbers)
}

func (s *selections) hasPolicy(number identity.NumericIdentity, of labels.LabelArray) bool {
	found, _, err := s.repository.ComputeSelectorPolicy(identity.NewIdentity(number, of.Labels()))
	if err != nil {
		panic(err)
	}
	defer found.Detach()
	distilled := found.DistillPolicy(quiet, endpoint{}, nil).SelectorPolicy
	return distilled.IngressPolicyEnabled || distilled.EgressPolicyEnabled
}

// endpoint is one that needs nothing but a policy.
type endpoint struct{}

func (endpoint) GetID() uint64                                      { return 1 }
func (endpoint) GetIngressNamedPort(string, u8proto.U8proto) uint16 { return 0 }
func (endpoint) PolicyDebug(string, ...any)                         {}
func (endpoint) IsHost() bool                                       { return false }
func (endpoint) PreviousMapStateSizes() (none policy.MapStateSizes) { return none }
func (endpoint) RegenerateIfAlive(*regeneration.ExternalRegenerationMetadata) <-chan bool {
	return nil
}

// user of a selector, named by its place.
type user string

func (user) IdentitySelectionUpdated(*slog.Logger, policy.CachedSelector, []identity.NumericIdentity, []identity.NumericIdentity) {
}
func (user) IdentitySelectionCommit(*slog.Logger, policy.SelectorSnapshot)    {}
func (user) IsPeerSelector() bool                                             { return true }
func (user) GetRuleLabels(policy.CachedSelector) (none labels.LabelArrayList) { return none }

func sorted(numbers map[identity.NumericIdentity]bool) []uint32 {
	found := []uint32{}
	for number := range numbers {
		found = append(found, uint32(number))
	}
	slices.Sort(found)
	return found
}
