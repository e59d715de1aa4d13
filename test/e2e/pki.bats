#!/usr/bin/env bats
# pki.bats - certificates are made, renewed in use, expire and are revoked; others are refused.

# shellcheck disable=SC2016 # the shell of the task expands it
setup_file()
{
    load lib.bash
    cell_up --replicas 3 --borglets 1
    submit ticker 200 1 100m 'i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.2; done'
    wait_until 20 job_runs ticker 1
}

teardown_file()
{
    load lib.bash
    cell_away
}

setup()
{
    load lib.bash
}

rpc_of() # REPLICA
{
    jq -r --argjson id "$1" '.replicas[] | select(.id == $id) | .rpc' "$BORG_CELL/cell.json"
}

raft_of() # REPLICA
{
    jq -r --argjson id "$1" '.replicas[] | select(.id == $id) | .raft' "$BORG_CELL/cell.json"
}

raft_says_revoked() # REPLICA
{
    [[ "$(connect "$SPECS/m99" master-99 "$(raft_of "$1")" 3)" == \
        'refused: Certificate was revoked' ]]
}

log_port_of_borglet()
{
    ask "SELECT addr FROM machines"
}

# Open a silent connection with the certificate NAME in DIR; print its outcome within SECONDS.
connect() # DIR NAME ADDRESS SECONDS
{
    "$TOOLS/frames" tls "$3" "$1/pki/ca.crt" "$1/pki/$2.crt" "$1/pki/$2.key" silence "$4"
}

call() # DIR NAME ADDRESS METHOD [HEX]
{
    "$TOOLS/frames" call "$3" "$1/pki/ca.crt" "$1/pki/$2.crt" "$1/pki/$2.key" "$4" "${5:-90}"
}

# Return whether all programs use the present files.
all_taken()
{
    local pair
    for pair in m1:borglet-m1 master1:master-1 master2:master-2 master3:master-3; do
        grep 'tls.files_taken' "$BORG_CELL/log/${pair%:*}.log" | tail -n 1 |
            grep -qF "$(end_of "${pair#*:}")" || return 1
    done
}

end_of() # NAME: in the format of the log
{
    borgctl -o json pki list |
        jq -r --arg n "$1" '.[] | select(.name == $n) | .expires_ms / 1000 | todate |
            sub("T"; " ")'
}

lines_of()
{
    [[ "$(wc -l <"$1")" -gt "$2" ]]
}

@test "a list shows the holders of certificates and the expiry dates" {
    same names "borglet-m1 ca master-1 master-2 master-3" \
        "$(borgctl -o json pki list | jq -r '.[].name' | grep -v user- | xargs)"
    same state good "$(borgctl -o json pki list | jq -r '[.[].state] | unique | .[]')"
}

@test "certificates are renewed while everything runs, and a followed log continues" {
    local tasks pids old
    tasks="$(running_tasks)" pids="$(pids_of_programs)" old="$(cert_sum master-1)"
    "$BUILD/borgctl" logs -f ticker >"$SPECS/follow.out" 2>&1 </dev/null 3>&- 4>&- &
    echo $! >"$SPECS/follow.pid"
    wait_until 20 lines_of "$SPECS/follow.out" 2
    borgctl pki renew --valid 12d
    [[ "$(cert_sum master-1)" != "$old" ]]
    wait_until 20 all_taken
    local seen
    seen="$(wc -l <"$SPECS/follow.out")"
    wait_until 20 lines_of "$SPECS/follow.out" "$((seen + 5))"
    kill -0 "$(cat "$SPECS/follow.pid")"
    kill "$(cat "$SPECS/follow.pid")"
    still_there "$tasks"
    same pids "$pids" "$(pids_of_programs)"
}

cert_sum()
{
    sha256sum <"$BORG_CELL/pki/$1.crt"
}

@test "status reports certificates that expire within 30 days, and its remedy works" {
    local todo
    borgctl pki make user/zoe --out "$SPECS/zoe"
    borgctl cell restart # so that the borglet presents its new certificate
    wait_until 20 zoe_is_told_of_the_borglet
    expect_exit 6 borgctl --cell "$SPECS/zoe" --user zoe cell status
    expect_text "where the CA's key is, run .borgctl pki renew borglet/m1."
    expect_exit 6 borgctl cell status
    expect_text 'the certificate of master/2 ends on 20'
    expect_text 'the certificate of borglet/m1 ends on 20'
    expect_text 'the certificate of user/.* ends on 20'
    todo="$(borgctl -o json cell status | jq -r '.problems[].todo' |
        grep -o 'borgctl pki renew [^`]*')"
    [[ "$(wc -l <<<"$todo")" -ge 5 ]]
    while read -r _ line; do
        # shellcheck disable=SC2086
        borgctl $line
    done <<<"$todo"
    wait_until 30 borgctl cell status
    wait_until 30 borgctl --cell "$SPECS/zoe" --user zoe cell status
}

zoe_is_told_of_the_borglet()
{
    borgctl --cell "$SPECS/zoe" --user zoe cell status |
        grep 'the certificate of borglet/m1 ends on 20'
}

@test "the CA's certificate is renewed, and certificates that it signed stay valid" {
    borgctl pki renew --ca --valid 20d user-root
    wait_until 20 expect_exit 6 borgctl cell status
    expect_text "the certificate of the cell's CA ends on 20"
    same "one line for it" 1 "$(borgctl cell status | grep -c '^!!')"
    borgctl pki renew
    wait_until 30 borgctl cell status
}

@test "connections are reopened before the certificate that they started with expires" {
    local tasks end
    tasks="$(running_tasks)"
    borgctl pki renew --valid 25s
    wait_until 20 all_taken
    end=$(($(now_ms) + 26000))
    # Now all connections of masters start with the short-lived certificates.
    borgctl pki renew user-root
    borgctl cell restart
    borgctl pki renew
    wait_until 20 all_taken
    wait_until 40 is_past "$end"
    wait_until 20 borgctl cell status
    wait_until 20 replicas_agree 3
    still_there "$tasks"
    grep -q 'stream.renewed' "$BORG_CELL"/log/*.log
}

is_past()
{
    (($(now_ms) > $1))
}

@test "masters and borglets close an open connection when its certificate expires" {
    borgctl pki make user/eve --out "$SPECS/eve" --valid 6s
    local port
    port="$(log_port_of_borglet)"
    connect "$SPECS/eve" user-eve "$(rpc_of 1)" 30 >"$SPECS/eve1.out" &
    local first=$!
    connect "$SPECS/eve" user-eve "$port" 30 >"$SPECS/eve2.out"
    wait "$first"
    same "the master says" 'refused: Certificate is expired' "$(cat "$SPECS/eve1.out")"
    same "the borglet says" 'refused: Certificate is expired' "$(cat "$SPECS/eve2.out")"
    grep -q 'stream.ended peer=user/eve .*has expired on' "$BORG_CELL/log/master1.log"
    grep -q 'stream.ended peer=user/eve .*has expired on' "$BORG_CELL/log/m1.log"
    expect_exit 1 borgctl --cell "$SPECS/eve" --user eve jobs
    expect_text 'the certificate of user/eve has expired on .*borgctl pki renew'
}

@test "masters and borglets reject a revoked certificate at once and accept a new one" {
    borgctl pki make user/bob --out "$SPECS/bob"
    borgctl --cell "$SPECS/bob" --user bob jobs
    connect "$SPECS/bob" user-bob "$(rpc_of 2)" 60 >"$SPECS/bob1.out" &
    local first=$! port
    port="$(log_port_of_borglet)"
    connect "$SPECS/bob" user-bob "$port" 60 >"$SPECS/bob2.out" &
    local second=$!
    wait_until 20 both_connected "$first" "$second"
    local begun
    begun="$(now_ms)"
    borgctl --user root revoke bob
    wait "$first" "$second"
    (($(now_ms) - begun < 10000))
    same "the master says" 'refused: Certificate was revoked' "$(cat "$SPECS/bob1.out")"
    same "the borglet says" 'refused: Certificate was revoked' "$(cat "$SPECS/bob2.out")"
    expect_exit 3 borgctl --cell "$SPECS/bob" --user bob jobs
    expect_text 'revoked'
    borgctl pki make user/bob --out "$SPECS/bob-again"
    borgctl --cell "$SPECS/bob-again" --user bob jobs
    expect_exit 3 borgctl --cell "$SPECS/bob" --user bob jobs
}

# Wait until both have a socket. The handshake takes a few milliseconds more, a command much more.
both_connected() # SHELL SHELL: the pids of two shells that each run connect
{
    local shell
    for shell in "$@"; do
        find "/proc/$(pgrep -P "$shell")/fd" -lname 'socket:*' 2>/dev/null | grep -q . || return 1
    done
}

@test "a master that is no member may not do what members may" {
    local leader method
    leader="$(leader_id)"
    borgctl pki make master/99 --out "$SPECS/m99"
    for method in 3 5 6 10 11 12; do
        output="$(call "$SPECS/m99" master-99 "$(rpc_of "$leader")" "$method")"
        case "$method" in
            5) expect_text 'answer 5 master/99 may not call checkpoint' ;;
            *) expect_text 'answer 5 master/99 is not a replica of this cell' ;;
        esac
    done
    output="$(call "$SPECS/m99" master-99 "$(log_port_of_borglet)" 40)"
    expect_text 'answer 5 master/99 may not call logs'
    same "the raft port lets it in" "open" \
        "$(connect "$SPECS/m99" master-99 "$(raft_of "$leader")" 1 | cut -d' ' -f1)"
    borgctl --user root revoke master/99
    wait_until 20 raft_says_revoked "$leader"
    borgctl --user root unrevoke master/99
    # It may ask for admission, and gets an answer.
    output="$(call "$SPECS/m99" master-99 "$(rpc_of "$leader")" 14 9363a131c2)"
    expect_text '^answer [0-9]+ '
}

@test "keys that others could read are made private" {
    chmod 755 "$BORG_CELL/pki"
    chmod 644 "$BORG_CELL/pki/master-2.key"
    output="$(borgctl pki list 2>&1)"
    expect_text 'were readable by others'
    same modes "700 600" \
        "$(stat -c %a "$BORG_CELL/pki" "$BORG_CELL/pki/master-2.key" | xargs)"
}

@test "no program of the cell writes a core dump" {
    local pid
    for pid in $(pids_of_programs); do
        grep -Eq '^Max core file size +1 ' "/proc/$pid/limits"
    done
}

@test "a hostile lock file does not delay a new cell" {
    local dir="$SPECS/run" new="$BATS_FILE_TMPDIR/other"
    mkdir -m 700 "$dir"
    mkfifo "$dir/borgctl-ports.lock"
    XDG_RUNTIME_DIR="$dir" timeout 60 "$BUILD/borgctl" cell up --dir "$new" --replicas 1 \
        --borglets 1 </dev/null 3>&- 4>&-
    borgctl cell down --dir "$new" --wipe
    rm "$dir/borgctl-ports.lock"
    ln -s "$SPECS/made-by-link" "$dir/borgctl-ports.lock"
    XDG_RUNTIME_DIR="$dir" timeout 60 "$BUILD/borgctl" cell up --dir "$new" --replicas 1 \
        --borglets 1 </dev/null 3>&- 4>&-
    borgctl cell down --dir "$new" --wipe
    [[ ! -e "$SPECS/made-by-link" ]]
}

@test "expired certificates are not reported as a dead cell, and cell up renews them" {
    borgctl pki renew --valid 8s
    wait_until 20 all_taken
    sleep_past "$(end_of master-1)"
    expect_exit 3 borgctl cell status
    expect_text 'the certificate of master/1 has expired on'
    expect_text 'borgctl pki renew --dir '
    if grep -q 'it is not running' <<<"$output"; then
        echo "wrong advice: $output"
        return 1
    fi
    expect_exit 1 borgctl jobs
    expect_text 'borgctl pki renew'
    output="$("$BUILD/borgctl" cell up --dir "$BORG_CELL" </dev/null 2>&1 3>&- 4>&-)"
    expect_text 'the certificate .*master-1.crt ends on .*: it was renewed'
    wait_until 30 borgctl cell status
    wait_until 20 job_runs ticker 1
}

sleep_past() # TIME
{
    wait_until 20 is_past "$(date -d "$1" +%s)500"
}

@test "masters and borglets reject a replica that was removed" {
    local id leader
    leader="$(leader_id)"
    id=$((leader % 3 + 1))
    borgctl --user root cell remove-replica "$id"
    wait_until 20 removed_is_refused "$id"
    output="$(call "$BORG_CELL" "master-$id" "$(rpc_of "$(leader_id)")" 10)"
    expect_text "answer 5 master/$id is not a replica of this cell"
    # A borglet that is started while no master answers knows it too.
    kill "$(pid_of_borglet m1)"
    wait_until 20 is_gone "$(pid_of_borglet m1)"
    "$BUILD/borgctl" cell up --dir "$BORG_CELL" </dev/null 3>&- 4>&-
    removed_is_refused "$id"
    wait_until 20 job_runs ticker 1
}

removed_is_refused() # ID
{
    [[ "$(connect "$BORG_CELL" "master-$1" "$(log_port_of_borglet)" 3)" == \
        'refused: Certificate was revoked' ]]
}
