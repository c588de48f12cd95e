# --- snippet ---
use strict;
use warnings;
use Cache::Memcached::Fast;
use List::Util qw(min);

my $cache = Cache::Memcached::Fast->new({ servers => [ $ENV{MEMCACHE_SERVERS} ] });

sub seen {
    my ($user, $at) = @_;
    $cache->set("seen_$user", $at // time, 604_800);
}

sub last_seen {
    my ($user) = @_;
    my $last = $cache->get("seen_$user");
    # undef can also mean that memcached does not answer.
    die "unknown\n" unless defined $last || %{ $cache->server_versions };
    return $last;
}

sub online {
    my ($user) = @_;
    my $last = last_seen($user);
    return defined $last && time <= $last + 300;
}

sub signed_out {
    my ($user) = @_;
    my $last = last_seen($user) // return;
    $cache->replace("seen_$user", min($last, time - 305), 604_800);
}

sub forget {
    my ($user) = @_;
    return $cache->delete("seen_$user");
}
# --- end ---

use FindBin;
use lib $FindBin::Bin;
use Commands;

sub naive {
    my ($user, $at, $kind) = @_;
    my %value = (float => $at + 0.25, hash => { at => $at }, localtime => scalar localtime $at);
    $cache->set("seen_$user", $value{$kind}, 604_800);
}

Commands::run("Cache::Memcached::Fast $Cache::Memcached::Fast::VERSION");
