// What the load generators of the others share: who calls when, what counts, and a report with the names of
// `bftnode bench --json`. It is compiled with one of etcd_load.go and cometbft_load.go, each of which knows its system.
//
// Closed loop: so many callers, each waits for its own operation, or batch of so many (-batch). Open loop (-rate):
// operations are due at a steady pace whatever happened to those before, and each one's latency counts from when it
// was due, so a stall is seen by every operation that came while it lasted. The warm-up, a closed loop, is left out;
// what was begun is waited for.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A caller whose operation failed waits so long, as a user's would: spinning would slow the others' election down.
	pauseAfterError = 10 * time.Millisecond
	// Shorter silences between acknowledgements are not listed.
	silenceMin = 20 * time.Millisecond
	// Of each question to a member from which what was acknowledged is read back.
	readBackPatience = 5 * time.Second
)

// refused is (wrapped) what a system says of an operation that it will not order; other errors leave that unknown.
var refused = errors.New("refused")

type report struct {
	Mode           string       `json:"mode"`
	Callers        int          `json:"callers"`
	Depth          int          `json:"depth"`
	Batch          int          `json:"batch"`
	Connections    int          `json:"connections"`
	Rate           *float64     `json:"rate"`
	ValueBytes     int          `json:"value_bytes"`
	DurationS      float64      `json:"duration_s"`
	Operations     int          `json:"operations"`
	OperationsPerS float64      `json:"operations_per_s"`
	MedianMs       *float64     `json:"latency_ms_median"`
	P95Ms          *float64     `json:"latency_ms_p95"`
	P99Ms          *float64     `json:"latency_ms_p99"`
	MaxMs          *float64     `json:"latency_ms_max"`
	Refused        int          `json:"refused"`
	Unknown        int          `json:"outcome_unknown"`
	LastError      string       `json:"last_error"`
	Silences       [][2]float64 `json:"silences"`
	Last           float64      `json:"last_acknowledged"`
	ReadBackFrom   int          `json:"read_back_from"`
	Missing        int          `json:"acknowledged_and_lost"`
	Go             string       `json:"go"`
}

// load is what is asked for.
type load struct {
	callers, batch, size       int
	rate                       float64
	duration, warmUp, patience time.Duration
	readBack                   bool
}

// loadFlags are those of both generators; theirs come beside them, before flag.Parse.
func loadFlags() *load {
	asked := &load{}
	flag.IntVar(&asked.callers, "callers", 64, "concurrent callers; with -rate the most that are in flight")
	flag.IntVar(&asked.batch, "batch", 1, "operations in one request")
	flag.Float64Var(&asked.rate, "rate", 0, "open loop: operations a second")
	flag.DurationVar(&asked.duration, "duration", 10*time.Second, "what counts")
	flag.DurationVar(&asked.warmUp, "warm-up", time.Second, "what is left out before it")
	flag.DurationVar(&asked.patience, "timeout", 30*time.Second, "of one operation")
	flag.IntVar(&asked.size, "size", 128, "bytes of a value")
	flag.BoolVar(&asked.readBack, "read-back", false, "read what was acknowledged back from every member that is up")
	return asked
}

// write has operation `first`, and those behind it in its batch, committed; nil when they are.
type write func(patience context.Context, caller int, first int64) error

// tally is one caller's; they are joined when all have ended, so that nothing is shared while it counts.
type tally struct {
	latencies    []time.Duration
	acknowledged []time.Time
	first        []int64 // of what was acknowledged
	refused      int
	unknown      int
	lastError    string
}

// measure is the report of such a load, and the numbers of the operations that were acknowledged.
func measure(asked *load, commit write) (report, []int64) {
	var number int64
	phase := func(lasting time.Duration, rate float64) ([]tally, time.Duration) {
		tallies := make([]tally, asked.callers)
		began, first := time.Now(), atomic.LoadInt64(&number)
		var all sync.WaitGroup
		for i := range tallies {
			all.Add(1)
			go func(mine *tally, caller int) {
				defer all.Done()
				for {
					due := time.Now()
					taken := atomic.AddInt64(&number, int64(asked.batch)) - int64(asked.batch)
					if rate > 0 {
						due = began.Add(time.Duration(float64(taken-first) / rate * float64(time.Second)))
					}
					if due.Sub(began) >= lasting {
						return
					}
					time.Sleep(time.Until(due))
					mine.operation(asked, commit, caller, taken, due)
				}
			}(&tallies[i], i)
		}
		all.Wait()
		return tallies, time.Since(began)
	}
	phase(asked.warmUp, 0)
	tallies, elapsed := phase(asked.duration, asked.rate)

	result := report{
		Mode: "closed", Callers: asked.callers, Depth: 1, Batch: asked.batch, ValueBytes: asked.size,
		DurationS: elapsed.Seconds(), Silences: [][2]float64{}, Go: runtime.Version(),
	}
	if asked.rate > 0 {
		result.Mode, result.Rate = "open", &asked.rate
	}
	return result, result.fill(tallies, elapsed, int64(asked.batch))
}

// operation makes one, and notes what became of it.
func (mine *tally) operation(asked *load, commit write, caller int, first int64, due time.Time) {
	patience, cancel := context.WithTimeout(context.Background(), asked.patience)
	err := commit(patience, caller, first)
	cancel()
	if err != nil {
		if errors.Is(err, refused) {
			mine.refused += asked.batch
		} else {
			mine.unknown += asked.batch
		}
		mine.lastError = err.Error()
		time.Sleep(pauseAfterError)
		return
	}
	now := time.Now()
	for i := 0; i < asked.batch; i++ {
		mine.latencies = append(mine.latencies, now.Sub(due))
	}
	mine.acknowledged = append(mine.acknowledged, now)
	mine.first = append(mine.first, first)
}

// fill joins what the callers saw; it gives the numbers of what was acknowledged.
func (result *report) fill(tallies []tally, elapsed time.Duration, batch int64) []int64 {
	var latencies []time.Duration
	var acknowledged []time.Time
	var numbers []int64
	for _, one := range tallies {
		latencies = append(latencies, one.latencies...)
		acknowledged = append(acknowledged, one.acknowledged...)
		for _, first := range one.first {
			for i := int64(0); i < batch; i++ {
				numbers = append(numbers, first+i)
			}
		}
		result.Refused += one.refused
		result.Unknown += one.unknown
		if one.lastError != "" {
			result.LastError = one.lastError
		}
	}
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	// Nearest rank: a latency that was measured, never an interpolation.
	at := func(fraction float64) *float64 {
		if len(latencies) == 0 {
			return nil
		}
		rank := int(math.Ceil(fraction*float64(len(latencies)))) - 1
		if rank < 0 {
			rank = 0
		}
		ms := latencies[rank].Seconds() * 1000
		return &ms
	}
	result.Operations = len(latencies)
	result.OperationsPerS = float64(len(latencies)) / elapsed.Seconds()
	result.MedianMs, result.P95Ms, result.P99Ms, result.MaxMs = at(0.5), at(0.95), at(0.99), at(1)
	sort.Slice(acknowledged, func(i, j int) bool { return acknowledged[i].Before(acknowledged[j]) })
	for i := 1; i < len(acknowledged); i++ {
		if acknowledged[i].Sub(acknowledged[i-1]) >= silenceMin {
			result.Silences = append(result.Silences, [2]float64{unix(acknowledged[i-1]), unix(acknowledged[i])})
		}
	}
	if len(acknowledged) > 0 {
		result.Last = unix(acknowledged[len(acknowledged)-1])
	}
	return numbers
}

// readBack notes that one more member was asked for what was acknowledged, and lacked so many.
func (result *report) readBack(lacking int) {
	result.ReadBackFrom++
	if lacking > result.Missing {
		result.Missing = lacking
	}
}

// unix is a moment as Python's time.time() has it.
func unix(moment time.Time) float64 {
	return float64(moment.UnixNano()) / 1e9
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
