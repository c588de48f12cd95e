// --- snippet ---
import java.io.IOException;
import net.spy.memcached.AddrUtil;
import net.spy.memcached.MemcachedClient;

public class LastSeen {
    final MemcachedClient cache;

    public LastSeen() throws IOException {
        cache = new MemcachedClient(AddrUtil.getAddresses(System.getenv("MEMCACHE_SERVERS")));
    }

    private static long now() {
        return System.currentTimeMillis() / 1000;
    }

    public void seen(String user) throws Exception {
        seen(user, now());
    }

    public void seen(String user, long at) throws Exception {
        // A String: an Integer, a Long or a Date is stored in a form that only Java reads.
        cache.set("seen_" + user, 604800, Long.toString(at)).get();
    }

    /** Unix seconds, or null for a user without a record. */
    public Long lastSeen(String user) {
        Object value = cache.get("seen_" + user);
        return value == null ? null : Long.valueOf((String) value);
    }

    public boolean online(String user) {
        Long last = lastSeen(user);
        return last != null && now() <= last + 300;
    }

    public void signedOut(String user) throws Exception {
        Long last = lastSeen(user);
        if (last != null) {
            String value = Long.toString(Math.min(last, now() - 305));
            cache.replace("seen_" + user, 604800, value).get();
        }
    }

    public boolean forget(String user) throws Exception {
        return cache.delete("seen_" + user).get();
    }
}
// --- end ---
