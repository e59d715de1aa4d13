#!/usr/bin/env bats
# desk.bats - text in any script, closed and full outputs, help, and the job of the README.
load lib.bash

setup_file()
{
    cell_up --replicas 1 --borglets 3 --capacity cpu=2,ram=1Gi,disk=1Gi
}

teardown_file()
{
    cell_away
}

# A command must do its work and exit normally, whichever standard descriptor is closed.
@test "a closed standard descriptor does not abort a command" {
    local command
    for command in jobs tasks machines events 'cell status' 'query SELECT+1' help; do
        # shellcheck disable=SC2086 # split into words
        set -- ${command//+/ }
        [[ "$1" != query ]] || set -- query 'SELECT 1'
        "$BUILD/borgctl" "$@" <&- >/dev/null 2>&1 3>&- 4>&-
        "$BUILD/borgctl" "$@" </dev/null >&- 2>/dev/null 3>&- 4>&-
        "$BUILD/borgctl" "$@" </dev/null >/dev/null 2>&- 3>&- 4>&-
        "$BUILD/borgctl" "$@" <&- >&- 2>&- 3>&- 4>&-
    done
}

@test "every command reports that stdout is on a full disk" {
    local command
    for command in jobs 'machines -o json' events 'query SELECT+1' help '--version' 'help submit' \
        'help submit --schema' 'cell status'; do
        # shellcheck disable=SC2086 # words
        set -- ${command}
        [[ "$1" != query ]] || set -- query 'SELECT 1'
        rc=0
        "$BUILD/borgctl" "$@" </dev/null >/dev/full 2>"$SPECS/full" 3>&- 4>&- || rc=$?
        same "exit code of $command" 1 "$rc"
        grep -F 'cannot write the result to stdout' "$SPECS/full"
    done
    expect_exit 1 timeout 20 bash -c "'$BUILD/borgctl' -o json events -f >/dev/full </dev/null"
    expect_text 'cannot write the result to stdout'
    # A reader that has closed the pipe is no error.
    borgctl help | head -n 1
    "$BUILD/borgctl" help 2>&1 | head -n 0
    same "exit codes" "0 0" "${PIPESTATUS[*]}"
}

@test "text in any script is shown, whatever the locale" {
    local locale
    submit plain 100 1 0.01 'exec sleep 1000'
    jq -n '{name: "letters", task: {command: ["žluťoučký", "中文", "é\u202e\u001b[31m"],
        max_failures: 1, restart: "never"}}' >"$SPECS/letters.json"
    borgctl submit "$SPECS/letters.json"
    wait_until 20 job_is letters failed
    for locale in C C.UTF-8 POSIX no_SUCH ''; do
        LC_ALL="$locale" timeout 10 "$BUILD/borgctl" events </dev/null >"$SPECS/events" 3>&- 4>&-
        LC_ALL="$locale" timeout 10 "$BUILD/borgctl" job letters </dev/null >"$SPECS/job" 3>&- 4>&-
        LC_ALL="$locale" timeout 10 "$BUILD/borgctl" query "SELECT 'žluť' AS x, 'é' AS y" \
            </dev/null >"$SPECS/query" 3>&- 4>&-
        grep -F 'žluťoučký' "$SPECS/events"
        grep -F "'žluťoučký' '中文'" "$SPECS/job"
        grep -F 'žluť é' "$SPECS/query"
        # Characters that would colour the terminal or reverse the line are escaped.
        grep -F '\u{202e}\x1b[31m' "$SPECS/job"
        same 'lines with escapes' 0 "$(cat "$SPECS/job" "$SPECS/events" | grep -cP '\x1b' || true)"
    done
}

@test "help names the next step" {
    expect_exit 0 borgctl help cell
    expect_text 'cell transfer-leader'
    expect_exit 2 borgctl cell
    expect_text 'borgctl help cell'
    expect_exit 0 borgctl help update
    expect_text 'number of tasks of the job'
    expect_no_text 'masters of'
    expect_exit 0 borgctl help 'cell up'
    same "schema" object "$(borgctl help submit --schema | jq -r '."$defs".job.type')"
    borgctl help submit --page | diff - "$ROOT/doc/job-spec.md"
    expect_exit 2 borgctl help --schema
    expect_text 'help submit'
    expect_exit 2 borgctl logs plain --all
    expect_no_text 'did you mean'
    expect_exit 2 borgctl logs plain --tial 3
    expect_text 'did you mean --tail'
    expect_exit 2 borgctl logs plain --tail abc
    expect_exit 2 borgctl events -n 0
    expect_exit 2 borgctl why plain --attempt x
    expect_exit 1 borgctl events nosuch
    expect_text 'there is no job "nosuch"'
    expect_exit 0 borgctl events plain/0
    expect_text 'plain/0'
    expect_exit 0 borgctl events plain/7
    expect_text '\(none\)'
}

@test "why of a job that never ran does not mention a placement" {
    submit waits 100 1 64 'exit 0'
    wait_until 15 job_is waits pending
    borgctl kill waits --wait
    expect_exit 0 borgctl why waits
    expect_text 'nothing is pending'
    expect_no_text 'was placed'
    expect_exit 0 borgctl why plain
    expect_text 'borgctl why plain/0 explains how that task was placed'
}

@test "the job in the README runs unchanged" {
    sed -n '/^    {$/,/^    }$/p' "$ROOT/README.md" | sed 's/^    //' >"$SPECS/readme.jsonnet"
    grep -F 'replicas: 3' "$SPECS/readme.jsonnet"
    borgctl submit "$SPECS/readme.jsonnet"
    wait_until 20 job_runs web 3
}
