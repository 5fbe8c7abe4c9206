// Answers what Cilium's own packages make of objects, for tests that compare our consumers with them.
//
// Reads one question a line on standard input, as JSON, and prints one line for each: {"answer": ...} or {"error": "..."}
// where the question itself cannot be read. What Cilium refuses is part of an answer. State is never kept between two
// questions, so that one process answers thousands.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	kjson "sigs.k8s.io/json"
)

// Cilium's own log would mix with nothing, but nobody reads it.
var quiet = slog.New(slog.DiscardHandler)

var answers = map[string]func(json.RawMessage) (any, error){
	"networks": networks,
	"policies": policies,
	"services": services,
}

type question struct {
	About string          `json:"about"`
	Ask   json.RawMessage `json:"ask"`
}

func main() {
	slog.SetDefault(quiet)
	configurePolicies()
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return
		}
		encoded, err := json.Marshal(reply(line))
		if err != nil {
			encoded = []byte(`{"error": "the answer is not JSON"}`)
		}
		out.Write(append(encoded, '\n'))
		out.Flush()
	}
}

// A panic of Cilium's code is told as an error: the next question is answered as if nothing had happened.
func reply(line []byte) (told map[string]any) {
	defer func() {
		if trouble := recover(); trouble != nil {
			told = map[string]any{"error": fmt.Sprintf("panic: %v", trouble)}
		}
	}()
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		return map[string]any{"error": err.Error()}
	}
	answer, known := answers[asked.About]
	if !known {
		return map[string]any{"error": fmt.Sprintf("no questions about %q", asked.About)}
	}
	found, err := answer(asked.Ask)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"answer": found}
}

// readObject decodes a Kubernetes object as Kubernetes' clients do: names of fields are exact.
func readObject(raw json.RawMessage, into any) error {
	return kjson.UnmarshalCaseSensitivePreserveInts(raw, into)
}
