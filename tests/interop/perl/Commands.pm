package Commands;

# Answers commands, one a line; ../python/commands.py lists them.

use strict;
use warnings;

sub answer {
    my ($version, $line) = @_;
    my ($verb, $user, @rest) = split / /, $line;
    return $version if $verb eq 'version';
    if ($verb eq 'seen') {
        return main::seen($user, @rest) ? 'ok' : 'error: not stored';
    }
    return main::last_seen($user) // 'none' if $verb eq 'last_seen';
    return main::online($user) ? 'true' : 'false' if $verb eq 'online';
    return main::forget($user) ? 'true' : 'false' if $verb eq 'forget';
    if ($verb eq 'signed_out') {
        main::signed_out($user);
        return 'ok';
    }
    if ($verb eq 'naive') {
        main::naive($user, @rest);
        return 'ok';
    }
    die "no command $verb\n";
}

sub run {
    my ($version) = @_;
    local $| = 1;
    my $arguments = join ' ', @ARGV;
    while (defined(my $line = $arguments ne '' ? $arguments : <STDIN>)) {
        chomp $line;
        my $text = eval { answer($version, $line) } // "error: $@";
        $text =~ tr/\n/ /;
        print "$text\n";
        last if $arguments ne '';
    }
}

1;
