// The Go original at the work of benchmarks/gopeer.py: standard input has what to work on, then one task after the
// other, as JSON; each task is answered with one JSON object, {"name", "samples", "answer"}: what an operation took in
// nanoseconds (every sample, where a task takes many), and a digest of the result.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cilium/statedb"
	"github.com/cilium/statedb/index"
)

// Input is what all tasks work on: rows as triples of id, node and identity, in their shuffled order.
type Input struct {
	Rows      [][3]string `json:"rows"`
	Networks  []string    `json:"networks"`
	Addresses []string    `json:"addresses"`
	Wakes     int         `json:"wakes"`
}

// Task is one piece of work; rows that it writes have the revision. Age is the number of transactions of one row that
// come after the snapshot which is asked.
type Task struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Batch    int    `json:"batch"`
	Revision int    `json:"revision"`
	Age      int    `json:"age"`
}

// Done is the answer to a task.
type Done struct {
	Name    string    `json:"name"`
	Samples []float64 `json:"samples"`
	Answer  string    `json:"answer"`
}

// Row is a row like an endpoint's.
type Row struct {
	ID       string
	Node     string
	Identity string
	Revision int
	State    string
}

// Network is a row with an IP prefix, parsed before it is inserted.
type Network struct {
	Text   string
	Prefix netip.Prefix
}

var (
	byID = statedb.Index[*Row, string]{
		Name:       "id",
		FromObject: func(row *Row) index.KeySet { return index.NewKeySet(index.String(row.ID)) },
		FromKey:    index.String,
		Unique:     true,
	}
	byNode = statedb.Index[*Row, string]{
		Name:       "node",
		FromObject: func(row *Row) index.KeySet { return index.NewKeySet(index.String(row.Node)) },
		FromKey:    index.String,
	}
	byIdentity = statedb.Index[*Row, string]{
		Name:       "identity",
		FromObject: func(row *Row) index.KeySet { return index.NewKeySet(index.String(row.Identity)) },
		FromKey:    index.String,
	}
	byText = statedb.Index[*Network, string]{
		Name:       "text",
		FromObject: func(row *Network) index.KeySet { return index.NewKeySet(index.String(row.Text)) },
		FromKey:    index.String,
		Unique:     true,
	}
	byPrefix = statedb.NetIPPrefixIndex[*Network]{
		Name:       "prefix",
		FromObject: func(row *Network) iter.Seq[netip.Prefix] { return statedb.Just(row.Prefix) },
	}
)

// rowsTable and networksTable are tables in a database of their own.
type rowsTable struct {
	db   *statedb.DB
	rows statedb.RWTable[*Row]
}

type networksTable struct {
	db       *statedb.DB
	networks statedb.RWTable[*Network]
}

func newRows() rowsTable {
	db := statedb.New()
	return rowsTable{db, newTable[*Row](db, "rows", byID, byNode, byIdentity)}
}

func newNetworks() networksTable {
	db := statedb.New()
	return networksTable{db, newTable[*Network](db, "networks", byText, byPrefix)}
}

func newTable[Obj any](
	db *statedb.DB,
	name string,
	primary statedb.Indexer[Obj],
	others ...statedb.Indexer[Obj],
) statedb.RWTable[Obj] {
	header := func() []string { return nil }
	table, err := statedb.NewTableAny(db, name, header, func(Obj) []string { return nil }, primary, others...)
	if err != nil {
		log.Fatal(err)
	}
	return table
}

// write inserts or replaces objects in transactions of so many.
func write[Obj any](db *statedb.DB, table statedb.RWTable[Obj], objects []Obj, batch int) {
	for chunk := range slices.Chunk(objects, batch) {
		txn := db.WriteTxn(table)
		for _, object := range chunk {
			if _, _, err := table.Insert(txn, object); err != nil {
				log.Fatal(err)
			}
		}
		txn.Commit()
	}
}

// peer is what tasks leave behind for the tasks after them: tables filled by the last task that inserted.
type peer struct {
	input    Input
	keys     []string
	rows     rowsTable
	networks networksTable
}

// do runs a task. Samples are nanoseconds for each operation.
func (p *peer) do(task Task) (samples []float64, answer string) {
	switch task.Kind {
	case "insert":
		return p.insert(p.input.Rows, task)
	case "insert in order":
		triples := slices.Clone(p.input.Rows)
		slices.SortFunc(triples, func(a, b [3]string) int { return strings.Compare(a[0], b[0]) })
		return p.insert(triples, task)
	case "replace":
		rows := makeRows(p.input.Rows, task.Revision)
		took := timed(len(rows), func() { write(p.rows.db, p.rows.rows, rows, task.Batch) })
		return took, digest(p.rows.all())
	case "move":
		rows := moved(makeRows(p.input.Rows, task.Revision), task.Revision)
		took := timed(len(rows), func() { write(p.rows.db, p.rows.rows, rows, task.Batch) })
		return took, digest(p.rows.all())
	case "delete":
		return p.deleteMost(task)
	case "get":
		return p.rows.get(p.rows.db.ReadTxn(), p.keys)
	case "miss":
		missing := make([]string, 0, len(p.keys))
		for _, key := range p.keys {
			missing = append(missing, key+"-not")
		}
		return p.rows.get(p.rows.db.ReadTxn(), missing)
	case "get by name":
		return p.getByName()
	case "get old":
		table, txn := p.old(task)
		return table.get(txn, p.keys)
	case "list old":
		table, txn := p.old(task)
		return p.list(table, txn, byNode, 1)
	case "prefix":
		return p.prefix()
	case "snapshot":
		return p.snapshot()
	case "empty commit":
		return p.commitNothing()
	case "follow":
		return p.follow(task)
	case "together":
		return p.together(task)
	case "memory":
		return p.memory(task)
	case "list by node":
		return p.list(p.rows, p.rows.db.ReadTxn(), byNode, 1)
	case "list by identity":
		return p.list(p.rows, p.rows.db.ReadTxn(), byIdentity, 2)
	case "iterate":
		return p.iterate()
	case "changes":
		return p.changes(task)
	case "insert prefixes":
		return p.insertPrefixes(task)
	case "longest":
		return p.longest()
	case "longest of text":
		return p.longestOfText()
	case "wake":
		return p.wake()
	}
	log.Fatalf("there is no task %q", task.Kind)
	return nil, ""
}

func (p *peer) insert(triples [][3]string, task Task) ([]float64, string) {
	rows := makeRows(triples, task.Revision)
	p.rows = newRows()
	took := timed(len(rows), func() { write(p.rows.db, p.rows.rows, rows, task.Batch) })
	return took, digest(p.rows.all())
}

// get looks keys up; the answer is of the rows that are there.
func (t rowsTable) get(txn statedb.ReadTxn, keys []string) ([]float64, string) {
	took := timed(len(keys), func() {
		for _, key := range keys {
			t.rows.Get(txn, byID.Query(key))
		}
	})
	rows := make([]*Row, 0, len(keys))
	for _, key := range keys {
		if row, _, found := t.rows.Get(txn, byID.Query(key)); found {
			rows = append(rows, row)
		}
	}
	return took, digest(rows)
}

// list lists the rows of every key of an index, keys in order; field says where a triple has the key.
func (p *peer) list(
	table rowsTable,
	txn statedb.ReadTxn,
	by statedb.Index[*Row, string],
	field int,
) ([]float64, string) {
	keys := sortedSet(p.input.Rows, func(triple [3]string) string { return triple[field] })
	return p.listEach(keys, func(key string) iter.Seq2[*Row, statedb.Revision] {
		return table.rows.List(txn, by.Query(key))
	})
}

// listEach lists the rows that are found for each key; all rows are found once.
func (p *peer) listEach(keys []string, find func(string) iter.Seq2[*Row, statedb.Revision]) ([]float64, string) {
	took := timed(len(p.input.Rows), func() {
		for _, key := range keys {
			for range find(key) {
			}
		}
	})
	var rows []*Row
	for _, key := range keys {
		for row := range find(key) {
			rows = append(rows, row)
		}
	}
	return took, digest(rows)
}

// sortedSet is what there is of something in the triples.
func sortedSet(triples [][3]string, of func([3]string) string) []string {
	seen := map[string]bool{}
	for _, triple := range triples {
		seen[of(triple)] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func (p *peer) iterate() ([]float64, string) {
	txn := p.rows.db.ReadTxn()
	took := timed(len(p.input.Rows), func() {
		for range p.rows.rows.All(txn) {
		}
	})
	return took, digest(p.rows.all())
}

// changes drains a stream that was opened before all rows were inserted.
func (p *peer) changes(task Task) ([]float64, string) {
	table := newRows()
	txn := table.db.WriteTxn(table.rows)
	stream, err := table.rows.Changes(txn)
	if err != nil {
		log.Fatal(err)
	}
	txn.Commit()
	defer stream.Close()
	write(table.db, table.rows, makeRows(p.input.Rows, task.Revision), task.Batch)
	taken := make([]statedb.Change[*Row], 0, len(p.input.Rows))
	took := timed(len(p.input.Rows), func() {
		changes, _ := stream.Next(table.db.ReadTxn())
		for change := range changes {
			taken = append(taken, change)
		}
	})
	rows := make([]*Row, 0, len(taken))
	for _, change := range taken {
		rows = append(rows, change.Object)
	}
	slices.SortFunc(rows, func(a, b *Row) int { return strings.Compare(a.ID, b.ID) })
	return took, digest(rows)
}

func (p *peer) insertPrefixes(task Task) ([]float64, string) {
	networks := make([]*Network, 0, len(p.input.Networks))
	for _, text := range p.input.Networks {
		networks = append(networks, &Network{strings.Clone(text), netip.MustParsePrefix(text)})
	}
	p.networks = newNetworks()
	took := timed(len(networks), func() { write(p.networks.db, p.networks.networks, networks, task.Batch) })
	var texts []string
	for network := range p.networks.networks.All(p.networks.db.ReadTxn()) {
		texts = append(texts, network.Text)
	}
	return took, digestOf(texts)
}

// longest looks addresses up that were parsed before.
func (p *peer) longest() ([]float64, string) {
	addresses := make([]netip.Addr, 0, len(p.input.Addresses))
	for _, text := range p.input.Addresses {
		addresses = append(addresses, netip.MustParseAddr(text))
	}
	txn := p.networks.db.ReadTxn()
	took := timed(len(addresses), func() {
		for _, address := range addresses {
			for range p.networks.networks.List(txn, byPrefix.Query(address)) {
			}
		}
	})
	return took, p.longestTexts(txn)
}

// longestOfText looks addresses up that are text.
func (p *peer) longestOfText() ([]float64, string) {
	txn := p.networks.db.ReadTxn()
	took := timed(len(p.input.Addresses), func() {
		for _, text := range p.input.Addresses {
			for range p.networks.networks.List(txn, byPrefix.Query(netip.MustParseAddr(text))) {
			}
		}
	})
	return took, p.longestTexts(txn)
}

func (p *peer) longestTexts(txn statedb.ReadTxn) string {
	var texts []string
	for _, text := range p.input.Addresses {
		for network := range p.networks.networks.List(txn, byPrefix.Query(netip.MustParseAddr(text))) {
			texts = append(texts, network.Text)
		}
	}
	return digestOf(texts)
}

// wake takes the times from the call of Commit to the next line of a goroutine that waits for the row.
func (p *peer) wake() ([]float64, string) {
	table := newRows()
	few := slices.DeleteFunc(makeRows(p.input.Rows, 0), func(row *Row) bool { return row.ID >= "pod-0000400" })
	write(table.db, table.rows, few, len(few))
	key := "pod-0000001"
	waiting, woken := make(chan struct{}), make(chan time.Time)
	go func() {
		for range p.input.Wakes {
			_, _, watch, _ := table.rows.GetWatch(table.db.ReadTxn(), byID.Query(key))
			waiting <- struct{}{}
			<-watch
			woken <- time.Now()
		}
	}()
	var took []float64
	for number := range p.input.Wakes {
		<-waiting
		time.Sleep(time.Millisecond) // until it waits indeed: this is a measurement, not a synchronisation
		txn := table.db.WriteTxn(table.rows)
		if _, _, err := table.rows.Insert(txn, &Row{key, "n", "i", number, "ready"}); err != nil {
			log.Fatal(err)
		}
		started := time.Now()
		txn.Commit()
		took = append(took, float64((<-woken).Sub(started)))
	}
	row, _, _ := table.rows.Get(table.db.ReadTxn(), byID.Query(key))
	return took, digest([]*Row{row})
}

func makeRows(triples [][3]string, revision int) []*Row {
	rows := make([]*Row, 0, len(triples))
	for _, triple := range triples {
		id, node, identity := strings.Clone(triple[0]), strings.Clone(triple[1]), strings.Clone(triple[2])
		rows = append(rows, &Row{id, node, identity, revision, "ready"})
	}
	return rows
}

// all are the rows of the table in key order.
func (t rowsTable) all() []*Row {
	var rows []*Row
	for row := range t.rows.All(t.db.ReadTxn()) {
		rows = append(rows, row)
	}
	return rows
}

// timed are the nanoseconds for each of so many operations, begun after a collection.
func timed(operations int, work func()) []float64 {
	runtime.GC()
	started := time.Now()
	work()
	return []float64{float64(time.Since(started)) / float64(operations)}
}

func digest(rows []*Row) string {
	lines := make([]string, 0, len(rows))
	for _, row := range rows {
		lines = append(lines, fmt.Sprintf("%s %s %s %d %s", row.ID, row.Node, row.Identity, row.Revision, row.State))
	}
	return digestOf(lines)
}

func digestOf(lines []string) string {
	found := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return fmt.Sprintf("%x", found[:8])
}

func main() {
	commands, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	p := &peer{}
	if err := commands.Decode(&p.input); err != nil {
		log.Fatalf("the input: %v", err)
	}
	for _, triple := range p.input.Rows {
		p.keys = append(p.keys, triple[0])
	}
	for {
		var task Task
		if err := commands.Decode(&task); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatalf("a task: %v", err)
		}
		samples, answer := p.do(task)
		if err := answers.Encode(Done{task.Name, samples, answer}); err != nil {
			log.Fatal(err)
		}
	}
}
