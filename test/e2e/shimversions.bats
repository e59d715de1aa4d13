#!/usr/bin/env bats
# shimversions.bats - a machine's borglet is replaced by one of another release, and back again: its
# tasks run under shims with which the new borglet has no version in common.
load lib.bash

RELEASE="$BUILD"

setup_file()
{
    BUILD="$BATS_FILE_TMPDIR/bin"
    mkdir -p "$BUILD"
    cp "$RELEASE"/borgctl "$RELEASE"/borgmaster "$BUILD"
    install_release "$RELEASE"
    cell_up --replicas 1 --borglets 1
    wait_until 20 replicas_agree 1
    wait_sql 20 1 "SELECT count(*) FROM machines WHERE state = 'up'"
}

setup()
{
    BUILD="$BATS_FILE_TMPDIR/bin"
}

teardown_file()
{
    BUILD="$BATS_FILE_TMPDIR/bin"
    cell_away
}

install_release() # DIRECTORY: its borglet and shim; running ones keep their files
{
    local program
    for program in borglet borg-shim; do
        cp "$1/$program" "$BUILD/$program.new"
        mv "$BUILD/$program.new" "$BUILD/$program"
    done
}

restart_borglet()
{
    local pid
    pid="$(pid_of_borglet m1)"
    kill -KILL "$pid"
    wait_until 10 is_gone "$pid"
    wc -l <"$BORG_CELL/log/m1.log" >"$SPECS/log-lines"
    cell_up --replicas 1 --borglets 1
    wait_until 10 new_log_has link.up
}

new_log() # since the borglet was started
{
    tail -n "+$(($(cat "$SPECS/log-lines") + 1))" "$BORG_CELL/log/m1.log"
}

new_log_has() # TEXT
{
    new_log | grep -qF -- "$1"
}

log_count() # TEXT
{
    new_log | grep -cF -- "$1" || true
}

cpu_ms() # PID
{
    local stat
    stat="$(sed -E 's/.*\) //' "/proc/$1/stat")"
    cut -d' ' -f12,13 <<<"$stat" | awk -v hz="$(getconf CLK_TCK)" '{ print ($1 + $2) * 1000 / hz }'
}

# The shims of the tasks of that job that were started before.
shims_left() # JOB
{
    grep -lsF -- "/tasks/$1." /proc/[0-9]*/cmdline | cut -d/ -f3 || true
}

no_shims() # JOB
{
    local pid
    for pid in $(shims_left "$1"); do
        is_gone "$pid" || return 1
    done
}

start_tasks() # SUFFIX
{
    submit "stay$1" 200 2 10m 'exec sleep 1000'
    submit "end$1" 200 1 10m 'until [ -e go ]; do sleep 0.1; done; exit 7' '.task.restart = "never"'
    submit "deaf$1" 200 1 10m 'trap "" TERM; echo up; while :; do sleep 1000; done' \
        '.task.grace = "1s"'
    wait_until 20 job_runs "stay$1" 2
    wait_until 20 job_runs "end$1" 1
    wait_until 20 job_runs "deaf$1" 1
    running_tasks >"$SPECS/before"
}

expect_watched() # COUNT of tasks, VERSIONS in the log
{
    local pid cpu
    wait_until 20 new_log_has shim.refused
    sleep 3 # several tries to reach the shims, and time to lose tasks
    same "lines on shims that cannot be spoken to" "$1" "$(log_count shim.refused)"
    same "those with the versions" "$1" "$(new_log | grep shim.refused | grep -cF "$2")"
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
    still_there "$(cat "$SPECS/before")"
    pid="$(pid_of_borglet m1)"
    cpu="$(cpu_ms "$pid")"
    new_log | wc -l >"$SPECS/lines"
    sleep 4
    cpu=$(($(cpu_ms "$pid") - cpu))
    figure "a borglet with $1 shims that it cannot speak to used $cpu ms of CPU in 4 s"
    ((cpu < 1000))
    (($(new_log | wc -l) <= $(cat "$SPECS/lines") + 2))
}

expect_ends() # SUFFIX
{
    local go
    borgctl kill "deaf$1"
    wait_until 20 job_is "deaf$1" killed
    go="$(find "$BORG_CELL" -type d -path "*/tasks/end$1.*/work")/go"
    touch "$go"
    wait_until 20 job_is "end$1" failed
    same "exit code" 7 "$(task_field "end$1" 0 exit_code)"
    task_is "end$1" 0 cause exit
    borgctl kill "stay$1"
    wait_until 20 job_is "stay$1" killed
    while read -r _ _ pid _; do
        wait_until 10 is_gone "$pid"
    done <"$SPECS/before"
    wait_until 10 no_shims "stay$1"
    wait_until 10 no_shims "end$1"
    wait_until 10 no_shims "deaf$1"
    same "lost tasks" 0 "$(ask "SELECT count(*) FROM events WHERE kind = 'lost'")"
}

@test "a borglet of a later release watches the tasks of the earlier one by pid, and says so once" {
    start_tasks 1
    install_release "$RELEASE/later"
    restart_borglet
    expect_watched 4 'its shim speaks versions 2 to 4, this borglet 6 to 6'
}

@test "it is started again, and the tasks stay" {
    restart_borglet
    expect_watched 4 'its shim speaks versions 2 to 4, this borglet 6 to 6'
}

@test "the machine takes new tasks meanwhile, and their logs are read" {
    submit new1 200 1 10m 'echo hello; exec sleep 1000'
    wait_until 20 job_runs new1 1
    same "log" hello "$(borgctl logs new1/0)"
    same "log under the earlier shim" up "$(borgctl logs deaf1/0)"
    borgctl kill new1
    wait_until 20 job_is new1 killed
}

@test "tasks under the earlier shims end, are killed, and their exit codes are reported" {
    expect_ends 1
}

@test "back to the earlier release: it watches the tasks of the later one" {
    start_tasks 2
    install_release "$RELEASE"
    restart_borglet
    expect_watched 4 'its shim speaks versions 6 to 6, this borglet 2 to 4'
    restart_borglet
    expect_watched 4 'its shim speaks versions 6 to 6, this borglet 2 to 4'
    expect_ends 2
}

@test "a release that shares a version supervises them as its own" {
    start_tasks 3
    cp "$SPECS/before" "$SPECS/before3"
    install_release "$RELEASE/next"
    restart_borglet
    wait_until 10 new_log_has task.adopted
    start_tasks 4
    sed -i '/3\//d' "$SPECS/before"
    install_release "$RELEASE"
    restart_borglet
    wait_until 10 new_log_has task.adopted
    same "lines on shims that cannot be spoken to" 0 "$(log_count shim.refused)"
    expect_ends 4
    mv "$SPECS/before3" "$SPECS/before"
    expect_ends 3
}

@test "a shim whose release shares no version with its borglet starts no task" {
    cp "$RELEASE/later/borg-shim" "$BUILD/shim.new"
    mv "$BUILD/shim.new" "$BUILD/borg-shim"
    wc -l <"$BORG_CELL/log/m1.log" >"$SPECS/log-lines"
    submit never 200 1 10m 'exec sleep 1000'
    wait_until 20 new_log_has task.start_failed
    new_log | grep task.start_failed | grep -F 'speaks versions 6 to 6, this borglet 2 to 4'
    borgctl kill never
    wait_until 20 job_is never killed
    install_release "$RELEASE"
}
