// Answers commands, one a line; ../python/commands.py lists them.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

func answer(line string) (string, error) {
	words := strings.SplitN(line, " ", 4)
	switch words[0] {
	case "seen":
		at := time.Now()
		if len(words) > 2 {
			seconds, err := strconv.ParseInt(words[2], 10, 64)
			if err != nil {
				return "", err
			}
			at = time.Unix(seconds, 0)
		}
		return "ok", Seen(words[1], at)
	case "last_seen":
		last, err := LastSeen(words[1])
		if err == memcache.ErrCacheMiss {
			return "none", nil
		}
		return strconv.FormatInt(last, 10), err
	case "online":
		online, err := Online(words[1])
		return strconv.FormatBool(online), err
	case "signed_out":
		return "ok", SignedOut(words[1])
	case "forget":
		err := Forget(words[1])
		if err == memcache.ErrCacheMiss {
			return "false", nil
		}
		return "true", err
	case "naive":
		return "ok", naive(words[1], words[2], words[3])
	case "version":
		version, err := exec.Command("dpkg-query", "-W", "-f", "${Version}",
			"golang-github-bradfitz-gomemcache-dev").Output()
		return "gomemcache " + string(version), err
	}
	return "", fmt.Errorf("no command %s", words[0])
}

func naive(user, seconds, kind string) error {
	number, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	at := time.Unix(number, 0)
	var value []byte
	switch kind {
	case "String":
		value = []byte(at.String())
	case "UnixNano":
		value = []byte(strconv.FormatInt(at.UnixNano(), 10))
	case "json":
		value, err = json.Marshal(at)
	case "binary":
		value, err = at.MarshalBinary()
	case "RFC1123, UTC":
		value = []byte(at.UTC().Format(time.RFC1123))
	default:
		formats := map[string]string{"RFC3339": time.RFC3339Nano, "RFC1123": time.RFC1123, "RFC1123Z": time.RFC1123Z,
			"UnixDate": time.UnixDate, "RubyDate": time.RubyDate, "ANSIC": time.ANSIC}
		value = []byte(at.Format(formats[kind]))
	}
	if err != nil {
		return err
	}
	return cache.Set(&memcache.Item{Key: "seen_" + user, Value: value, Expiration: 604800})
}

func show(line string) {
	text, err := answer(line)
	if err != nil {
		text = "error: " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	fmt.Println(text)
}

func main() {
	if len(os.Args) > 1 {
		show(strings.Join(os.Args[1:], " "))
		return
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		show(lines.Text())
	}
}
