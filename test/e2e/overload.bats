#!/usr/bin/env bats
# overload.bats - a user who floods the cell waits; the operator and the others do not.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2 --user ada
    cell_up --user bob
    wait_until 20 replicas_agree 3
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
    submit web 200 4 50m 'exec sleep 1000'
    wait_until 20 job_runs web 4
}

teardown_file()
{
    cell_away
}

term()
{
    status_json | jq '[.replicas[].term] | max'
}

# Run a flood of ada's of this KIND; while it lasts the others ask for theirs, each within 3 s.
flood() # KIND
{
    local before ms start
    before="$(term)"
    "$TOOLS/flood" "$BORG_CELL" ada "$1" 24 1500 6 >"$SPECS/flood.$1" 2>&1 3>&- 4>&- &
    local flood=$!
    wait_until 5 grep -q flooding "$SPECS/flood.$1"
    for what in "--user root cell policy worst-fit" "--user bob kill bobs-$1" \
        "--user root machines" "--user bob jobs" "--user root cell policy stranding-aware"; do
        start="$(now_ms)"
        # shellcheck disable=SC2086 # words
        if [[ "$what" == *kill* ]]; then
            expect_exit 1 borgctl --timeout 6 $what
            expect_text "no job"
        else
            expect_exit 0 borgctl --timeout 6 $what
        fi
        ms=$(($(now_ms) - start))
        echo "$what: $ms ms"
        ((ms < 3000))
    done
    kill -0 "$flood" # it was there all the time
    wait "$flood"
    cat "$SPECS/flood.$1"
    same "term" "$before" "$(term)"
    same "machines" 2 "$(ask "SELECT count(*) FROM machines WHERE state = 'up'")"
    same "attempts" 4 "$(ask "SELECT sum(attempt) FROM task_list WHERE job = 'web'")"
}

@test "36,000 commands at a time" {
    flood command
    wait_until 20 replicas_agree 3
}

@test "36,000 slow queries at a time" {
    flood query
}

@test "36,000 questions why at a time" {
    flood why
}
