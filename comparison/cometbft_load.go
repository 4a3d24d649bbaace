// Load on a CometBFT cluster that runs its kvstore, over JSON-RPC; load.go says how it is made and counted.
//
// An operation is a transaction KEY=VALUE, which nobody signs. With -commit a caller asks with broadcast_tx_commit, on a
// connection of its own, and waits for the answer. Without it callers share a websocket to every member, which takes
// their broadcast_tx_sync in turn, and an operation is committed when it is in a block that a member has committed and
// executed: that member tells each new height (a subscription), and each height's block is fetched and looked through.
// What it says is believed, as CometBFT's own clients do by default.
package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	dialPatience = 5 * time.Second
	// Events and answers are read by those who wait for them; so many may wait in a subscriber's channel.
	heightsAhead = 1000
	// Questions in flight to each member from which what was acknowledged is read back.
	readersPerMember = 64
	// Between two questions for what a member does not have yet.
	askAgain = 20 * time.Millisecond
)

func main() {
	endpoints := flag.String("endpoints", "", "comma separated HOST:PORT of members' RPC")
	waits := flag.Bool("commit", false, "broadcast_tx_commit, on a connection for each caller")
	asked := loadFlags()
	flag.Parse()
	if asked.batch != 1 {
		must(errors.New("-batch: a transaction is one operation"))
	}
	addresses := strings.Split(*endpoints, ",")
	connections := make([]*connection, len(addresses))
	if *waits {
		connections = make([]*connection, asked.callers)
	}
	for i := range connections {
		made, err := dial(addresses[i%len(addresses)])
		must(err)
		connections[i] = made
	}
	noise := make([]byte, asked.size+4)
	_, err := rand.Read(noise)
	must(err)
	// The kvstore divides at the one "=" that it allows, so the value is noise in letters.
	value := base64.RawURLEncoding.EncodeToString(noise[4:])[:asked.size]
	client := &client{
		connections: connections, prefix: "bench/" + hex.EncodeToString(noise[:4]) + "/", value: value,
		waiting: map[string]chan struct{}{},
	}
	commit := client.commit
	if !*waits {
		commit = client.broadcast
		following, err := follow(addresses[0])
		must(err)
		go client.watch(following, addresses)
	}
	result, acknowledged := measure(asked, commit)
	result.Connections = len(connections)
	if asked.readBack {
		for _, address := range addresses {
			if lacking, err := client.lackedBy(address, acknowledged); err == nil {
				result.readBack(lacking)
			} // or else it is the one that was killed, or read_back_from tells that too few are up
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(result))
}

// client is what the callers share.
type client struct {
	connections   []*connection
	prefix, value string
	lock          sync.Mutex
	waiting       map[string]chan struct{} // by key; closed when it is in a committed block
}

func (c *client) key(number int64) string { return fmt.Sprint(c.prefix, number) }

// of is a connection for this caller: its own, or the next one that is up.
func (c *client) of(caller int) *connection {
	for i := range c.connections {
		if one := c.connections[(caller+i)%len(c.connections)]; one.up() {
			return one
		}
	}
	return c.connections[caller%len(c.connections)]
}

func (c *client) transaction(key string) map[string]any {
	return map[string]any{"tx": []byte(key + "=" + c.value)} // bytes are base64 in JSON
}

type verdict struct {
	Code uint32 `json:"code"`
	Log  string `json:"log"`
}

func (v verdict) err() error {
	if v.Code != 0 {
		return fmt.Errorf("%w: code %d %s", refused, v.Code, v.Log)
	}
	return nil
}

// commit is broadcast_tx_commit: the member answers when the transaction's block has been committed and executed.
func (c *client) commit(patience context.Context, caller int, number int64) error {
	var answer struct {
		Check  verdict `json:"check_tx"`
		Result verdict `json:"tx_result"`
		Height int64   `json:"height,string"`
	}
	err := c.of(caller).call(patience, "broadcast_tx_commit", c.transaction(c.key(number)), &answer)
	if err = errors.Join(err, answer.Check.err(), answer.Result.err()); err != nil {
		return err
	}
	if answer.Height == 0 {
		return errors.New("an answer without a height")
	}
	return nil
}

// broadcast is broadcast_tx_sync, and the wait for the block.
func (c *client) broadcast(patience context.Context, caller int, number int64) error {
	key, seen := c.key(number), make(chan struct{})
	c.lock.Lock()
	c.waiting[key] = seen // before it is sent: its block may be here before the answer is
	c.lock.Unlock()
	defer func() {
		c.lock.Lock()
		delete(c.waiting, key)
		c.lock.Unlock()
	}()
	var answer verdict
	err := c.of(caller).call(patience, "broadcast_tx_sync", c.transaction(key), &answer)
	if err = errors.Join(err, answer.err()); err != nil {
		return err
	}
	select {
	case <-seen:
		return nil
	case <-patience.Done():
		return patience.Err()
	}
}

// watch follows the chain at one member and, when that is gone, at the next one, from the height behind the last seen.
func (c *client) watch(from *following, addresses []string) {
	last := from.height
	for i := 0; ; i++ {
		for last = c.see(from, last); ; i++ {
			address := addresses[(i+1)%len(addresses)]
			if next, err := follow(address); err == nil {
				from = next
				break
			}
			time.Sleep(askAgain)
		}
	}
}

// see wakes those whose transaction is in a block, block by block above `last`, until the member is gone.
func (c *client) see(from *following, last int64) int64 {
	for height := from.height; ; {
		for last < height {
			keys, err := from.keysOf(last + 1)
			if err != nil {
				return last
			}
			last++
			c.lock.Lock()
			for _, key := range keys {
				if seen, waits := c.waiting[key]; waits {
					close(seen)
					delete(c.waiting, key)
				}
			}
			c.lock.Unlock()
		}
		select {
		case height = <-from.heights:
		case <-from.blocks.gone:
			return last
		}
	}
}

// lackedBy is how many of these keys this member does not have, or with another value, in its own state.
func (c *client) lackedBy(address string, numbers []int64) (int, error) {
	one, err := dial(address)
	if err != nil {
		return 0, err
	}
	patience, cancel := context.WithTimeout(context.Background(), readBackPatience)
	defer cancel()
	next, all := make(chan int64), sync.WaitGroup{}
	var lock sync.Mutex
	lacking, failed := 0, error(nil)
	for i := 0; i < readersPerMember; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for number := range next {
				held, err := c.heldBy(patience, one, c.key(number))
				lock.Lock()
				if !held {
					lacking++
				}
				if err != nil {
					failed = err
				}
				lock.Unlock()
			}
		}()
	}
	for _, number := range numbers {
		next <- number
	}
	close(next)
	all.Wait()
	return lacking, failed
}

// heldBy asks until the member has it, or patience is at its end: it may be a block behind the one that was watched.
func (c *client) heldBy(patience context.Context, from *connection, key string) (bool, error) {
	for {
		var answer struct {
			Response struct {
				Value []byte `json:"value"`
			} `json:"response"`
		}
		question := map[string]any{"path": "", "data": hex.EncodeToString([]byte(key))}
		err := from.call(patience, "abci_query", question, &answer)
		switch {
		case string(answer.Response.Value) == c.value:
			return true, nil
		case errors.Is(err, context.DeadlineExceeded) || (err == nil && patience.Err() != nil):
			return false, nil
		case err != nil:
			return false, err
		}
		time.Sleep(askAgain)
	}
}

// following is a member that tells each height that it has committed and executed.
type following struct {
	blocks  *connection
	heights chan int64
	height  int64 // when it began
}

// follow subscribes on a connection of its own: blocks are large, and answers behind them would wait.
func follow(address string) (*following, error) {
	one, err := dial(address)
	if err != nil {
		return nil, err
	}
	made := &following{blocks: one, heights: make(chan int64, heightsAhead)}
	one.event = made.note
	patience, cancel := context.WithTimeout(context.Background(), dialPatience)
	defer cancel()
	query := map[string]any{"query": "tm.event='NewBlockHeader'"}
	if err := one.call(patience, "subscribe", query, nil); err != nil {
		return nil, err
	}
	var status struct {
		Sync struct {
			Height int64 `json:"latest_block_height,string"`
		} `json:"sync_info"`
	}
	if err := one.call(patience, "status", map[string]any{}, &status); err != nil {
		return nil, err
	}
	made.height = status.Sync.Height - 1 // the latest one is stored before it is executed
	return made, nil
}

// note is called with every event.
func (f *following) note(raw json.RawMessage) {
	var event struct {
		Data struct {
			Value struct {
				Header struct {
					Height int64 `json:"height,string"`
				} `json:"header"`
			} `json:"value"`
		} `json:"data"`
	}
	if json.Unmarshal(raw, &event) == nil && event.Data.Value.Header.Height > 0 {
		select {
		case f.heights <- event.Data.Value.Header.Height:
		default: // whoever reads is far behind; a later height brings this one along
		}
	}
}

// keysOf are the keys of the transactions in the block of this height.
func (f *following) keysOf(height int64) ([]string, error) {
	patience, cancel := context.WithTimeout(context.Background(), readBackPatience)
	defer cancel()
	var answer struct {
		Block struct {
			Data struct {
				Transactions [][]byte `json:"txs"`
			} `json:"data"`
		} `json:"block"`
	}
	question := map[string]any{"height": strconv.FormatInt(height, 10)}
	if err := f.blocks.call(patience, "block", question, &answer); err != nil {
		return nil, err
	}
	keys := make([]string, len(answer.Block.Data.Transactions))
	for i, transaction := range answer.Block.Data.Transactions {
		keys[i], _, _ = strings.Cut(string(transaction), "=")
	}
	return keys, nil
}

// connection is a websocket to one member with any number of questions in flight, which it answers in order.
type connection struct {
	socket  *websocket.Conn
	writing sync.Mutex
	lock    sync.Mutex
	number  int64
	asked   map[int64]chan response
	event   func(json.RawMessage) // of the subscription, which has the number 1
	gone    chan struct{}         // closed when nothing more is to be heard
}

type response struct {
	Number int64           `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
		Data    string `json:"data"`
	} `json:"error"`
}

func dial(address string) (*connection, error) {
	dialer := websocket.Dialer{HandshakeTimeout: dialPatience}
	socket, _, err := dialer.Dial("ws://"+address+"/websocket", nil)
	if err != nil {
		return nil, err
	}
	made := &connection{socket: socket, asked: map[int64]chan response{}, gone: make(chan struct{})}
	go made.read()
	return made, nil
}

func (c *connection) up() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// read gives every answer to who asked, until the connection ends.
func (c *connection) read() {
	defer close(c.gone)
	defer c.socket.Close()
	for {
		var one response
		if err := c.socket.ReadJSON(&one); err != nil {
			return
		}
		c.lock.Lock()
		asked, found := c.asked[one.Number]
		delete(c.asked, one.Number)
		c.lock.Unlock()
		switch {
		case found:
			asked <- one // has room for one
		case c.event != nil:
			c.event(one.Result)
		}
	}
}

// call asks, and reads the answer into `answer`. An error that the member tells is a refusal.
func (c *connection) call(patience context.Context, method string, params map[string]any, answer any) error {
	mine := make(chan response, 1)
	c.lock.Lock()
	c.number++
	number := c.number
	c.asked[number] = mine
	c.lock.Unlock()
	question := map[string]any{"jsonrpc": "2.0", "id": number, "method": method, "params": params}
	c.writing.Lock()
	err := c.socket.WriteJSON(question)
	c.writing.Unlock()
	if err != nil {
		return err
	}
	select {
	case one := <-mine:
		if one.Error != nil {
			return fmt.Errorf("%w: %s %s", refused, one.Error.Message, one.Error.Data)
		}
		if answer == nil {
			return nil
		}
		return json.Unmarshal(one.Result, answer)
	case <-c.gone:
		return errors.New("the member is gone")
	case <-patience.Done():
		return patience.Err()
	}
}
