// Command interop asks Go's own tools about what this project writes, and writes for this project to read.
//
//	interop verify POLICY PROOF [ENTRY]   whether torchwood calls a receipt valid; without ENTRY, of the entry in it
//	interop vectors DIR   what torchwood, and what sumdb alone, say of each published standard receipt: JSON
//	interop trees SIZE    RFC 6962 proofs by golang.org/x/mod/sumdb/tlog for every size up to SIZE: JSON
//	interop write         a policy, a signed and cosigned checkpoint, a proof and its entry: JSON
//	interop tiles DIR     every entry of a log of static files, read and authenticated by torchwood's client: JSON
package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func print(value any) {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	must(0, encoder.Encode(value))
}

// policies returns the policy once for each of its log lines, with that one alone: c2sp.org/tlog-policy accepts a
// checkpoint that any one of the logs signed, and torchwood v0.10 asks for all of them.
func policies(text string) []string {
	var logs, rest []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "log ") {
			logs = append(logs, line)
		} else {
			rest = append(rest, line)
		}
	}
	for i, line := range logs {
		logs[i] = line + "\n" + strings.Join(rest, "\n")
	}
	return logs
}

func proved(policy string, entry, proof []byte) bool {
	for _, one := range policies(policy) {
		parsed, err := torchwood.ParsePolicy([]byte(one))
		if err == nil && torchwood.VerifyProof(parsed, tlog.RecordHash(entry), proof) == nil {
			return true
		}
	}
	return false
}

// sumdb asks golang.org/x/mod/sumdb alone: whether a log of the policy signed the checkpoint (note), and whether the
// entry is in its tree (tlog). It knows nothing of cosignatures and quorums.
func sumdb(policy string, entry, proof []byte) bool {
	var known []note.Verifier
	for line := range strings.SplitSeq(policy, "\n") {
		if vkey, found := strings.CutPrefix(line, "log "); found {
			verifier, err := note.NewVerifier(strings.Fields(vkey)[0])
			if err != nil {
				return false
			}
			known = append(known, verifier)
		}
	}
	head, signed, _ := strings.Cut(string(proof), "\n\n")
	opened, err := note.Open([]byte(signed), note.VerifierList(known...))
	if err != nil {
		return false
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return false
	}
	index, path := int64(-1), tlog.RecordProof{}
	for _, line := range strings.Split(head, "\n")[1:] {
		if number, found := strings.CutPrefix(line, "index "); found {
			if index, err = strconv.ParseInt(number, 10, 64); err != nil {
				return false
			}
		} else if index >= 0 {
			hash, err := tlog.ParseHash(line)
			if err != nil {
				return false
			}
			path = append(path, hash)
		}
	}
	return index >= 0 && tlog.CheckRecord(path, checkpoint.N, checkpoint.Hash, index, tlog.RecordHash(entry)) == nil
}

func verify(policy, proof string, entry ...string) {
	raw := must(os.ReadFile(proof))
	var leaf []byte
	if len(entry) > 0 {
		leaf = must(os.ReadFile(entry[0]))
	} else {
		leaf = must(torchwood.ProofExtraData(raw))
	}
	if !proved(string(must(os.ReadFile(policy))), leaf, raw) {
		must(0, fmt.Errorf("torchwood: not proved"))
	}
	fmt.Println("torchwood: proved")
}

func vectors(dir string) map[string]map[string]bool {
	var rows []struct{ Name, Receipt, Policy, Record string }
	must(0, json.Unmarshal(must(os.ReadFile(filepath.Join(dir, "vectors.json"))), &rows))
	said := map[string]map[string]bool{"torchwood": {}, "sumdb": {}}
	for _, row := range rows {
		if !strings.HasSuffix(row.Receipt, ".tlog-proof") {
			continue
		}
		proof := must(os.ReadFile(filepath.Join(dir, row.Receipt)))
		entry, err := torchwood.ProofExtraData(proof)
		if err != nil && row.Record != "" {
			entry = must(os.ReadFile(filepath.Join(dir, row.Record)))
		}
		policy := string(must(os.ReadFile(filepath.Join(dir, row.Policy))))
		said["torchwood"][row.Name] = proved(policy, entry, proof)
		said["sumdb"][row.Name] = sumdb(policy, entry, proof)
	}
	return said
}

type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, index := range indexes {
		hashes = append(hashes, s[index])
	}
	return hashes, nil
}

func record(number int64) []byte { return []byte(fmt.Sprintf("record %d", number)) }

func grown(size int64) stored {
	var all stored
	for number := range size {
		all = append(all, must(tlog.StoredHashes(number, record(number), all))...)
	}
	return all
}

func shown[T ~[32]byte](hashes []T) []string {
	texts := []string{}
	for _, hash := range hashes {
		raw := [32]byte(hash)
		texts = append(texts, hex.EncodeToString(raw[:]))
	}
	return texts
}

type tree struct {
	Root        string     `json:"root"`
	Inclusion   [][]string `json:"inclusion"`
	Consistency [][]string `json:"consistency"`
}

func trees(most int64) []tree {
	all, made := grown(most), []tree{}
	for size := int64(1); size <= most; size++ {
		root := must(tlog.TreeHash(size, all))
		one := tree{Root: shown([]tlog.Hash{root})[0]}
		for number := range size {
			one.Inclusion = append(one.Inclusion, shown(must(tlog.ProveRecord(size, number, all))))
			one.Consistency = append(one.Consistency, shown(must(tlog.ProveTree(size, number+1, all))))
		}
		made = append(made, one)
	}
	return made
}

func seed(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

func write() map[string]string {
	const origin, size = "log.example/interop", 13
	all := grown(size)
	checkpoint := torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: size, Hash: must(tlog.TreeHash(size, all))}}
	key := ed25519.NewKeyFromSeed(seed("log"))
	vkey := must(note.NewEd25519VerifierKey(origin, key.Public().(ed25519.PublicKey)))
	secret := append([]byte{1}, seed("log")...)
	hash := strings.Split(vkey, "+")[1]
	skey := fmt.Sprintf("PRIVATE+KEY+%s+%s+%s", origin, hash, base64.StdEncoding.EncodeToString(secret))
	signers := []note.Signer{must(note.NewSigner(skey))}
	policy := "log " + vkey + "\n"
	var names []string
	for name, key := range map[string]crypto.Signer{
		"witness-a": ed25519.NewKeyFromSeed(seed("witness-a")),
		"witness-b": must(mldsa.NewPrivateKey(mldsa.MLDSA44(), seed("witness-b"))),
	} {
		signer := must(torchwood.NewCosignatureSigner(name+".example/w", key))
		signers = append(signers, signer)
		policy += "witness " + name + " " + signer.Verifier().String() + "\n"
		names = append(names, name)
	}
	policy += "group both all " + strings.Join(names, " ") + "\nquorum both\n"
	signed := must(note.Sign(&note.Note{Text: checkpoint.String()}, signers...))
	proof := torchwood.FormatProofWithExtraData(7, record(7), must(tlog.ProveRecord(size, 7, all)), signed)
	if !proved(policy, record(7), proof) {
		must(0, fmt.Errorf("torchwood does not believe itself"))
	}
	return map[string]string{"policy": policy, "proof": string(proof), "entry": string(record(7))}
}

type directory string

func (d directory) ReadEndpoint(_ context.Context, path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), path))
}

func (d directory) ReadTiles(_ context.Context, tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		raw, err := os.ReadFile(filepath.Join(string(d), torchwood.TilePath(tile)))
		if err != nil {
			return nil, err
		}
		data = append(data, raw)
	}
	return data, nil
}

func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

func tiles(dir string) map[string]any {
	policy := string(must(os.ReadFile(filepath.Join(dir, "policy"))))
	signed := must(os.ReadFile(filepath.Join(dir, "checkpoint")))
	var checkpoint torchwood.Checkpoint
	err := fmt.Errorf("no log of the policy")
	for _, one := range policies(policy) {
		checkpoint, _, err = torchwood.VerifyCheckpoint(signed, must(torchwood.ParsePolicy([]byte(one))))
		if err == nil {
			break
		}
	}
	must(0, err)
	client := must(torchwood.NewClient(directory(dir)))
	all := sha256.New()
	count := 0
	for _, entry := range client.AllEntries(context.Background(), checkpoint.Tree, 0) {
		sum := sha256.Sum256(entry)
		all.Write(sum[:])
		count++
	}
	must(0, client.Err())
	entry, proof, err := client.Entry(context.Background(), checkpoint.Tree, checkpoint.N/2)
	must(0, err)
	return map[string]any{
		"origin":  checkpoint.Origin,
		"size":    checkpoint.N,
		"entries": count,
		"digest":  hex.EncodeToString(all.Sum(nil)),
		"middle":  hex.EncodeToString(entry),
		"path":    shown(proof),
	}
}

func main() {
	switch command := os.Args[1:]; {
	case (len(command) == 3 || len(command) == 4) && command[0] == "verify":
		verify(command[1], command[2], command[3:]...)
	case len(command) == 2 && command[0] == "vectors":
		print(vectors(command[1]))
	case len(command) == 2 && command[0] == "trees":
		print(trees(must(strconv.ParseInt(command[1], 10, 64))))
	case len(command) == 1 && command[0] == "write":
		print(write())
	case len(command) == 2 && command[0] == "tiles":
		print(tiles(command[1]))
	default:
		fmt.Fprintln(os.Stderr, "usage: interop verify POLICY PROOF [ENTRY] | vectors DIR | trees SIZE | write | tiles DIR")
		os.Exit(2)
	}
}
