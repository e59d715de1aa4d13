#!/usr/bin/env bats
# logs.bats - which part of a log is kept, how missing parts are reported, and tampering with logs.
load lib.bash

setup_file()
{
    cell_up --replicas 1 --borglets 1
}

teardown_file()
{
    cell_away
}

@test "for a log longer than the kept part, the missing beginning is reported" {
    submit huge 200 1 100m 'head -c 100000001 /dev/zero | tr "\\0" a; echo; exec sleep 1000'
    wait_until 60 log_ends huge/0 a
    borgctl logs huge/0 >"$SPECS/out" 2>"$SPECS/err"
    local size lost
    size="$(stat -c %s "$SPECS/out")"
    lost="$(grep -oE 'the first [0-9]+ bytes of this log are no longer kept' "$SPECS/err" |
        grep -oE '[0-9]+')"
    same "bytes in all" 100000002 "$((size + lost))"
    ((size >= 24 << 20))
}

log_ends() # TASK LETTER: its last line has been written
{
    [[ "$(borgctl logs "$1" --tail 1 2>/dev/null | tail -c 2)" == "$2" ]]
}

@test "a complete log is printed without a message" {
    submit small 200 1 100m 'echo one; echo two; exec sleep 1000'
    wait_until 20 log_ends small/0 o
    same "stdout and stderr" "one
two" "$(borgctl logs small/0 2>&1)"
    same "its tail" "two" "$(borgctl logs small/0 --tail 1 2>&1)"
    same "more tail than lines" "one
two" "$(borgctl logs small/0 --tail 9 2>&1)"
}

@test "the last line is complete, however long, or a message says that it is not" {
    submit lines 200 1 100m \
        'echo first; head -c 1000000 /dev/zero | tr "\\0" b; echo; exec sleep 1000'
    wait_until 20 log_ends lines/0 b
    same "bytes and words" "1000001 " \
        "$(borgctl logs lines/0 --tail 1 2>"$SPECS/err" | wc -c) $(cat "$SPECS/err")"
    same "bytes and words of two lines" "1000007 " \
        "$(borgctl logs lines/0 --tail 2 2>"$SPECS/err" | wc -c) $(cat "$SPECS/err")"
    borgctl logs huge/0 --tail 1 >"$SPECS/out" 2>"$SPECS/err"
    same "the window" $((8 << 20)) "$(stat -c %s "$SPECS/out")"
    grep -q 'are longer than 8388608 bytes' "$SPECS/err"
}

@test "a failed write is an error, except to a closed pipe" {
    local how
    for how in "" "--tail 3" "-f" "--tail 3 -f"; do
        # shellcheck disable=SC2086
        borgctl logs small/0 $how >/dev/full 2>"$SPECS/err" && return 1
        grep -q 'cannot write the result to stdout: No space left on device' "$SPECS/err"
    done
    # shellcheck disable=SC2030,SC2031
    (
        set +e
        borgctl logs huge/0 2>"$SPECS/err" | head -c 1 >/dev/null
        echo "${PIPESTATUS[0]}" >"$SPECS/rc"
    )
    same "exit code" 0 "$(cat "$SPECS/rc")"
    fails grep -q 'cannot write' "$SPECS/err"
}

@test "a followed log has every byte, also where it continues its tail" {
    submit quick 200 1 100m \
        'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); echo "line $i of many"; done'
    wait_sql 20 1 "SELECT state IN ('running', 'finished') FROM job_list WHERE job = 'quick'"
    borgctl logs quick/0 -f >"$SPECS/out" 2>/dev/null
    same "lines" 200000 "$(wc -l <"$SPECS/out")"
    same "the last" "line 200000 of many" "$(tail -1 "$SPECS/out")"
    sort -u "$SPECS/out" | wc -l | grep -qx 200000
}

@test "all logs of a batch job are kept when it has ended" {
    submit crunch 100 150 10m 'echo "this is $BORG_TASK"'
    wait_until 90 job_is crunch finished
    local i
    for i in 0 1 75 148 149; do
        same "log of crunch/$i" "this is crunch/$i" "$(borgctl logs "crunch/$i")"
    done
}

@test "a task that replaces its files by FIFOs affects nobody" {
    submit evil 200 1 100m 'echo up; cd ..; until [ -s out.0 ]; do sleep 0.01; done
        rm spec record ctl.sock out.0; mkfifo spec record ctl.sock out.0; exec sleep 1000'
    wait_until 20 job_runs evil 1
    wait_until 20 is_fifo evil
    run borgctl logs evil/0
    same "exit code" 1 "$status"
    [[ "$output" == *"a FIFO is in the place of"* ]]
    same "another log" "one
two" "$(borgctl logs small/0)"
    # SIGTERM ends the borglet, and the next one starts with these files.
    local pid
    pid="$(pid_of_borglet m1)"
    kill -TERM "$pid"
    wait_until 10 is_gone "$pid"
    cell_up --replicas 1 --borglets 1
    wait_until 20 job_runs small 1
    wait_sql 30 1 "SELECT count(*) > 0 FROM events WHERE job_name = 'evil'
        AND detail LIKE '%tampered%'"
    same "attempts of the other" 1 "$(task_field small 0 attempt)"
}

is_fifo() # JOB: its log is one
{
    [[ -n "$(find "$BORG_CELL" -path "*/tasks/$1.*/out.0" -type p)" ]]
}
