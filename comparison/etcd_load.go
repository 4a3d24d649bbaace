// Load on an etcd cluster with etcd's own client; load.go says how it is made and counted.
//
// An operation is a put, and a batch a transaction of puts. Like bftnode's bench, one random value goes under keys that
// all differ. Each connection is a client that knows all endpoints and takes them in turn, as the library does by
// default.
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
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/clientv3"
)

const readBackPage = 1000

func main() {
	endpoints := flag.String("endpoints", "", "comma separated")
	ca := flag.String("cacert", "", "the certificate that members' are signed with")
	certificate := flag.String("cert", "", "the client's")
	key := flag.String("key", "", "the client's")
	connections := flag.Int("connections", 1, "clients; each connects to every endpoint")
	asked := loadFlags() // etcd's default allows a -batch of 128
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
	noise := make([]byte, asked.size+4)
	_, err = rand.Read(noise)
	must(err)
	prefix, value := "bench/"+hex.EncodeToString(noise[:4])+"/", string(noise[4:])

	result, acknowledged := measure(asked, func(patience context.Context, caller int, first int64) error {
		client := clients[caller%len(clients)]
		if asked.batch == 1 {
			_, err := client.Put(patience, fmt.Sprint(prefix, first), value)
			return err
		}
		puts := make([]clientv3.Op, asked.batch)
		for i := range puts {
			puts[i] = clientv3.OpPut(fmt.Sprint(prefix, first+int64(i)), value)
		}
		_, err := client.Txn(patience).Then(puts...).Commit()
		return err
	})
	result.Connections = *connections
	if asked.readBack {
		for _, endpoint := range strings.Split(*endpoints, ",") {
			held, err := heldBy(endpoint, secured, prefix)
			if err != nil {
				continue // it is the one that was killed, or read_back_from tells that too few are up
			}
			lacking := 0
			for _, number := range acknowledged {
				if held[fmt.Sprint(prefix, number)] != value {
					lacking++
				}
			}
			result.readBack(lacking)
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
