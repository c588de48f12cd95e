// Where gomemcache puts keys: its ServerList's own choice; nothing is dialled.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/bradfitz/gomemcache/memcache"
)

func main() {
	file, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	keys := strings.Split(strings.TrimSuffix(string(file), "\n"), "\n")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		words := strings.Split(lines.Text(), "\t")
		if words[0] != "gomemcache" {
			fmt.Fprintln(out, "-")
			continue
		}
		// It wants addresses, and chooses by their number in the list alone.
		list, index, addresses := new(memcache.ServerList), map[string]string{}, []string{}
		for i := range words[1:] {
			address := fmt.Sprintf("192.0.2.%d:11211", i+1)
			index[address] = strconv.Itoa(i)
			addresses = append(addresses, address)
		}
		if err := list.SetServers(addresses...); err != nil {
			panic(err)
		}
		places := make([]string, len(keys))
		for i, key := range keys {
			server, err := list.PickServer(key)
			if err != nil {
				panic(err)
			}
			places[i] = index[server.String()]
		}
		fmt.Fprintln(out, strings.Join(places, " "))
	}
}
