<?php
// Where PHP's memcached puts keys: getServerByKey dials nobody, and takes keys beyond ASCII too.
$keys = file($argv[1], FILE_IGNORE_NEW_LINES);
while (($line = fgets(STDIN)) !== false) {
    $servers = explode("\t", rtrim($line, "\n"));
    $sharding = array_shift($servers);
    if ($sharding !== 'ketama' && $sharding !== 'libmemcached') {
        echo "-\n";
        continue;
    }
    $client = new Memcached();
    $client->setOption(Memcached::OPT_LIBKETAMA_COMPATIBLE, $sharding === 'ketama');
    $index = [];
    foreach ($servers as $i => $server) {
        [$host, $port, $weight] = explode(' ', $server);
        // An address in brackets is a name that PHP cannot resolve.
        $host = trim($host, '[]');
        $client->addServer($host, (int) $port, (int) $weight);
        $index["$host $port"] = $i;
    }
    $places = [];
    foreach ($keys as $key) {
        $server = $client->getServerByKey($key);
        $places[] = $server ? $index["$server[host] $server[port]"] : '?';
    }
    echo implode(' ', $places), "\n";
}
