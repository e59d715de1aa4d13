#!/usr/bin/env bats
# snapshot.bats - the log is truncated after snapshots; a replica that lags too far behind gets the
# whole cell as one SQLite image and then has the same state as the others.
load lib.bash

setup_file()
{
    cell_up --replicas 5 --borglets 1 --snapshot-threshold 64
}

teardown_file()
{
    cell_away
}

# Send commands that each add a log entry: jobs that never fit, killed at once.
churn() # PREFIX COUNT
{
    local i
    for ((i = 0; i < $2; i++)); do
        submit "$1$i" 50 1 1000 'exit 0'
        borgctl -q kill "$1$i"
    done
}

snapshot_after() # ID INDEX
{
    status_json | jq -e ".replicas[] | select(.id == $1) | .snapshot_index > $2"
}

@test "snapshots are taken while the cell works" {
    wait_until 20 replicas_agree 5
    submit web 200 2 50m 'exec sleep 1000'
    wait_until 20 job_runs web 2
    running_tasks >"$SPECS/before"
    churn a 40
    for id in 1 2 3 4 5; do
        wait_until 20 snapshot_after "$id" 0
    done
    wait_until 10 replicas_agree 5
}

@test "a follower that was away for longer than the log covers gets an image" {
    local leader follower pid index
    leader="$(leader_id)"
    follower=$((leader % 5 + 1))
    pid="$(pid_of_replica "$follower")"
    kill -KILL "$pid"
    wait_until 5 is_gone "$pid"
    churn b 70
    cell_up
    wait_until 20 replicas_agree 5
    grep -q 'snapshot.restored' "$BORG_CELL/log/master$follower.log"
    index="$(status_json | jq ".replicas[] | select(.id == $follower) | .snapshot_index")"
    ((index > 100))
}

@test "nothing is lost by it, and no task is affected" {
    same "jobs that were killed" 110 \
        "$(ask "SELECT count(*) FROM jobs WHERE state = 'killed'")"
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
}

@test "all start again from their snapshots and databases" {
    local pids
    # shellcheck disable=SC2046 # split into words
    pids="$(for id in 1 2 3 4 5; do pid_of_replica "$id"; done)"
    # shellcheck disable=SC2086 # split into words
    kill -KILL $pids
    for pid in $pids; do
        wait_until 5 is_gone "$pid"
    done
    cell_up
    wait_until 20 replicas_agree 5
    wait_until 20 job_runs web 2
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
}

@test "a lost database is rebuilt from the log and a snapshot" {
    local follower pid
    follower=$(($(leader_id) % 5 + 1))
    pid="$(pid_of_replica "$follower")"
    kill -KILL "$pid"
    wait_until 5 is_gone "$pid"
    rm -f "$BORG_CELL/master$follower"/cell.db*
    cell_up
    wait_until 20 replicas_agree 5
}

@test "a checkpoint is verified, can be simulated, and overwrites no file" {
    local file="$BATS_FILE_TMPDIR/monday.db"
    submit late 200 1 50m 'exec sleep 1000'
    borgctl cell checkpoint --fresh "$file" | grep -qE 'the cell at index [0-9]+, 1 machines, '
    same "jobs" "$(ask "SELECT count(*) FROM jobs")" \
        "$(sqlite3 -readonly "$file" 'SELECT count(*) FROM jobs')"
    same "late" 1 "$(sqlite3 -readonly "$file" "SELECT count(*) FROM jobs WHERE name = 'late'")"
    borgctl simulate --checkpoint "$file" -o json | jq -e '.machines == 1'
    [[ ! -e "$file.part" ]]
    cp "$file" "$file.before"
    run borgctl cell checkpoint "$file"
    same "exit code" 1 "$status"
    grep -q 'exists already; remove it or name another file' <<<"$output"
    cmp "$file" "$file.before"
}

@test "checkpoints succeed while masters are killed and other checkpoints are made" {
    local dir="$BATS_FILE_TMPDIR" i pid failed=0 pids=()
    for i in 1 2 3 4; do
        borgctl -q --user "$(id -un)" cell checkpoint "$dir/many$i.db" &
        pids+=($!)
    done
    pid="$(pid_of_replica "$(leader_id)")"
    kill -KILL "$pid"
    for i in "${pids[@]}"; do
        wait "$i" || failed=1
    done
    same "failed" 0 "$failed"
    wait_until 5 is_gone "$pid"
    for i in 1 2 3 4; do
        same "many$i" ok "$(sqlite3 -readonly "$dir/many$i.db" 'PRAGMA integrity_check')"
    done
    cell_up
    wait_until 20 replicas_agree 5
}
