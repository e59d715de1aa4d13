#!/usr/bin/env bats
# simulate.bats - borgctl simulate: figures computed by hand, refusals, the rows of a real cell.
load lib.bash

setup_file()
{
    export TRACE="$BATS_FILE_TMPDIR/trace"
    mkdir -p "$TRACE"
    cat >"$TRACE/machines.csv" <<'EOF'
machine_id,cpu_milli,ram_mib,disk_mib,gpu_milli,attributes,failure_domain
m0,4000,8192,0,0,,r0
m1,4000,8192,0,0,a=b,r0
EOF
    cat >"$TRACE/tasks.csv" <<'EOF'
job_id,task_index,priority,qos,arrival_s,duration_s,cpu_milli,ram_mib,disk_mib,gpu_milli,constraints
web,0,9,,0,-1,4000,4096,0,0,
low,0,2,,0,60,2000,1024,0,0,a=b
low,1,2,,0,60,2000,1024,0,0,a=b
low,2,2,,0,60,2000,1024,0,0,a=b
late,0,2,,9,-1,1000,1024,0,0,
EOF
    gzip -k "$TRACE/tasks.csv"
}

teardown_file()
{
    export BORG_CELL="${BORG_E2E_DIR:-$BATS_FILE_TMPDIR}/cell"
    [[ ! -d "$BORG_CELL" ]] || cell_away
}

@test "a tiny trace gives the figures computed by hand, as JSON" {
    borgctl simulate --dir "$TRACE" -o json | jq -e '.machines == 2 and .tasks == 4 and
        .jobs == 2 and .placed == 3 and .pending == 1 and .evicted == 0 and
        .policy == "stranding-aware" and .capacity.cpu_milli == 8000 and
        .used.cpu_milli == 8000 and .demand.cpu_milli == 10000 and
        .stranded.cpu_milli == 0 and .stranded.ram_bytes == 10737418240 and
        .ignored.elsewhen == 1 and .ignored.duration == 3 and .bands.production.placed == 1 and
        .bands.batch.pending == 1'
}

@test "text output from gzip files also lists the ignored parts of the trace" {
    local out
    out="$(borgctl simulate --machines "$TRACE/machines.csv" --tasks "$TRACE/tasks.csv.gz" \
        --policy best-fit --at all)"
    grep -qE '^policy +best-fit$' <<<"$out"
    grep -qE '^tasks +5 in 3 jobs$' <<<"$out"
    grep -qE '^placed +3 \(60\.0%\)$' <<<"$out"
    grep -qE '^ +3 tasks have a duration_s: taken as endless; see --arrivals$' <<<"$out"
    same "left out" 0 "$(grep -c 'left out' <<<"$out" || true)"
}

@test "over time tasks arrive and end, and constraints hold" {
    # low's two run only on m1 until second 60; the third waits for them, past the end at 9
    borgctl simulate --dir "$TRACE" --arrivals all -o json | jq -e '.history.until_s == 9 and
        .history.arrived == 5 and .history.finished == 0 and .history.placements == 3 and
        .history.pending_max == 2 and .history.waits.max_s == 9 and .pending == 2 and
        .history.samples[-1].running == 3'
    sed -i.orig 's/^late,0,2,,9/late,0,2,,70/' "$TRACE/tasks.csv"
    borgctl simulate --dir "$TRACE" --arrivals all -o json | jq -e '.history.finished == 2 and
        .history.placements == 5 and .history.waits_by_band.batch.max_s == 60 and .pending == 0'
    mv "$TRACE/tasks.csv.orig" "$TRACE/tasks.csv"
}

@test "the HTML report is one file with plots" {
    local page="$BATS_TEST_TMPDIR/page.html"
    borgctl simulate --dir "$TRACE" --arrivals all --remove machine=m0 --html "$page" -o json |
        jq -e '.what_if.removed == ["m0"]'
    grep -q 'Queue over time' "$page"
    grep -q 'What if 1 machines go' "$page"
    same scripts 0 "$(grep -c '<script' "$page" || true)"
    borgctl simulate --dir "$TRACE" --compact --policy best-fit --html "$page" >/dev/null
    grep -q 'Machines needed' "$page"
    expect_exit 1 borgctl simulate --dir "$TRACE" --html "$BATS_TEST_TMPDIR/none/page.html"
}

@test "a malformed line is refused with its position" {
    cp "$TRACE/machines.csv" "$BATS_TEST_TMPDIR"
    sed '4s/2000/2k/' "$TRACE/tasks.csv" >"$BATS_TEST_TMPDIR/tasks.csv"
    expect_exit 1 borgctl simulate --dir "$BATS_TEST_TMPDIR"
    same message "borgctl: $BATS_TEST_TMPDIR/tasks.csv:4: cpu_milli: \"2k\" is not a whole number \
from 0 to 1073741824" "$output"
    borgctl simulate --dir "$BATS_TEST_TMPDIR" --limit 2 -o json | jq -e '.tasks == 2'
}

@test "options that exclude each other are a usage error" {
    expect_exit 2 borgctl simulate
    expect_exit 2 borgctl simulate --machines "$TRACE/machines.csv"
    expect_exit 2 borgctl simulate --dir "$TRACE" --policy first-fit
    expect_exit 2 borgctl simulate --dir "$TRACE" --compact --remove 1
    expect_exit 2 borgctl simulate --checkpoint x.db --limit 5
    expect_exit 2 borgctl simulate --checkpoint x.db --policy best-fit
    expect_exit 2 borgctl simulate --dir "$TRACE" --arrivals soon
    expect_exit 2 borgctl simulate --dir "$TRACE" --at noon
    expect_exit 2 borgctl simulate --dir "$TRACE" --at 5 --arrivals 5
}

@test "compaction needs three machines for ten cpus in halves of a machine" {
    # low's three tasks are more than half of the machines: a=b becomes soft
    borgctl simulate --dir "$TRACE" --compact -o json | jq -e '.machines == 2 and .tasks == 4 and
        .bound_percent == 125 and .softened_jobs == 1 and (.policies | length) == 3 and
        (.policies | all(.[]; .machines == 3 and .percent == 150 and (.trials | length) == 11))'
}

@test "what-if removes a machine and counts how many more tasks fit" {
    borgctl simulate --dir "$TRACE" --remove m1 -o json | jq -e '.what_if.removed == ["m1"]
        and .what_if.lost == 2 and .what_if.pending == 2 and (.what_if.jobs | length) == 1 and
        .what_if.jobs[0].job == "low"'
    borgctl simulate --dir "$TRACE" --remove failure_domain=r0 -o json |
        jq -e '(.what_if.removed | length) == 2 and .what_if.lost == 3 and .what_if.pending == 3'
    expect_exit 1 borgctl simulate --dir "$TRACE" --remove machine=m7
    expect_exit 1 borgctl simulate --dir "$TRACE" --remove m7
    expect_text 'no machine "m7" is up'
    echo "{name: 'more', task: {command: 'true', resources: {cpu: 1, ram: '1Mi'}}}" \
        >"$BATS_TEST_TMPDIR/more.jsonnet"
    borgctl simulate --dir "$TRACE" --limit 1 --how-many "$BATS_TEST_TMPDIR/more.jsonnet" -o json |
        jq -e '.how_many == 4'
}

@test "the database of a real cell can be simulated and is not changed" {
    cell_up --replicas 1 --borglets 2 --capacity cpu=2,ram=1Gi,disk=1Gi
    submit web 200 2 1500m 'exec sleep 1000'
    wait_until 20 job_runs web 2
    local db
    db="$(dirname "$(find "$BORG_CELL" -name cell.db | head -n 1)")/cell.db"
    wait_until 10 db_has_running "$db" 2
    borgctl simulate --checkpoint "$db" --remove 1 -o json | jq -e '.machines == 2 and
        .placed == 2 and .used.cpu_milli == 3000 and .what_if.lost == 1 and
        .what_if.pending == 1 and .what_if.jobs[0].job == "web"'
    borgctl simulate --checkpoint "$db" --remove 1 --why web -o json | jq -e '.why.pending == 1 and
        ([.why.reasons[].reason] | sort) == ["is down", "lacks cpu"] and
        .why.evictions[0].victims[0].reason == "production is never evicted"'
    borgctl simulate --checkpoint "$db" --why web | grep -F 'nothing of it is pending'
    expect_exit 1 borgctl simulate --checkpoint "$db" --why nobody
    borgctl simulate --checkpoint "$db" --compact --policy best-fit -o json | jq -e '
        .machines == 2 and .tasks == 2 and .policies["best-fit"].machines == 2'
    wait_sql 5 2 "SELECT count(*) FROM tasks WHERE state = 'running'"
    cell_away
}

db_has_running()
{
    local sql="SELECT count(*) FROM tasks WHERE state = 'running'"
    [[ "$(sqlite3 "file:$1?mode=ro" "$sql")" == "$2" ]]
}
