<?php
// PHP's side of the comparison: answers each line of work with the seconds it took; measure.py lists them.
[$host, $port] = explode(':', getenv('MEMCACHE_SERVERS'));
$cache = new Memcached();
$cache->addServer($host, (int) $port);
$users = array_map(fn ($nth) => "user$nth", range(0, 999));

function answer(Memcached $cache, array $users, string $verb, int ...$numbers): string
{
    if ($verb === 'name') {
        return 'php-memcached ' . phpversion('memcached') . ' (PHP ' . PHP_VERSION . ')';
    }
    $calls = end($numbers);
    $page = array_slice($users, 0, $numbers[0]);
    $started = hrtime(true);
    for ($nth = 0; $nth < $calls; $nth++) {
        $user = $users[$nth % 1000];
        $done = match ($verb) {
            'set' => $cache->set("seen_$user", (string) time(), 604800),
            'get' => (int) $cache->get("seen_$user") > 0,
            'many' => count(many($cache, $page)) === count($page),
        };
        $done || throw new RuntimeException("$verb: " . $cache->getResultMessage());
    }
    return (string) ((hrtime(true) - $started) / 1e9);
}

function many(Memcached $cache, array $page): array
{
    return array_map('intval', $cache->getMulti(array_map(fn ($user) => "seen_$user", $page)));
}

while (($line = fgets(STDIN)) !== false) {
    echo answer($cache, $users, ...explode(' ', rtrim($line, "\n"))), "\n";
}
