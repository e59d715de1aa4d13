#!/usr/bin/env bats
# large.bats - commands on all tasks of the largest possible job, applied over many turns of the
# masters' loops: no reader sees a partial effect, also when masters are killed in the middle.
load lib.bash

TASKS=262144

setup_file()
{
    cell_up --replicas 3 --borglets 1
}

teardown_file()
{
    cell_away
}

# Record each distinct count that a reader of any replica sees while a command is applied.
watch_counts() # SQL FILE
{
    while [[ ! -e "$SPECS/seen" ]]; do
        borgctl -o json query "$1" | jq -r '.[] | [.[]] | @tsv' || true
    done | sort -u >"$2"
}

@test "readers see the whole job or none of it" {
    watch_counts 'SELECT count(*) FROM tasks' "$SPECS/counts" &
    output="$(submit large 50 "$TASKS" 1000 'exit 0')"
    expect_text "submitted .$TASKS tasks"
    wait_until 20 replicas_agree 3
    touch "$SPECS/seen"
    wait
    rm "$SPECS/seen"
    same "tasks" "$TASKS" "$(ask 'SELECT count(*) FROM tasks')"
    same "counts seen" "" "$(grep -vxE "0|$TASKS" "$SPECS/counts" || true)"
}

@test "its replicas shrink and grow, and another user's command is applied after that" {
    borgctl update large --replicas 100000 &
    submit small 50 1 1000 'exit 0'
    wait
    borgctl update large --replicas 200000
    wait_until 20 replicas_agree 3
    same "pending" 200000 "$(ask "SELECT pending FROM jobs WHERE name = 'large'")"
}

# Kill the process as soon as the log grows beyond INDEX. The log then has the command of CLIENT,
# and applying it takes about 30 turns of the loop. The client repeats the command, with the same
# id, until a master answers.
kill_in_the_middle() # PID CLIENT INDEX
{
    while kill -0 "$2" && (($(last_index) <= $3)); do :; done
    kill -KILL "$1"
    wait "$2"
    grep -q 'is being killed' "$SPECS/kill.out"
}

last_index()
{
    status_json | jq '[.replicas[].last_index // 0] | max'
}

@test "masters are killed while they apply the kill of the job" {
    local leader pid index
    leader="$(leader_id)"
    pid="$(pid_of_replica $((leader % 3 + 1)))"
    index="$(last_index)"
    borgctl --timeout 60 kill large >"$SPECS/kill.out" &
    kill_in_the_middle "$pid" $! "$index"
    cell_up
    wait_until 20 replicas_agree 3
    same "killed" "$TASKS" "$(ask "SELECT killed_tasks FROM jobs WHERE name = 'large'")"
    submit again 50 "$TASKS" 1000 'exit 0'
    pid="$(pid_of_replica "$(leader_id)")"
    index="$(last_index)"
    borgctl --timeout 60 kill again >"$SPECS/kill.out" &
    kill_in_the_middle "$pid" $! "$index"
    cell_up
    wait_until 20 replicas_agree 3
    same "killed" "$TASKS" "$(ask "SELECT killed_tasks FROM jobs WHERE name = 'again'")"
}

@test "no turn of a loop took more than 50 ms of processor time" {
    local long='loop.stalled .*cpu_ms=([5-9][0-9]|[0-9]{3,}) '
    same "long turns" "" "$(grep -hE "$long" "$BORG_CELL"/log/master*.log || true)"
}
