# --- snippet ---
require "dalli"

CACHE = Dalli::Client.new(ENV.fetch("MEMCACHE_SERVERS"))

def seen(user, at = Time.now.to_i)
  # raw: digits, not Ruby's Marshal, which no other language reads.
  CACHE.set("seen_#{user}", at.to_s, 604_800, raw: true)
end

def last_seen(user)
  value = CACHE.get("seen_#{user}")
  value && Integer(value, 10)
end

def online?(user)
  last = last_seen(user)
  !last.nil? && Time.now.to_i <= last + 300
end

def signed_out(user)
  last = last_seen(user) or return
  CACHE.replace("seen_#{user}", [last, Time.now.to_i - 305].min.to_s, 604_800, raw: true)
end

def forget(user)
  CACHE.delete("seen_#{user}")
end
# --- end ---

require "logger"
require "time"

# Answers one command; python/commands.py lists them.
def answer(line)
  verb, user, at, kind = line.split(" ")
  case verb
  when "seen"
    at ? seen(user, at.to_i) : seen(user)
    "ok"
  when "last_seen" then last_seen(user) || "none"
  when "online" then online?(user)
  when "signed_out"
    signed_out(user)
    "ok"
  when "forget" then forget(user) ? true : false
  when "naive"
    time = Time.at(at.to_i)
    value = case kind
            when "Integer" then at.to_i
            when "Float" then at.to_i + 0.25
            when "Time" then time
            when "utc" then time.utc
            when "to_s" then time.to_s
            when "httpdate" then time.httpdate
            when "Hash" then { at: at.to_i }
            end
    CACHE.set("seen_#{user}", value, 604_800)
    "ok"
  when "version" then "dalli #{Dalli::VERSION}"
  else raise "no command #{verb}"
  end
end

Dalli.logger = Logger.new($stderr)
Encoding.default_external = Encoding::UTF_8
$stdout.sync = true
(ARGV.empty? ? $stdin.each_line : [ARGV.join(" ")]).each do |line|
  puts answer(line.chomp)
rescue => e
  puts "error: #{e.class}: #{e.message.tr("\n", " ")}"
end
