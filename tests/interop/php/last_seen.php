<?php
// --- snippet ---
[$host, $port] = explode(':', getenv('MEMCACHE_SERVERS'));
$cache = new Memcached();
$cache->addServer($host, (int) $port);

function seen(Memcached $cache, string $user, ?int $at = null): void
{
    // A string, not an int: PHP stores an int in a form that only PHP reads.
    $cache->set("seen_$user", (string) ($at ?? time()), 604800);
}

function last_seen(Memcached $cache, string $user): ?int
{
    $value = $cache->get("seen_$user");
    if ($value === false && $cache->getResultCode() !== Memcached::RES_NOTFOUND) {
        throw new RuntimeException($cache->getResultMessage()); // unknown
    }
    return $value === false ? null : (int) $value;
}

function online(Memcached $cache, string $user): bool
{
    $last = last_seen($cache, $user);
    return $last !== null && time() <= $last + 300;
}

function signed_out(Memcached $cache, string $user): void
{
    $last = last_seen($cache, $user);
    if ($last !== null) {
        $cache->replace("seen_$user", (string) min($last, time() - 305), 604800);
    }
}

function forget(Memcached $cache, string $user): bool
{
    return $cache->delete("seen_$user");
}
// --- end ---

/** Answers one command; python/commands.py lists them. */
function answer(Memcached $cache, string $line): string
{
    $words = explode(' ', $line);
    $user = $words[1] ?? '';
    switch ($words[0]) {
        case 'seen':
            seen($cache, $user, isset($words[2]) ? (int) $words[2] : null);
            return $cache->getResultCode() === Memcached::RES_SUCCESS
                ? 'ok' : 'error: ' . $cache->getResultMessage();
        case 'last_seen':
            return (string) (last_seen($cache, $user) ?? 'none');
        case 'online':
            return online($cache, $user) ? 'true' : 'false';
        case 'signed_out':
            signed_out($cache, $user);
            return 'ok';
        case 'forget':
            return forget($cache, $user) ? 'true' : 'false';
        case 'naive':
            $at = (int) $words[2];
            $value = match (implode(' ', array_slice($words, 3))) {
                'int' => $at,
                'float' => $at + 0.25,
                'DateTime' => new DateTime("@$at"),
                'DateTimeImmutable' => (new DateTimeImmutable("@$at"))->setTimezone(new DateTimeZone('UTC')),
                'in Shanghai' => (new DateTime("@$at"))->setTimezone(new DateTimeZone('Asia/Shanghai')),
                'serialize' => serialize($at),
                'DATE_ATOM' => date(DATE_ATOM, $at),
                'DATE_COOKIE' => date(DATE_COOKIE, $at),
                'DATE_RFC2822' => date(DATE_RFC2822, $at),
            };
            $cache->set("seen_$user", $value, 604800);
            return 'ok';
        case 'version':
            return 'PHP ' . PHP_VERSION . ' memcached ' . phpversion('memcached');
    }
    throw new RuntimeException("no command $words[0]");
}

function show(Memcached $cache, string $line): void
{
    try {
        echo answer($cache, $line), "\n";
    } catch (Throwable $error) {
        echo 'error: ', get_class($error), ': ', strtr($error->getMessage(), "\n", ' '), "\n";
    }
}

if ($argc > 1) {
    show($cache, implode(' ', array_slice($argv, 1)));
} else {
    while (($line = fgets(STDIN)) !== false) {
        show($cache, rtrim($line, "\n"));
    }
}
