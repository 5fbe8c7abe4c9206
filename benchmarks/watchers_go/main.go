// Watch connections and nothing behind them: so many agents, each with a connection for each path, as ours have.
//
// Usage: watchers URL CA-FILE TOKEN AGENTS PATH... It says "connected N" when every watch has answered, and ends with
// its standard input; then it says "events N", the number of lines that came after that.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

const atOnce = 32 // handshakes: more at a time would only wait for each other

func main() {
	url, ca, token, paths := os.Args[1], os.Args[2], os.Args[3], os.Args[5:]
	agents, err := strconv.Atoi(os.Args[4])
	check(err)
	pem, err := os.ReadFile(ca)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	trust := &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(0)}

	var events atomic.Int64
	var connected sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for agent := 0; agent < agents; agent++ {
		for _, path := range paths {
			connected.Add(1)
			slots <- struct{}{}
			go func() {
				body := open(trust, url+path, token)
				connected.Done()
				<-slots
				count(body, &events)
			}()
		}
	}
	connected.Wait()
	fmt.Printf("connected %d\n", agents*len(paths))
	io.Copy(io.Discard, os.Stdin)
	fmt.Printf("events %d\n", events.Load())
}

// open begins a watch on a connection of its own, from what is there now.
func open(trust *tls.Config, url, token string) io.Reader {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableCompression: true}}
	request, err := http.NewRequest("GET", url, nil)
	check(err)
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(request)
	check(err)
	if answer.StatusCode != 200 {
		check(fmt.Errorf("%s: %s", url, answer.Status))
	}
	return answer.Body
}

func count(body io.Reader, events *atomic.Int64) {
	lines := bufio.NewReaderSize(body, 4096)
	for {
		_, isPrefix, err := lines.ReadLine()
		check(err)
		if !isPrefix {
			events.Add(1)
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
