// Load on an etcd cluster with etcd's own client, and a report with the names of `bftnode bench --json`.
//
// Closed loop: so many callers, each waits for its own put, or transaction of so many puts (-batch). Open loop
// (-rate): puts are due at a steady pace whatever happened to those before, and each one's latency counts from when it
// was due, so a stall is seen by every operation that came while it lasted. The warm-up, a closed loop, is left out;
// what was begun is waited for. Like bftnode's bench, one random value goes under keys that all differ. Each
// connection is a client that knows all endpoints and takes them in turn, as the library does by default.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
)

const (
	// A caller whose put failed waits so long, as a user's would: spinning would slow the others' election down.
	pauseAfterError = 10 * time.Millisecond
	// Shorter silences between acknowledgements are not listed.
	silenceMin = 20 * time.Millisecond
	// Of each question to a member from which what was acknowledged is read back.
	readBackPatience = 5 * time.Second
	readBackPage     = 1000
)

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

// tally is one caller's; they are joined when all have ended, so that nothing is shared while it counts.
type tally struct {
	latencies    []time.Duration
	acknowledged []time.Time
	first        []int64 // of what was acknowledged
	unknown      int
	lastError    string
}

func main() {
	endpoints := flag.String("endpoints", "", "comma separated")
	ca := flag.String("cacert", "", "the certificate that members' are signed with")
	certificate := flag.String("cert", "", "the client's")
	key := flag.String("key", "", "the client's")
	connections := flag.Int("connections", 1, "clients; each connects to every endpoint")
	callers := flag.Int("callers", 64, "concurrent callers; with -rate the most that are in flight")
	batch := flag.Int("batch", 1, "puts in a transaction; 1 is a put without one, and etcd's default allows 128")
	rate := flag.Float64("rate", 0, "open loop: operations a second")
	duration := flag.Duration("duration", 10*time.Second, "what counts")
	warmUp := flag.Duration("warm-up", time.Second, "what is left out before it")
	timeout := flag.Duration("timeout", 30*time.Second, "of one operation")
	size := flag.Int("size", 128, "bytes of a value")
	readBack := flag.Bool("read-back", false, "read what was acknowledged back from every member that is up")
	flag.Parse()

	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	must(err)
	authority, err := os.ReadFile(*ca)
	must(err)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	secured := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: trusted, MinVersion: tls.VersionTLS12}
	clients := make([]*clientv3.Client, *connections)
	for i := range clients {
		clients[i], err = clientv3.New(clientv3.Config{
			Endpoints: strings.Split(*endpoints, ","), DialTimeout: 10 * time.Second, TLS: secured,
		})
		must(err)
		defer clients[i].Close()
	}
	noise := make([]byte, *size+4)
	_, err = rand.Read(noise)
	must(err)
	prefix, value := "bench/"+hex.EncodeToString(noise[:4])+"/", string(noise[4:])
	write := func(patience context.Context, client *clientv3.Client, first int64) error {
		if *batch == 1 {
			_, err := client.Put(patience, fmt.Sprint(prefix, first), value)
			return err
		}
		puts := make([]clientv3.Op, *batch)
		for i := range puts {
			puts[i] = clientv3.OpPut(fmt.Sprint(prefix, first+int64(i)), value)
		}
		_, err := client.Txn(patience).Then(puts...).Commit()
		return err
	}

	var number int64
	phase := func(lasting time.Duration, rate float64) ([]tally, time.Duration) {
		tallies := make([]tally, *callers)
		began, first := time.Now(), atomic.LoadInt64(&number)
		var all sync.WaitGroup
		for i := range tallies {
			all.Add(1)
			go func(mine *tally, client *clientv3.Client) {
				defer all.Done()
				for {
					due := time.Now()
					taken := atomic.AddInt64(&number, int64(*batch)) - int64(*batch)
					if rate > 0 {
						due = began.Add(time.Duration(float64(taken-first) / rate * float64(time.Second)))
					}
					if due.Sub(began) >= lasting {
						return
					}
					time.Sleep(time.Until(due))
					patience, cancel := context.WithTimeout(context.Background(), *timeout)
					err := write(patience, client, taken)
					cancel()
					if err != nil {
						mine.unknown += *batch
						mine.lastError = err.Error()
						time.Sleep(pauseAfterError)
						continue
					}
					now := time.Now()
					for i := 0; i < *batch; i++ {
						mine.latencies = append(mine.latencies, now.Sub(due))
					}
					mine.acknowledged = append(mine.acknowledged, now)
					mine.first = append(mine.first, taken)
				}
			}(&tallies[i], clients[i%len(clients)])
		}
		all.Wait()
		return tallies, time.Since(began)
	}
	phase(*warmUp, 0)
	tallies, elapsed := phase(*duration, *rate)

	result := report{
		Mode: "closed", Callers: *callers, Depth: 1, Batch: *batch, Connections: *connections, ValueBytes: *size,
		DurationS: elapsed.Seconds(), Silences: [][2]float64{}, Go: runtime.Version(),
	}
	if *rate > 0 {
		result.Mode, result.Rate = "open", rate
	}
	var latencies []time.Duration
	var acknowledged []time.Time
	for _, one := range tallies {
		latencies = append(latencies, one.latencies...)
		acknowledged = append(acknowledged, one.acknowledged...)
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
	if *readBack {
		var written []string
		for _, one := range tallies {
			for _, first := range one.first {
				for i := 0; i < *batch; i++ {
					written = append(written, fmt.Sprint(prefix, first+int64(i)))
				}
			}
		}
		for _, endpoint := range strings.Split(*endpoints, ",") {
			held, err := heldBy(endpoint, secured, prefix)
			if err != nil {
				continue // it is the one that was killed, or read_back_from tells that too few are up
			}
			result.ReadBackFrom++
			lacking := 0
			for _, key := range written {
				if held[key] != value {
					lacking++
				}
			}
			if lacking > result.Missing {
				result.Missing = lacking
			}
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(result))
}

// heldBy is all that this member has under the prefix. A read is linearizable, so what was acknowledged has to be there.
func heldBy(endpoint string, secured *tls.Config, prefix string) (map[string]string, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, DialTimeout: readBackPatience, TLS: secured,
	})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	held := map[string]string{}
	for start, end := prefix, clientv3.GetPrefixRangeEnd(prefix); ; {
		patience, cancel := context.WithTimeout(context.Background(), readBackPatience)
		page, err := client.Get(patience, start, clientv3.WithRange(end), clientv3.WithLimit(readBackPage))
		cancel()
		if err != nil {
			return nil, err
		}
		for _, pair := range page.Kvs {
			held[string(pair.Key)] = string(pair.Value)
			start = string(pair.Key) + "\x00"
		}
		if !page.More {
			return held, nil
		}
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
