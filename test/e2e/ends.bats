#!/usr/bin/env bats
# ends.bats - the end of tasks and machines: what the cell reports, and what it must not claim.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2
    wait_until 20 replicas_agree 3
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
}

teardown_file()
{
    [[ ! -e "$SPECS/second.pid" ]] || kill -KILL "$(cat "$SPECS/second.pid")" 2>/dev/null || true
    cell_away
}

# Start a borglet with m1's name and certificate, and the directory DIR.
second_borglet() # DIR
{
    local pki="$BORG_CELL/pki"
    "$BUILD/borglet" --cell "$BORG_CELL/cell.json" --name m1 --dir "$1" \
        --cert "$pki/borglet-m1.crt" --key "$pki/borglet-m1.key" --listen 127.0.0.1:0 \
        --ports 20000-20010 --capacity cpu=1,ram=1Gi,disk=1Gi \
        </dev/null >"$SPECS/second.log" 2>&1 3>&- 4>&- &
    echo $! >"$SPECS/second.pid"
}

second_ends()
{
    local pid
    pid="$(cat "$SPECS/second.pid")"
    kill -TERM "$pid" 2>/dev/null || true
    wait_until 10 is_gone "$pid"
    rm -f "$SPECS/second.pid"
}

event_count() # KIND
{
    ask "SELECT count(*) FROM event_list WHERE kind = '$1'"
}

@test "a second borglet with a used name is refused and reported, and starts nothing" {
    local before
    submit dup 200 2 50m 'exec sleep 1000' '.task.constraints = ["machine = m1"]'
    wait_until 20 job_runs dup 2
    before="$(running_tasks)"
    second_borglet "$SPECS/second"
    wait_until 20 grep -q 'link.refused_as_second' "$SPECS/second.log"
    wait_sql 20 1 "SELECT count(*) FROM event_list WHERE kind = 'machine-refused' AND
        machine = 'm1'"
    run borgctl cell status
    [[ $status -eq 6 ]]
    grep 'a second borglet with the name of a connected one was refused: m1' <<<"$output"
    # It has tried many times by now.
    wait_until 20 eval '[[ $(grep -rh "link.refused machine=\"m1\"" "$BORG_CELL" | wc -l) -gt 3 ]]'
    same "tasks" "$before" "$(running_tasks)"
    same "lost" 0 "$(event_count lost)"
    [[ -z "$(ls "$SPECS/second/tasks" 2>/dev/null)" ]]
}

@test "the age of a task is the age of its attempt, whatever else changes in its row" {
    wait_until 40 sql_is 2 "SELECT count(*) FROM tasks WHERE state = 'running' AND
        changed_ms > started_ms" # its usage has been reported
    borgctl -o json tasks dup | jq -e 'length == 2 and all(.[];
        .since_ms == .started_ms and .since_ms != .changed_ms)'
}

@test "a production task that crashes keeps its machine while it backs off" {
    submit crashy 200 1 100m 'exit 1' '.task.constraints = ["machine = m2"] |
        .task.backoff = "20s" | .task.max_backoff = "20s"'
    wait_sql 20 backing-off "SELECT state FROM task_list WHERE job = 'crashy'"
    borgctl tasks crashy | grep -E 'crashy/0 .* backing-off .* m2'
    borgctl why crashy/0 | grep 'backs off, keeps its place on m2 and starts again in'
    same "reserved" 100 "$(ask "SELECT cpu_milli FROM task_list WHERE job = 'crashy' AND
        machine = 'm2'")"
    borgctl kill crashy --wait
}

@test "the second borglet takes over when the first is down, but does not report for its tasks" {
    local first
    first="$(running_tasks | cut -d' ' -f3)"
    kill -KILL "$(pid_of_borglet m1)"
    wait_sql 30 "up 1" "SELECT state || ' ' || (SELECT count(*) FROM event_list WHERE
        kind = 'machine-down') FROM machines WHERE name = 'm1'"
    wait_until 10 job_runs dup 2
    [[ -z "$(comm -12 <(sort <<<"$first") <(running_tasks | cut -d' ' -f3 | sort))" ]]
    run borgctl --timeout 1 kill dup --wait
    [[ $status -eq 4 ]]
    wait_sql 10 "2 0" "SELECT unconfirmed || ' ' || (running + assigned) FROM jobs
        WHERE name = 'dup'"
    second_ends
    cell_up --replicas 3 --borglets 2 # now it is the second one
    wait_sql 30 0 "SELECT unconfirmed FROM jobs WHERE name = 'dup'"
    for pid in $first; do
        wait_until 10 is_gone "$pid"
    done
    wait_sql 30 up "SELECT state FROM machines WHERE name = 'm1'"
}

@test "a copied directory with tasks is not used at all" {
    local before
    submit copy 200 1 50m 'exec sleep 1000' '.task.constraints = ["machine = m1"]'
    wait_until 20 job_runs copy 1
    before="$(running_tasks)"
    cp -a "$BORG_CELL/m1" "$SPECS/copied" 2>/dev/null || cp -a "$(dirname "$(find "$BORG_CELL" \
        -path '*m1*/borglet.lock')")" "$SPECS/copied"
    second_borglet "$SPECS/copied"
    wait_until 10 is_gone "$(cat "$SPECS/second.pid")"
    rm -f "$SPECS/second.pid"
    grep "is a copy of another borglet's directory" "$SPECS/second.log"
    same "tasks" "$before" "$(running_tasks)"
    borgctl kill copy --wait
}

@test "kill --wait does not claim that no process is left on a silent machine" {
    local pid task
    submit unr 200 1 50m 'exec sleep 1000' '.task.constraints = ["machine = m1"]'
    wait_until 20 job_runs unr 1
    task="$(running_tasks | cut -d' ' -f3)"
    pid="$(pid_of_borglet m1)"
    kill -STOP "$pid"
    wait_sql 30 down "SELECT state FROM machines WHERE name = 'm1'"
    run borgctl --timeout 2 kill unr --wait
    kill -CONT "$pid"
    echo "$output"
    [[ $status -eq 4 ]]
    grep 'their processes may still run until these machines are back' <<<"$output"
    grep '(m1 is down)' <<<"$output"
    wait_sql 30 0 "SELECT unconfirmed FROM jobs WHERE name = 'unr'"
    wait_until 10 is_gone "$task"
    borgctl machines
}

@test "a task that ends by itself during a drain does not run again" {
    local pid file="$SPECS/ran"
    submit once 200 1 50m "sleep 2; echo ran >>'$file'" '.task.constraints = ["machine = m1"] |
        .task.restart = "never"'
    wait_until 20 job_runs once 1
    pid="$(pid_of_borglet m1)"
    kill -STOP "$pid"
    wait_until 10 test -s "$file"
    borgctl --user root drain m1
    kill -CONT "$pid"
    wait_until 20 job_is once finished
    borgctl --user root undrain m1
    same "runs" ran "$(cat "$file")"
    same "attempts" 1 "$(ask "SELECT attempt FROM task_list WHERE job = 'once'")"
}

@test "a machine that is gone can be removed, and returns as a new one" {
    local pid
    submit tail 200 1 50m 'exec sleep 1000' '.task.constraints = ["machine = m2"]'
    wait_until 20 job_runs tail 1
    run borgctl --user root machine remove m2
    [[ $status -eq 1 ]]
    grep 'drain it first' <<<"$output"
    pid="$(pid_of_borglet m2)"
    kill -STOP "$pid"
    wait_sql 30 down "SELECT state FROM machines WHERE name = 'm2'"
    borgctl --user root machine remove m2
    same "machines" m1 "$(ask "SELECT machine FROM machine_list")"
    borgctl -o json cell status | jq -e '.machines == 1'
    same "event" m2 "$(ask "SELECT machine FROM event_list WHERE kind = 'machine-removed'")"
    kill -CONT "$pid"
    wait_sql 30 2 "SELECT count(*) FROM machine_list WHERE state = 'up'"
    wait_until 30 job_runs tail 1
    wait_until 20 replicas_agree 3
}
