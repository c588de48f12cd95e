package main

// --- snippet ---
import (
	"os"
	"strconv"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

var cache = memcache.New(os.Getenv("MEMCACHE_SERVERS"))

func record(user string, at int64) *memcache.Item {
	value := strconv.FormatInt(at, 10)
	return &memcache.Item{Key: "seen_" + user, Value: []byte(value), Expiration: 604800}
}

func Seen(user string, at time.Time) error {
	return cache.Set(record(user, at.Unix()))
}

// LastSeen returns Unix seconds, or memcache.ErrCacheMiss for a user without a record.
func LastSeen(user string) (int64, error) {
	item, err := cache.Get("seen_" + user)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(item.Value), 10, 64)
}

func Online(user string) (bool, error) {
	last, err := LastSeen(user)
	if err == memcache.ErrCacheMiss {
		return false, nil
	}
	return err == nil && time.Now().Unix() <= last+300, err
}

func SignedOut(user string) error {
	last, err := LastSeen(user)
	if out := time.Now().Unix() - 305; err == nil && out < last {
		err = cache.Replace(record(user, out))
	}
	if err == memcache.ErrCacheMiss || err == memcache.ErrNotStored {
		return nil
	}
	return err
}

func Forget(user string) error {
	return cache.Delete("seen_" + user)
}

// --- end ---
