#!/usr/bin/env bats
# overload.bats - a user who floods the cell waits; the operator and other users do not.
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

# Run a flood of this KIND by ada; meanwhile the others' requests are answered within 3 s each.
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
        # shellcheck disable=SC2086 # split into words
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
    kill -0 "$flood" # it ran all the time
    wait "$flood"
    cat "$SPECS/flood.$1"
    same "term" "$before" "$(term)"
    same "machines" 2 "$(ask "SELECT count(*) FROM machines WHERE state = 'up'")"
    same "attempts" 4 "$(ask "SELECT sum(attempt) FROM task_list WHERE job = 'web'")"
}

@test "36,000 concurrent commands delay only their user" {
    flood command
    wait_until 20 replicas_agree 3
}

@test "36,000 concurrent slow queries delay only their user" {
    flood query
}

@test "36,000 concurrent why requests delay only their user" {
    flood why
}
