import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Date;

/** Answers commands, one a line; ../python/commands.py lists them. */
public class Commands {
    private static String answer(LastSeen lastSeen, String line) throws Exception {
        String[] words = line.split(" ");
        switch (words[0]) {
            case "seen":
                if (words.length > 2) {
                    lastSeen.seen(words[1], Long.parseLong(words[2]));
                } else {
                    lastSeen.seen(words[1]);
                }
                return "ok";
            case "last_seen":
                Long last = lastSeen.lastSeen(words[1]);
                return last == null ? "none" : last.toString();
            case "online":
                return Boolean.toString(lastSeen.online(words[1]));
            case "signed_out":
                lastSeen.signedOut(words[1]);
                return "ok";
            case "forget":
                return Boolean.toString(lastSeen.forget(words[1]));
            case "naive":
                Object value = naive(Long.parseLong(words[2]), words[3]);
                lastSeen.cache.set("seen_" + words[1], 604800, value).get();
                return "ok";
            case "version":
                Process dpkg = new ProcessBuilder("dpkg-query", "-W", "-f", "${Version}",
                        "libspymemcached-java").start();
                return "spymemcached " + new String(dpkg.getInputStream().readAllBytes());
            default:
                throw new IllegalArgumentException("no command " + words[0]);
        }
    }

    private static Object naive(long at, String kind) {
        switch (kind) {
            case "Integer": return (int) at;
            case "Long": return at;
            case "Date": return new Date(at * 1000);
            case "Date.toString": return new Date(at * 1000).toString();
            case "Instant": return Instant.ofEpochSecond(at).toString();
            default: throw new IllegalArgumentException("no kind " + kind);
        }
    }

    private static void show(LastSeen lastSeen, String line) {
        String text;
        try {
            text = answer(lastSeen, line);
        } catch (Exception e) {
            text = ("error: " + e).replace('\n', ' ');
        }
        System.out.println(text);
    }

    public static void main(String[] args) throws IOException {
        LastSeen lastSeen = new LastSeen();
        if (args.length > 0) {
            show(lastSeen, String.join(" ", args));
        } else {
            var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line; (line = lines.readLine()) != null; ) {
                show(lastSeen, line);
            }
        }
        lastSeen.cache.shutdown();
    }
}
