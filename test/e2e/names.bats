#!/usr/bin/env bats
# names.bats - masters have DNS names: one dies and its name can no longer be resolved, and the name
# server does not answer. Only root can give masters a name server of the story's own; for other
# users the machine's server is used, and one of three masters has a name that does not exist.
load lib.bash

ANSWER_MS_MAX=5000 # limit for a command on a loaded machine

setup_file()
{
    local id
    cell_up --replicas 3 --borglets 1
    borgctl cell down
    export NAMES="$SPECS/names"
    mkdir -p "$NAMES"
    : >"$NAMES/pids"
    ln -s "$BORG_CELL/pki" "$NAMES/pki"
    for id in 1 2 3; do
        echo "127.0.0.1 borg$id.test"
    done >"$NAMES/hosts"
    # An address of this story's own: another copy may run at the same time.
    export SILENT="127.53.$(($$ / 256 % 256)).$(($$ % 255 + 1))"
    echo "nameserver $SILENT" >"$NAMES/resolv.conf"
    jq --arg ca "$BORG_CELL/pki/ca.crt" --argjson root "$((EUID == 0))" '
        .ca = $ca
        | .replicas |= map(
            (if $root == 1 then "borg\(.id).test"
                elif .id < 3 then "localhost" else "borg3.invalid" end) as $name
            | .rpc |= sub("127.0.0.1"; $name) | .raft |= sub("127.0.0.1"; $name))
    ' "$BORG_CELL/cell.json" >"$NAMES/cell.json"
}

teardown_file()
{
    local pid
    while read -r pid; do
        kill -KILL "$pid" 2>/dev/null || true
    done <"$NAMES/pids"
    cell_away
}

# Run a command, in place of this shell, with these files in place of the resolver's configuration.
named()
{
    [[ $EUID -eq 0 ]] || exec "$@"
    exec unshare --mount sh -c 'mount --bind "$1/hosts" /etc/hosts &&
        mount --bind "$1/resolv.conf" /etc/resolv.conf && shift && exec "$@"' sh "$NAMES" "$@"
}

named_borgctl()
{
    (named "$BUILD/borgctl" --cell "$NAMES/cell.json" --timeout 20 "$@" </dev/null 3>&- 4>&-)
}

master() # ID
{
    named "$BUILD/borgmaster" --cell "$NAMES/cell.json" --id "$1" --dir "$NAMES/$1" --bootstrap \
        --cert "$BORG_CELL/pki/master-$1.crt" --key "$BORG_CELL/pki/master-$1.key" \
        </dev/null >"$NAMES/master$1.log" 2>&1 3>&- 4>&- &
}

cell_answers() # MASTERS
{
    named_borgctl -o json cell status >"$NAMES/status" || true # exit code 6: no borglets
    [[ -s "$NAMES/status" ]] &&
        jq -e --argjson masters "$1" '
            .leader > 0 and ([.replicas[] | select(.pid > 0)] | length) == $masters' "$NAMES/status"
}

@test "the unresolvable name of a dead master delays nobody" {
    local id pids=() begun died ms worst=0 masters=2
    if [[ $EUID -eq 0 ]]; then
        masters=3
        "$TOOLS/silence" "$SILENT" >"$NAMES/silence.out" 3>&- 4>&- &
        echo $! >>"$NAMES/pids"
        wait_until 5 grep -q silent "$NAMES/silence.out"
    fi
    for ((id = 1; id <= masters; id++)); do
        master "$id"
        pids[id]=$!
        echo $! >>"$NAMES/pids"
    done
    wait_until 20 cell_answers "$masters"
    if [[ $EUID -eq 0 ]]; then
        id="$(jq -r '.leader % 3 + 1' "$NAMES/status")"
        # Write in place: the file is mounted.
        grep -v "borg$id" "$NAMES/hosts" >"$NAMES/hosts.new"
        cat "$NAMES/hosts.new" >"$NAMES/hosts"
        kill -KILL "${pids[id]}"
    fi
    died="$(now_ms)"
    # This is longer than a look-up without an answer takes.
    until (($(now_ms) - died > 10000)); do
        begun="$(now_ms)"
        named_borgctl kill nobody >"$NAMES/kill.out" 2>&1 || true
        ms=$(($(now_ms) - begun))
        grep -q 'no job "nobody"' "$NAMES/kill.out"
        ((ms <= worst)) || worst=$ms
    done
    echo "# figure a command waits for at most $worst ms beside a name that is not answered for" >&3
    ((worst < ANSWER_MS_MAX))
    fails grep -hE 'loop.stalled ms=[0-9]{4,} ' "$NAMES"/master*.log
}
