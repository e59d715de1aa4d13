#!/usr/bin/env bats
# abuse.bats - each attack of `make bench-abuse` for a second: others are answered, no turn of a
# master's loop is long, nobody is elected, and the logs do not fill the disk.
load lib.bash

CPU_MS_MAX=100        # of a turn, on a machine that is loaded: the aim is 50
LOG_BYTES_MAX=3000000 # of a master, for all attacks

setup_file()
{
    cell_up --replicas 5 --borglets 3
    wait_until 20 replicas_agree 5
}

teardown_file()
{
    cell_away
}

@test "whatever one identity sends, others are answered by the same leader" {
    local out="$SPECS/rows"
    timeout 300 "$BUILD/test/bench/abuse" "$BORG_CELL" --seconds 1 >"$out"
    grep -E '^\| [a-z-]+ \| (a|nobody)' "$out" | sed 's/^/# figure /' >&3
    same "attacks" 17 "$(grep -cE '^\| [a-z-]+ \| (a|nobody)' "$out")"
    awk -F ' *\\| *' -v max="$CPU_MS_MAX" '
        /^\| [a-z-]+ \| (a|nobody)/ && ($6 !~ /^0 of/ || ($7 != "-" && $7 > max) || $9 != 0) {
            print "others suffered: " $0
            bad = 1
        }
        END { exit bad }' "$out"
    same "large logs" "" "$(find "$BORG_CELL/log" -name 'master*' -size "+${LOG_BYTES_MAX}c")"
}
