package main

import (
	"iter"
	"log"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cilium/statedb"
	"github.com/cilium/statedb/index"
)

// Named is a row with a second key of its own.
type Named struct {
	ID   string
	Name string
}

var (
	namedByID = statedb.Index[*Named, string]{
		Name:       "id",
		FromObject: func(row *Named) index.KeySet { return index.NewKeySet(index.String(row.ID)) },
		FromKey:    index.String,
		Unique:     true,
	}
	namedByName = statedb.Index[*Named, string]{
		Name:       "name",
		FromObject: func(row *Named) index.KeySet { return index.NewKeySet(index.String(row.Name)) },
		FromKey:    index.String,
		Unique:     true,
	}
)

// atOnce is how many rows a transaction has, and how many keys are looked up in one state, where several goroutines
// work at once; there are so many readers, and two writers.
const (
	atOnce  = 100
	readers = 4
)

// moved are the rows, each with the node of the one so many places further on.
func moved(rows []*Row, places int) []*Row {
	nodes := make([]string, 0, len(rows))
	for _, row := range rows {
		nodes = append(nodes, row.Node)
	}
	for at, row := range rows {
		row.Node = nodes[(at+places)%len(rows)]
	}
	return rows
}

// deleteMost deletes nine of ten rows of a new table.
func (p *peer) deleteMost(task Task) ([]float64, string) {
	table, rows := newRows(), makeRows(p.input.Rows, task.Revision)
	write(table.db, table.rows, rows, len(rows))
	var keys []*Row
	for number, key := range p.keys {
		if number%10 != 0 {
			keys = append(keys, &Row{ID: key})
		}
	}
	took := timed(len(keys), func() {
		for chunk := range slices.Chunk(keys, task.Batch) {
			txn := table.db.WriteTxn(table.rows)
			for _, key := range chunk {
				if _, _, err := table.rows.Delete(txn, key); err != nil {
					log.Fatal(err)
				}
			}
			txn.Commit()
		}
	})
	return took, digest(table.all())
}

// getByName looks rows up by the second of their two unique keys.
func (p *peer) getByName() ([]float64, string) {
	db := statedb.New()
	table := newTable[*Named](db, "names", namedByID, namedByName)
	rows := make([]*Named, 0, len(p.keys))
	names := make([]string, 0, len(p.keys))
	for _, key := range p.keys {
		rows = append(rows, &Named{strings.Clone(key), "name-of-" + key})
		names = append(names, "name-of-"+key)
	}
	write(db, table, rows, len(rows))
	txn := db.ReadTxn()
	took := timed(len(names), func() {
		for _, name := range names {
			table.Get(txn, namedByName.Query(name))
		}
	})
	ids := make([]string, 0, len(names))
	for _, name := range names {
		if row, _, found := table.Get(txn, namedByName.Query(name)); found {
			ids = append(ids, row.ID)
		}
	}
	return took, digestOf(ids)
}

// old is a snapshot of a new table, and that table after so many transactions of one row.
func (p *peer) old(task Task) (rowsTable, statedb.ReadTxn) {
	table, rows := newRows(), makeRows(p.input.Rows, 0)
	write(table.db, table.rows, rows, len(rows))
	txn := table.db.ReadTxn()
	for start, lap := 0, 1; start < task.Age; start, lap = start+len(rows), lap+1 {
		changed := makeRows(p.input.Rows, lap)
		write(table.db, table.rows, changed[:min(len(changed), task.Age-start)], 1)
	}
	return table, txn
}

// prefix lists the rows under every prefix of a hundred keys.
func (p *peer) prefix() ([]float64, string) {
	prefixes := sortedSet(p.input.Rows, func(triple [3]string) string { return triple[0][:len(triple[0])-2] })
	txn := p.rows.db.ReadTxn()
	return p.listEach(prefixes, func(prefix string) iter.Seq2[*Row, statedb.Revision] {
		return p.rows.rows.Prefix(txn, byID.Query(prefix))
	})
}

// snapshot takes as many snapshots as there are rows.
func (p *peer) snapshot() ([]float64, string) {
	took := timed(len(p.keys), func() {
		for range p.keys {
			taken = p.rows.db.ReadTxn()
		}
	})
	return took, digest(p.rows.all())
}

// taken is where snapshots go, so that the compiler does not leave them out.
var taken statedb.ReadTxn

// commitNothing commits as many transactions that write nothing as there are rows.
func (p *peer) commitNothing() ([]float64, string) {
	took := timed(len(p.keys), func() {
		for range p.keys {
			p.rows.db.WriteTxn(p.rows.rows).Commit()
		}
	})
	return took, digest(p.rows.all())
}

// follow folds changes into a map in one goroutine while another writes, until all rows are there.
func (p *peer) follow(task Task) ([]float64, string) {
	table, rows := newRows(), makeRows(p.input.Rows, task.Revision)
	txn := table.db.WriteTxn(table.rows)
	stream, err := table.rows.Changes(txn)
	if err != nil {
		log.Fatal(err)
	}
	txn.Commit()
	defer stream.Close()
	folded := map[string]*Row{}
	took := timed(len(rows), func() {
		var follower sync.WaitGroup
		follower.Go(func() {
			for {
				changes, watch := stream.Next(table.db.ReadTxn())
				for change := range changes {
					folded[change.Object.ID] = change.Object
				}
				if len(folded) == len(rows) {
					return
				}
				<-watch
			}
		})
		write(table.db, table.rows, rows, task.Batch)
		follower.Wait()
	})
	return took, digest(sortedRows(folded))
}

// together replaces a half of the rows in each of two goroutines, while four others look up a half of them each. The
// batch of the task is the number of tables.
func (p *peer) together(task Task) ([]float64, string) {
	db := statedb.New()
	tables := []rowsTable{
		{db, newTable[*Row](db, "rows", byID, byNode, byIdentity)},
		{db, newTable[*Row](db, "other_rows", byID, byNode, byIdentity)},
	}[:task.Batch]
	halves := halve(makeRows(p.input.Rows, task.Revision))
	for number, half := range halve(makeRows(p.input.Rows, 0)) {
		write(db, tables[number%len(tables)].rows, half, atOnce)
	}
	took := timed(len(p.keys)+readers*len(p.keys)/2, func() {
		var working sync.WaitGroup
		for number, half := range halves {
			working.Go(func() { write(db, tables[number%len(tables)].rows, half, atOnce) })
		}
		for number := range readers {
			working.Go(func() { tables[number%len(tables)].lookUp(halves[number%2]) })
		}
		working.Wait()
	})
	left := map[string]*Row{}
	for _, table := range tables {
		for _, row := range table.all() {
			left[row.ID] = row
		}
	}
	return took, digest(sortedRows(left))
}

// lookUp gets every row, some of one state at a time, into a new list each time.
func (t rowsTable) lookUp(rows []*Row) {
	for chunk := range slices.Chunk(rows, atOnce) {
		txn := t.db.ReadTxn()
		found := make([]*Row, 0, len(chunk))
		for _, row := range chunk {
			if row, _, ok := t.rows.Get(txn, byID.Query(row.ID)); ok {
				found = append(found, row)
			}
		}
		if len(found) != len(chunk) {
			log.Fatal("a key is missing while its row is replaced")
		}
	}
}

// halve is every other row, and the rows between.
func halve(rows []*Row) [2][]*Row {
	var halves [2][]*Row
	for at, row := range rows {
		halves[at%2] = append(halves[at%2], row)
	}
	return halves
}

func sortedRows(rows map[string]*Row) []*Row {
	sorted := make([]*Row, 0, len(rows))
	for _, row := range rows {
		sorted = append(sorted, row)
	}
	slices.SortFunc(sorted, func(a, b *Row) int { return strings.Compare(a.ID, b.ID) })
	return sorted
}

// memory is how many bytes the process grows by for each row, rows and indexes and what garbage collection leaves; the
// process must have done nothing before.
func (p *peer) memory(task Task) ([]float64, string) {
	before := resident()
	p.rows = newRows()
	write(p.rows.db, p.rows.rows, makeRows(p.input.Rows, task.Revision), task.Batch)
	grown := max(resident()-before, os.Getpagesize())
	return []float64{float64(grown) / float64(len(p.keys))}, digest(p.rows.all())
}

// resident is how many bytes of the process are in memory, after a collection that gives back what it can.
func resident() int {
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		log.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		log.Fatal(err)
	}
	return pages * os.Getpagesize()
}
