#!/usr/bin/env bats
# converse.bats - valid and damaged conversations do not stop masters or borglets.
#
# CONVERSE_SECONDS: duration for each identity (here 5); CONVERSE_SEED: the seed of the messages.
load lib.bash

# Longest time that another user waits for an answer. A member can force a transfer of leadership,
# and then an election is needed.
PATIENCE_S=15

setup_file()
{
    cell_up --replicas 3 --borglets 1 --user ada
    cell_up --user bob
    wait_until 30 replicas_agree 3
    wait_sql 30 1 "SELECT count(*) FROM machines WHERE state = 'up'"
    borgctl grant bob reader
    borgctl --user bob submit \
        "$(spec talker 100 1 50m 'while sleep 0.1; do echo out; echo err >&2; done')"
    wait_until 30 job_runs talker 1
    TALKER="$(ask "SELECT id FROM jobs WHERE name = 'talker'")"
    export TALKER
    "$TOOLS/frames" pki "$BORG_CELL/pki" borglet-evil borglet/evil
    export CONVERSE_SECONDS="${CONVERSE_SECONDS:-5}"
    export CONVERSE_SEED="${CONVERSE_SEED:-$((RANDOM * 32768 + RANDOM))}"
}

teardown_file()
{
    cell_away
}

# A program that failed internally has one of these lines in its log.
logs_are_clean()
{
    local found
    found="$(find "$BORG_CELL" -name '*.log' -exec grep -HE \
        '^panic |AddressSanitizer|LeakSanitizer|runtime error:' {} + || true)"
    [[ -z "$found" ]] || echo "$found" | head -40
    [[ -z "$found" ]]
}

converse() # CERT
{
    local pids borglets rc=0
    pids="$(pids_of_programs)"
    borglets="$(ask "SELECT addr FROM machines WHERE state = 'up' AND name <> 'evil'")"
    [[ "$borglets" == *:* ]]
    # shellcheck disable=SC2086 # split into words
    timeout -k 5 $((CONVERSE_SECONDS + 60)) "$TOOLS/converse" "$BORG_CELL" "$1" user-ada \
        "$CONVERSE_SEED" "$CONVERSE_SECONDS" "$PATIENCE_S" talker "$TALKER" $borglets \
        </dev/null >"$SPECS/converse.$1" 2>&1 3>&- 4>&- || rc=$?
    figure "converse as $1: seed $CONVERSE_SEED, $CONVERSE_SECONDS s: $(cat "$SPECS/converse.$1")"
    ((rc == 0)) || last_logs
    ((rc == 0))
    logs_are_clean
    same "masters and borglets" "$pids" "$(pids_of_programs)"
    wait_until 60 replicas_agree 3
    wait_sql 60 up "SELECT state FROM machines WHERE name <> 'evil'"
    submit "after-$1" 100 1 50m 'exec sleep 1000'
    wait_until 60 job_runs "after-$1" 1
    borgctl kill --wait "after-$1"
}

@test "a user sends every kind of message" {
    converse user-bob
}

@test "a borglet sends every kind of message" {
    converse borglet-evil
}

@test "a master that is a member sends every kind of message" {
    converse master-2
}

@test "the watching user reports a replica that does not answer" {
    local pid rc=0
    pid="$(pid_of_replica 3)"
    kill -STOP "$pid"
    timeout -k 5 60 "$TOOLS/converse" "$BORG_CELL" user-bob user-ada 1 30 2 talker "$TALKER" \
        </dev/null >"$SPECS/stopped" 2>&1 3>&- 4>&- || rc=$?
    kill -CONT "$pid"
    cat "$SPECS/stopped"
    same "exit code" 1 "$rc"
    grep -q "^$(status_json | jq -r '.replicas[] | select(.id == 3) | .addr'): " "$SPECS/stopped"
    wait_until 60 replicas_agree 3
}

@test "the programs end without memory leaks, if leaks are checked" {
    find "$BORG_CELL" -name '*.log' -size +0 | grep -q .
    timeout -k 5 60 "$BUILD/borgctl" cell down --dir "$BORG_CELL" --tasks </dev/null 3>&- 4>&-
    logs_are_clean
}
