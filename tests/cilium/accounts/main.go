// Makes the users and roles that Cilium's etcdinit makes, on an etcd that runs already.
//
//	accounts ENDPOINT CA CERTIFICATE KEY CLUSTER
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"

	etcdinit "github.com/cilium/cilium/pkg/kvstore/etcdinit"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	info := transport.TLSInfo{TrustedCAFile: os.Args[2], CertFile: os.Args[3], KeyFile: os.Args[4]}
	tls, err := info.ClientConfig()
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Context: ctx, Endpoints: []string{os.Args[1]}, TLS: tls})
	must(err)
	must(etcdinit.ClusterMeshEtcdInit(ctx, slog.New(slog.DiscardHandler), client, os.Args[5]))
}
