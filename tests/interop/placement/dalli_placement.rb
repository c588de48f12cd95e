# Where dalli puts keys: its ring's own choice; nothing is dialled.
require "dalli"

keys = File.readlines(ARGV.fetch(0), chomp: true, encoding: "UTF-8")
$stdin.each_line(chomp: true) do |line|
  sharding, *servers = line.split("\t")
  next puts "-" if sharding != "dalli"

  specs = servers.map do |server|
    host, port, weight = server.split(" ")
    host = "[#{host.delete("[]")}]" if host.include?(":")
    "#{host}:#{port}:#{weight}"
  end
  ring = Dalli::Ring.new(specs.map { |spec| Dalli::Protocol::Binary.new(spec) }, {})
  index = ring.servers.each_with_index.to_h { |server, i| [server.object_id, i] }
  puts keys.map { |key|
    hash = ring.send(:hash_for, key)
    server = ring.continuum ? ring.send(:server_for_hash_key, hash) : ring.servers.first
    index.fetch(server.object_id)
  }.join(" ")
end
