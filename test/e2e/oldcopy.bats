#!/usr/bin/env bats
# oldcopy.bats - an old copy of a master's directory is restored: it lacks votes and entries that
# the master acknowledged, and is not admitted.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 1
}

teardown_file()
{
    cell_away
}

stop_replica() # ID
{
    local pid
    pid="$(pid_of_replica "$1")"
    kill -TERM "$pid"
    wait_until 10 is_gone "$pid"
}

work() # NAME
{
    local i
    for ((i = 0; i < 10; i++)); do
        submit "$1$i" 50 1 1000 'exit 0'
    done
    wait_until 10 replicas_agree 3
}

copy_taken() # ID
{
    stop_replica "$1"
    rm -rf "$BORG_CELL/copy"
    cp -r "$BORG_CELL/master$1" "$BORG_CELL/copy"
    cell_up
    wait_until 10 replicas_agree 3
}

copy_put_back() # ID
{
    rm -r "$BORG_CELL/master$1"
    mv "$BORG_CELL/copy" "$BORG_CELL/master$1"
}

is_refused() # ID
{
    local why="it is an old copy, or has lost what others count on"
    grep -q "master.aborted reason=.*$why.*borgctl cell replace-replica $1" \
        "$BORG_CELL/log/master$1.log" &&
        is_gone "$(cut -d' ' -f1 "$BORG_CELL/run/master$1.pid")"
}

is_named() # ID
{
    expect_exit 6 borgctl cell status &&
        expect_text "replica $1 .* has ended: the log of replica $1 ends with entry"
}

# Status names it with the reason, and the remedy works.
is_replaced() # ID
{
    wait_until 10 is_named "$1"
    expect_exit 0 borgctl cell replace-replica "$1"
    wait_until 20 replicas_agree 3
    expect_exit 0 borgctl cell status
}

@test "the leader refuses an old copy of a follower" {
    local id
    wait_until 20 replicas_agree 3
    id="$(live_replica_ids | grep -vx "$(leader_id)" | head -n 1)"
    copy_taken "$id"
    work one
    stop_replica "$id"
    copy_put_back "$id"
    borgctl --timeout 4 cell up --dir "$BORG_CELL" || true
    wait_until 10 is_refused "$id"
    is_replaced "$id"
}

@test "if all start together, its former leader refuses it" {
    local id
    id="$(live_replica_ids | grep -vx "$(leader_id)" | head -n 1)"
    copy_taken "$id"
    work two
    sleep 1.2 # acknowledged indexes are recorded every second
    borgctl cell down
    copy_put_back "$id"
    borgctl --timeout 4 cell up --dir "$BORG_CELL" || true
    wait_until 10 is_refused "$id"
    is_replaced "$id"
}

@test "the followers refuse an old copy of the leader" {
    local id
    id="$(leader_id)"
    copy_taken "$id"
    borgctl cell transfer-leader "$id"
    work three
    stop_replica "$id"
    copy_put_back "$id"
    borgctl --timeout 4 cell up --dir "$BORG_CELL" || true
    wait_until 10 is_refused "$id"
    is_replaced "$id"
}

@test "a killed replica returns every time" {
    local id pid round
    for round in 1 2 3; do
        for id in $(live_replica_ids); do
            pid="$(pid_of_replica "$id")"
            submit "kill$round-$id" 50 1 1000 'exit 0'
            kill -KILL "$pid"
            wait_until 5 is_gone "$pid"
            cell_up
        done
    done
    wait_until 20 replicas_agree 3
}

@test "a replica that has run for a while and loses the others asks them, and continues" {
    local id pid left
    left="$(leader_id)"
    work four
    pid="$(pid_of_replica "$left")"
    for id in $(live_replica_ids); do
        [[ "$id" == "$left" ]] || kill -KILL "$(pid_of_replica "$id")"
    done
    sleep 4 # after 3 s without a leader it asks the others whether it is admitted
    cell_up
    wait_until 20 replicas_agree 3
    sleep 4
    replicas_agree 3
    same "its process" "$pid" "$(pid_of_replica "$left")"
    fails grep -q 'master.aborted' "$BORG_CELL/log/master$left.log"
}

@test "with three of five directories lost status says so, and its remedy works" {
    local id
    expect_exit 0 borgctl cell add-replica
    expect_exit 0 borgctl cell add-replica
    wait_until 20 replicas_agree 5
    submit kept 200 1 10m 'exec sleep 1000'
    wait_until 20 job_runs kept 1
    borgctl cell down
    for id in $(jq -r '.replicas[0:3][].id' "$BORG_CELL/cell.json"); do
        rm -r "$BORG_CELL/master$id"
    done
    borgctl --timeout 3 cell up --dir "$BORG_CELL" || true
    lost_is_told()
    {
        expect_exit 3 borgctl cell status
        expect_text '2 of 5 masters have a log, 3 are needed: the directories of 3 are empty'
        expect_text 'borgctl cell checkpoint FILE'
    }
    wait_until 10 lost_is_told
    expect_exit 0 borgctl cell checkpoint "$SPECS/left.db"
    sqlite3 -readonly "$SPECS/left.db" 'SELECT name FROM jobs' | grep -qx kept
}
