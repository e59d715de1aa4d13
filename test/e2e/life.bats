#!/usr/bin/env bats
# life.bats - the life of a job: cell up, submit, list, kill, cell down, and cell up again.
load lib.bash

setup_file()
{
    cell_up --replicas 5 --borglets 3
}

teardown_file()
{
    cell_away
}

@test "five replicas with one leader and three machines come up" {
    wait_until 20 replicas_agree 5
    wait_sql 20 3 "SELECT count(*) FROM machines WHERE state = 'up'"
    wait_until 10 replicas_agree 5
    same "machines" 3 "$(borgctl -o json machines | jq 'length')"
}

@test "a second cell up finds everything running and changes nothing" {
    local before
    before="$(status_json | jq -c '[.replicas[].pid]')"
    cell_up --replicas 5 --borglets 3
    same "pids" "$before" "$(status_json | jq -c '[.replicas[].pid]')"
}

@test "a submitted job runs, and jobs, tasks and events list it" {
    submit web 200 3 100m 'echo hello from a task; echo on stderr >&2; exec sleep 1000'
    wait_until 20 job_runs web 3
    wait_until 10 replicas_agree 5
    borgctl -o json jobs | jq -e '.[] | select(.job == "web") | .band == "production" and
        .priority == 200 and .state == "running" and .replicas == 3 and .pending == 0'
    borgctl -o json tasks web | jq -e 'length == 3 and all(.[]; .state == "running" and
        .attempt == 1 and .pid > 1 and .machine != "")'
    wait_sql 5 3 "SELECT count(*) FROM events WHERE kind = 'running'"
    borgctl events | grep web
}

@test "tasks lists the pid of the task's process" {
    local pid
    pid="$(task_field web 0 pid)"
    grep -q sleep "/proc/$pid/cmdline"
}

@test "logs prints the task's stdout and stderr separately" {
    same stdout "hello from a task" "$(borgctl logs web/1)"
    same stderr "on stderr" "$(borgctl logs --err web/1)"
}

@test "a job whose tasks exit with 0 is finished" {
    submit once 100 2 10m 'exit 0'
    wait_until 20 job_is once finished
    wait_sql 5 2 "SELECT count(*) FROM events WHERE kind = 'finished' AND job_name = 'once'"
}

@test "the processes of a killed job are gone" {
    submit victim 100 2 10m 'exec sleep 1000'
    wait_until 20 job_runs victim 2
    local pid
    pid="$(task_field victim 0 pid)"
    borgctl kill victim
    wait_until 20 job_is victim killed
    wait_until 5 is_gone "$pid"
}

@test "cell down leaves tasks running, and cell up brings the jobs back" {
    local before
    before="$(running_tasks)"
    borgctl cell down --dir "$BORG_CELL"
    still_there "$before"
    cell_up --replicas 5 --borglets 3
    wait_until 20 replicas_agree 5
    wait_until 20 job_runs web 3
    same "running tasks" "$before" "$(running_tasks)"
    wait_until 5 job_is once finished
    wait_until 5 job_is victim killed
}

@test "all replicas have the same state" {
    wait_until 20 replicas_agree 5
}
