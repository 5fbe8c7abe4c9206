// Clients that programs in Go keep pods with, each in a process of its own. It answers the questions of
// benchmarks/informers/follower.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	podsOfANode = 30
	lookupTime  = 300 * time.Millisecond
	protobuf    = "application/vnd.kubernetes.protobuf"
)

var began = time.Now()

// step and lookups are what follower.py calls Step and Lookups.
type step struct {
	CPU      float64 `json:"cpu_s"`
	Wall     float64 `json:"wall_s"`
	Resident int     `json:"resident"`
}

type lookups struct {
	ByName float64 `json:"by_name"`
	ByNode float64 `json:"by_node"`
}

// seen has the newest version of each pod that has come. The one who waits is woken once, when the goal holds.
type seen struct {
	lock     sync.Mutex
	versions map[string]int
	goal     func() bool
	reached  chan struct{}
}

func (s *seen) pod(object any) {
	pod := object.(*corev1.Pod)
	s.lock.Lock()
	defer s.lock.Unlock()
	s.versions[pod.Name] = number(pod.ResourceVersion)
	s.look()
}

func (s *seen) look() {
	if s.goal != nil && s.goal() {
		s.goal = nil
		s.reached <- struct{}{}
	}
}

func (s *seen) wait(goal func() bool) {
	s.lock.Lock()
	s.goal = goal
	s.look()
	s.lock.Unlock()
	<-s.reached
}

func (s *seen) handler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{AddFunc: s.pod, UpdateFunc: func(_, pod any) { s.pod(pod) }}
}

// following answers look-ups; both say how many pods they found.
type following struct {
	byName func(name string) int
	byNode func(node string) int
}

func node(pod any) ([]string, error) { return []string{pod.(*corev1.Pod).Spec.NodeName}, nil }

// fewFields keeps of a pod what our typed rows would be asked for most.
func fewFields(object any) (any, error) {
	pod, is := object.(*corev1.Pod)
	if !is {
		return object, nil
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID,
			ResourceVersion: pod.ResourceVersion, Labels: pod.Labels},
		Spec:   corev1.PodSpec{NodeName: pod.Spec.NodeName},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP},
	}, nil
}

func clientGo(config *rest.Config, s *seen, transform toolscache.TransformFunc) following {
	config.ContentType = protobuf
	config.AcceptContentTypes = protobuf + ",application/json"
	factory := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(config), 0)
	pods := factory.Core().V1().Pods()
	informer := pods.Informer()
	check(informer.AddIndexers(toolscache.Indexers{"node": node}))
	if transform != nil {
		check(informer.SetTransform(transform))
	}
	_, err := informer.AddEventHandler(s.handler())
	check(err)
	factory.Start(nil)
	lister, indexer := pods.Lister().Pods("default"), informer.GetIndexer()
	return following{
		byName: func(name string) int {
			_, err := lister.Get(name)
			check(err)
			return 1
		},
		byNode: func(node string) int {
			found, err := indexer.ByIndex("node", node)
			check(err)
			return len(found)
		},
	}
}

func controllerRuntime(config *rest.Config, s *seen) following {
	ctx, scheme := context.Background(), kruntime.NewScheme()
	check(corev1.AddToScheme(scheme))
	pods, err := cache.New(config, cache.Options{Scheme: scheme})
	check(err)
	go func() { check(pods.Start(ctx)) }()
	check(pods.IndexField(ctx, &corev1.Pod{}, "spec.nodeName", func(pod client.Object) []string {
		return []string{pod.(*corev1.Pod).Spec.NodeName}
	}))
	informer, err := pods.GetInformer(ctx, &corev1.Pod{}, cache.BlockUntilSynced(false))
	check(err)
	_, err = informer.AddEventHandler(s.handler())
	check(err)
	return following{
		byName: func(name string) int {
			check(pods.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, &corev1.Pod{}))
			return 1
		},
		byNode: func(node string) int {
			var found corev1.PodList
			check(pods.List(ctx, &found, client.MatchingFields{"spec.nodeName": node}))
			return len(found.Items)
		},
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func cpu(who int) float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(who, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func now() step {
	used := cpu(syscall.RUSAGE_SELF)
	memory, err := os.ReadFile("/proc/self/statm")
	check(err)
	resident := number(strings.Fields(string(memory))[1]) * os.Getpagesize()
	return step{used, time.Since(began).Seconds(), resident}
}

// rate is how often one thread finds something in a second of its CPU.
func rate(find func(key string) int, prefix string, count int) float64 {
	const thread = 1 // RUSAGE_THREAD
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	keys := make([]string, 500)
	for at := range keys {
		keys[at] = prefix + strconv.Itoa(rand.Intn(count))
	}
	done, begun, until := 0, cpu(thread), time.Now().Add(lookupTime)
	for time.Now().Before(until) {
		for _, key := range keys {
			if find(key) == 0 {
				check(fmt.Errorf("wrong result: %s is found", key))
			}
		}
		done += len(keys)
	}
	return float64(done) / (cpu(thread) - begun)
}

func answer(s *seen, followed following, question []string) any {
	switch question[0] {
	case "synced":
		pods := number(question[1])
		s.wait(func() bool { return len(s.versions) >= pods })
	case "until":
		name, version := question[1], number(question[2])
		s.wait(func() bool { return s.versions[name] >= version })
	case "lookups":
		pods := number(question[1])
		return lookups{rate(followed.byName, "pod-", pods), rate(followed.byNode, "node-", pods/podsOfANode)}
	}
	return now()
}

// Arguments: which client, and the kubeconfig.
func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[2])
	check(err)
	s := &seen{versions: map[string]int{}, reached: make(chan struct{}, 1)}
	var followed following
	switch os.Args[1] {
	case "client-go":
		followed = clientGo(config, s, nil)
	case "client-go-few":
		followed = clientGo(config, s, fewFields)
	case "controller-runtime":
		followed = controllerRuntime(config, s)
	default:
		check(fmt.Errorf("there is no client %s", os.Args[1]))
	}
	questions := bufio.NewScanner(os.Stdin)
	for questions.Scan() {
		check(json.NewEncoder(os.Stdout).Encode(answer(s, followed, strings.Fields(questions.Text()))))
	}
}
